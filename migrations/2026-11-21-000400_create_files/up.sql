-- One row an attempt to store an object, not one an object: S3 says which objects exist.
CREATE TABLE files (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    batch_id uuid NOT NULL,
    bucket text COLLATE "C" NOT NULL CHECK (octet_length(bucket) BETWEEN 3 AND 63),
    object_key text COLLATE "C" NOT NULL CHECK (octet_length(object_key) BETWEEN 1 AND 1024),
    name text NOT NULL,
    content_type text NOT NULL,
    size bigint CHECK (size >= 0),
    sha256 bytea CHECK (octet_length(sha256) = 32),
    etag text,
    version_id text,
    s3_upload_id text,
    part_size bigint CHECK (part_size > 0),
    overwrite boolean NOT NULL DEFAULT false,
    publishing boolean NOT NULL DEFAULT false,
    state text NOT NULL CHECK (state IN ('pending', 'ready', 'superseded', 'deleting', 'deleted', 'failed')),
    lease uuid,
    heartbeat_at timestamptz,
    expires_at timestamptz,
    uploaded_by uuid REFERENCES users (id) ON DELETE SET NULL,
    uploaded_by_label text NOT NULL,
    error text,
    finished_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (state <> 'ready' OR (size IS NOT NULL AND etag IS NOT NULL)),
    CHECK (state <> 'pending' OR (lease IS NOT NULL AND heartbeat_at IS NOT NULL)),
    CHECK (NOT publishing OR state = 'pending')
);
CREATE UNIQUE INDEX files_ready_key ON files (bucket, object_key) WHERE state = 'ready';
-- The lease on a key: at most one attempt at a time may publish, because some stores ignore If-None-Match.
CREATE UNIQUE INDEX files_publishing_key ON files (bucket, object_key) WHERE publishing;
CREATE INDEX files_pending_idx ON files (heartbeat_at) WHERE state = 'pending';
CREATE INDEX files_expires_at_idx ON files (expires_at) WHERE state = 'ready' AND expires_at IS NOT NULL;
CREATE INDEX files_recent_idx ON files (tenant_id, created_at DESC, id DESC);
CREATE INDEX files_batch_idx ON files (batch_id);
CREATE INDEX files_object_idx ON files (bucket, object_key, created_at DESC);
CREATE INDEX files_uploaded_by_idx ON files (uploaded_by);

CREATE TABLE upload_parts (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    file_id uuid NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number BETWEEN 1 AND 10000),
    size bigint NOT NULL CHECK (size > 0),
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    etag text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (file_id, number)
);
