//! The schema: concurrent migration, revert and re-run, and every constraint.

use larder::config::Secret;
use larder::stores::postgres;
use tokio_postgres::Client;

use crate::support::Set;

const TENANT: &str = "00000000-0000-7000-8000-000000000001";

async fn tables(client: &Client) -> Vec<String> {
    let query = "SELECT table_schema || '.' || table_name FROM information_schema.tables
                 WHERE table_schema IN ('public', 'audit') AND table_name <> '__diesel_schema_migrations' ORDER BY 1";
    client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_migrate_an_empty_database_concurrently() {
    let set = Set::shared().await;
    let database = set.empty_database().await;
    let url = Secret::new(set.database_url(&database));
    let (one, two, three) = tokio::join!(postgres::migrate(&url), postgres::migrate(&url), postgres::migrate(&url));
    let ran: usize = [one, two, three].into_iter().map(|outcome| outcome.unwrap().len()).sum();
    assert_eq!(ran, 13, "each migration ran once");
    assert_eq!(postgres::migrate(&url).await.unwrap(), Vec::<String>::new(), "running again changes nothing");
    assert_eq!(postgres::applied(&url).await.unwrap(), (13, 0));
    let client = set.connect(&database).await;
    let expected = [
        "audit.events",
        "public.files",
        "public.health_incidents",
        "public.health_minutes",
        "public.redis_minutes",
        "public.revoked_tokens",
        "public.sessions",
        "public.setup_tokens",
        "public.sign_in_failures",
        "public.signing_keys",
        "public.tenants",
        "public.upload_parts",
        "public.users",
    ];
    assert_eq!(tables(&client).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_reverted_and_rerun_on_a_populated_database() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let url = Secret::new(set.database_url(&database));
    populate(&set.connect(&database).await).await;
    let reverted = postgres::revert(&url, 13).await.unwrap();
    assert_eq!(reverted.len(), 13);
    assert!(reverted.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {reverted:?}");
    assert_eq!(tables(&set.connect(&database).await).await, Vec::<String>::new());
    assert_eq!(postgres::revert(&url, 1).await.unwrap(), Vec::<String>::new(), "nothing left to revert");
    assert_eq!(postgres::migrate(&url).await.unwrap().len(), 13);
    populate(&set.connect(&database).await).await;
    // A database migrated by a newer Larder is used unchanged.
    let client = set.connect(&database).await;
    client.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')", &[]).await.unwrap();
    assert_eq!(postgres::migrate(&url).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_their_senders_cancelled_have_a_state_of_their_own() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let url = Secret::new(set.database_url(&database));
    let client = set.connect(&database).await;
    assert_eq!(postgres::revert(&url, 1).await.unwrap(), ["20261125000300"]);
    let rows = [("cancelled", "It was cancelled."), ("restarted", "It was started anew with another file."), ("failed", "No space.")];
    for (key, error) in rows {
        let insert = format!(
            "INSERT INTO files (id, tenant_id, batch_id, bucket, object_key, name, content_type, state, uploaded_by_label, error)
             VALUES (gen_random_uuid(), '{TENANT}', gen_random_uuid(), 'bucket', '{key}', '{key}', 'text/plain', 'failed', 'A', '{error}')"
        );
        client.batch_execute(&insert).await.unwrap();
    }
    let states = async || -> Vec<(String, String)> {
        let rows = client.query("SELECT object_key, state FROM files ORDER BY 1", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let with = |states: [&str; 3]| {
        ["cancelled", "failed", "restarted"].into_iter().map(String::from).zip(states.map(String::from)).collect::<Vec<_>>()
    };
    postgres::migrate(&url).await.unwrap();
    assert_eq!(states().await, with(["cancelled", "failed", "cancelled"]));
    postgres::revert(&url, 1).await.unwrap();
    assert_eq!(states().await, with(["failed"; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_match_the_diesel_schema() {
    let set = Set::shared().await;
    let client = set.connect(&set.new_database().await).await;
    let query = "SELECT table_name, column_name, is_nullable FROM information_schema.columns
                 WHERE table_schema IN ('public', 'audit') AND table_name <> '__diesel_schema_migrations'
                 ORDER BY table_name, ordinal_position";
    let schema = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs")).unwrap();
    for row in client.query(query, &[]).await.unwrap() {
        let (table, column, nullable): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let line = schema
            .lines()
            .skip_while(|line| !line.contains(&format!("{table} (")))
            .find(|line| line.trim().starts_with(&format!("{column} ->")));
        let line = line.unwrap_or_else(|| panic!("{table}.{column} is not in schema.rs"));
        assert_eq!(line.contains("Nullable"), nullable == "YES", "{table}.{column}");
    }
}

/// One row in every table.
async fn populate(client: &Client) {
    client
        .batch_execute(&format!(
            "INSERT INTO users (id, tenant_id, email, name, role) VALUES ('{U}', '{TENANT}', 'a@example.com', 'A', 'admin');
             INSERT INTO sessions (id, tenant_id, user_id, secret_hash, epoch, expires_at)
                 VALUES (gen_random_uuid(), '{TENANT}', '{U}', decode(repeat('00', 32), 'hex'), 0, now());
             INSERT INTO sign_in_failures (id, tenant_id, email_hash, address)
                 VALUES (gen_random_uuid(), '{TENANT}', decode(repeat('00', 32), 'hex'), '192.0.2.1');
             INSERT INTO revoked_tokens (id, tenant_id, jti, expires_at) VALUES (gen_random_uuid(), '{TENANT}', 'a', now());
             INSERT INTO health_minutes VALUES ('redis', now(), gen_random_uuid(), 15, 14, 56, 4, 20, 3);
             INSERT INTO health_incidents VALUES (gen_random_uuid(), 'host:8080', 'redis', 'timeout', 'No answer.', 'No answer.', now(), NULL, now());
             INSERT INTO redis_minutes VALUES (now(), 60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
             INSERT INTO signing_keys (name, secret) VALUES ('redis-copies', decode(repeat('00', 32), 'hex'));
             INSERT INTO setup_tokens (id, tenant_id, token_hash) VALUES (gen_random_uuid(), '{TENANT}', decode(repeat('00', 32), 'hex'));
             INSERT INTO files (id, tenant_id, batch_id, bucket, object_key, name, content_type, state, size, etag, uploaded_by, uploaded_by_label)
                 VALUES ('{F}', '{TENANT}', gen_random_uuid(), 'bucket', 'key', 'key', 'text/plain', 'ready', 1, 'etag', '{U}', 'A');
             INSERT INTO upload_parts (id, tenant_id, file_id, number, size, sha256, etag)
                 VALUES (gen_random_uuid(), '{TENANT}', '{F}', 1, 1, decode(repeat('00', 32), 'hex'), 'etag');
             INSERT INTO audit.events (id, tenant_id, actor_kind, actor_label, action, resource, outcome)
                 VALUES (gen_random_uuid(), '{TENANT}', 'user', 'A', 'object.upload', 's3://bucket/key', 'ok')"
        ))
        .await
        .unwrap();
}

const U: &str = "00000000-0000-7000-8000-00000000000a";
const F: &str = "00000000-0000-7000-8000-00000000000f";

#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_rejects_invalid_rows() {
    let set = Set::shared().await;
    let client = set.connect(&set.new_database().await).await;
    populate(&client).await;
    let file = |state: &str, more: &str, values: &str| {
        format!(
            "INSERT INTO files (id, tenant_id, batch_id, bucket, object_key, name, content_type, uploaded_by_label, state{more})
             VALUES (gen_random_uuid(), '{TENANT}', gen_random_uuid(), 'bucket', 'key', 'key', 'text/plain', 'A', '{state}'{values})"
        )
    };
    let user = |email: &str, rest: &str, values: &str| {
        format!(
            "INSERT INTO users (id, tenant_id, email, name, role{rest}) VALUES (gen_random_uuid(), '{TENANT}', '{email}', 'B', 'viewer'{values})"
        )
    };
    let lease = ", lease, heartbeat_at, publishing";
    let refused = [
        ("unique e-mail without case", user("A@Example.com", "", ""), "users_email_key"),
        ("an e-mail has an at sign", user("nobody", "", ""), "users_email_check"),
        ("a role is one of three", "UPDATE users SET role = 'owner'".into(), "users_role_check"),
        ("a status is one of two", "UPDATE users SET status = 'gone'".into(), "users_status_check"),
        ("issuer and subject go together", "UPDATE users SET google_issuer = 'x'".into(), "users_check"),
        ("a tenant exists", "UPDATE users SET tenant_id = gen_random_uuid()".into(), "users_tenant_id_fkey"),
        ("a slug is plain", "UPDATE tenants SET slug = 'A B'".into(), "tenants_slug_check"),
        ("a token is revoked once", format!("INSERT INTO revoked_tokens (id, tenant_id, jti, expires_at)
            VALUES (gen_random_uuid(), '{TENANT}', 'a', now())"), "revoked_tokens_jti_key"),
        ("a jti fits", "UPDATE revoked_tokens SET jti = ''".into(), "revoked_tokens_jti_check"),
        ("a secret is a digest", "UPDATE sessions SET secret_hash = 'x'".into(), "sessions_secret_hash_check"),
        ("one ready row a key", file("ready", ", size, etag", ", 1, 'e'"), "files_ready_key"),
        ("ready has size and ETag", "UPDATE files SET etag = NULL".into(), "files_check"),
        ("pending has a lease", file("pending", "", ""), "files_check"),
        ("a state is one of seven", file("lost", "", ""), "files_state_check"),
        ("only pending publishes", "UPDATE files SET publishing = true".into(), "files_check"),
        ("a size is not negative", "UPDATE files SET size = -1".into(), "files_size_check"),
        ("a key has 1,024 bytes", "UPDATE files SET object_key = repeat('k', 1025)".into(), "files_object_key_check"),
        ("a part has a number once", "INSERT INTO upload_parts SELECT gen_random_uuid(), tenant_id, file_id, number, size, sha256, etag FROM upload_parts".into(), "upload_parts_file_id_number_key"),
        ("parts end at 10,000", "UPDATE upload_parts SET number = 10001".into(), "upload_parts_number_check"),
        ("an outcome is one of three", "INSERT INTO audit.events (id, tenant_id, actor_kind, actor_label, action, resource, outcome) VALUES (gen_random_uuid(), gen_random_uuid(), 'user', 'A', 'a.b', 'r', 'maybe')".into(), "events_outcome_check"),
    ];
    for (what, statement, constraint) in refused {
        let error = client.batch_execute(&statement).await.expect_err(what);
        let found = error.as_db_error().and_then(|error| error.constraint()).unwrap_or_default().to_owned();
        assert!(found.starts_with(constraint), "{what}: {constraint} expected, {found:?} found: {error}");
    }
    let pending = file("pending", lease, ", gen_random_uuid(), now(), true");
    client.batch_execute(&pending).await.unwrap();
    let error = client.batch_execute(&pending).await.expect_err("two publish one key");
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("files_publishing_key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_rows_are_deleted_with_it_and_files_outlive_their_uploader() {
    let set = Set::shared().await;
    let client = set.connect(&set.new_database().await).await;
    populate(&client).await;
    client.execute("DELETE FROM users", &[]).await.unwrap();
    let row = client.query_one("SELECT uploaded_by IS NULL, (SELECT count(*) FROM sessions) FROM files", &[]).await.unwrap();
    assert_eq!((row.get::<_, bool>(0), row.get::<_, i64>(1)), (true, 0));
    client.execute("DELETE FROM tenants", &[]).await.unwrap();
    let counts = "SELECT (SELECT count(*) FROM files) + (SELECT count(*) FROM upload_parts), (SELECT count(*) FROM audit.events)";
    let row = client.query_one(counts, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 1), "the audit events are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_events_cannot_be_changed_or_deleted() {
    let set = Set::shared().await;
    let client = set.connect(&set.new_database().await).await;
    populate(&client).await;
    for statement in
        ["UPDATE audit.events SET actor_label = 'B'", "DELETE FROM audit.events", "TRUNCATE audit.events", "TRUNCATE audit.events CASCADE"]
    {
        let error = client.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code().unwrap().code(), "42501", "{statement}: {error}");
    }
    client.batch_execute("SET session_replication_role = replica").await.unwrap();
    client.batch_execute("GRANT UPDATE, DELETE, TRUNCATE ON audit.events TO current_user").await.unwrap();
    for statement in ["UPDATE audit.events SET actor_label = 'B'", "DELETE FROM audit.events", "TRUNCATE audit.events"] {
        let error = client.batch_execute(statement).await.expect_err(statement);
        assert!(
            error.to_string().contains("insert-only") || error.as_db_error().unwrap().message().contains("insert-only"),
            "{statement}: {error}"
        );
    }
    assert_eq!(client.query("SELECT 1 FROM audit.events", &[]).await.unwrap().len(), 1);
}
