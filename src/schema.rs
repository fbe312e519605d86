// @generated automatically by Diesel CLI.

pub mod audit {
    diesel::table! {
        audit.events (id) {
            id -> Uuid,
            tenant_id -> Uuid,
            sequence -> Int8,
            at -> Timestamptz,
            actor_kind -> Text,
            actor_id -> Nullable<Uuid>,
            actor_label -> Text,
            action -> Text,
            resource -> Text,
            outcome -> Text,
            address -> Nullable<Text>,
            request_id -> Nullable<Text>,
            detail -> Jsonb,
            created_at -> Timestamptz,
            updated_at -> Timestamptz,
        }
    }
}

diesel::table! {
    files (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        batch_id -> Uuid,
        bucket -> Text,
        object_key -> Text,
        name -> Text,
        content_type -> Text,
        size -> Nullable<Int8>,
        sha256 -> Nullable<Bytea>,
        etag -> Nullable<Text>,
        version_id -> Nullable<Text>,
        s3_upload_id -> Nullable<Text>,
        part_size -> Nullable<Int8>,
        overwrite -> Bool,
        publishing -> Bool,
        state -> Text,
        lease -> Nullable<Uuid>,
        heartbeat_at -> Nullable<Timestamptz>,
        expires_at -> Nullable<Timestamptz>,
        uploaded_by -> Nullable<Uuid>,
        uploaded_by_label -> Text,
        error -> Nullable<Text>,
        finished_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        fingerprint -> Nullable<Text>,
        length -> Nullable<Int8>,
        parts_done -> Int4,
        hash_state -> Nullable<Bytea>,
    }
}

diesel::table! {
    health_incidents (id) {
        id -> Uuid,
        instance -> Text,
        service -> Text,
        class -> Text,
        first_message -> Text,
        last_message -> Text,
        began_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        seen_at -> Timestamptz,
    }
}

diesel::table! {
    health_minutes (service, minute, console) {
        service -> Text,
        minute -> Timestamptz,
        console -> Uuid,
        checks -> Int4,
        good -> Int4,
        up_seconds -> Float8,
        down_seconds -> Float8,
        latency_sum_ms -> Float8,
        latency_most_ms -> Float8,
    }
}

diesel::table! {
    redis_minutes (minute) {
        minute -> Timestamptz,
        seconds -> Float8,
        hits -> Int8,
        misses -> Int8,
        evicted -> Int8,
        expired -> Int8,
        commands -> Int8,
        rejected -> Int8,
        errors -> Int8,
        memory -> Int8,
        clients -> Int8,
        keys -> Int8,
        latency_us -> Int8,
    }
}

diesel::table! {
    revoked_tokens (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        jti -> Text,
        expires_at -> Timestamptz,
        revoked_at -> Timestamptz,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        user_id -> Uuid,
        secret_hash -> Bytea,
        epoch -> Int4,
        address -> Nullable<Text>,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    setup_tokens (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        token_hash -> Bytea,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    sign_in_failures (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        email_hash -> Bytea,
        address -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        state -> Text,
        network -> Text,
    }
}

diesel::table! {
    signing_keys (name) {
        name -> Text,
        secret -> Bytea,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    tenants (id) {
        id -> Uuid,
        slug -> Text,
        name -> Text,
        status -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    upload_parts (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        file_id -> Uuid,
        number -> Int4,
        size -> Int8,
        sha256 -> Bytea,
        etag -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        crc32 -> Text,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        tenant_id -> Uuid,
        email -> Text,
        name -> Text,
        google_issuer -> Nullable<Text>,
        google_subject -> Nullable<Text>,
        password_hash -> Nullable<Text>,
        role -> Text,
        tier -> Text,
        status -> Text,
        session_epoch -> Int4,
        failed_count -> Int4,
        locked_until -> Nullable<Timestamptz>,
        last_seen_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::joinable!(files -> users (uploaded_by));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(upload_parts -> files (file_id));

diesel::allow_tables_to_appear_in_same_query!(
    files,
    health_incidents,
    health_minutes,
    redis_minutes,
    revoked_tokens,
    sessions,
    setup_tokens,
    sign_in_failures,
    signing_keys,
    tenants,
    upload_parts,
    users,
);
