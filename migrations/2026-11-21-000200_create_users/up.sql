CREATE TABLE users (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254 AND position('@' IN email) > 1),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    google_issuer text,
    google_subject text,
    password_hash text,
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    tier text NOT NULL DEFAULT 'standard' CHECK (tier IN ('standard', 'premium')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    session_epoch integer NOT NULL DEFAULT 0,
    failed_count integer NOT NULL DEFAULT 0 CHECK (failed_count >= 0),
    locked_until timestamptz,
    last_seen_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (google_issuer, google_subject),
    CHECK ((google_issuer IS NULL) = (google_subject IS NULL))
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE INDEX users_tenant_id_idx ON users (tenant_id, lower(email));
