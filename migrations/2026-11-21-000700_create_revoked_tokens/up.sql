-- The record of the deny-list, whose copy stands in Redis. A jti that is odd or long is kept as its SHA-256.
CREATE TABLE revoked_tokens (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    jti text COLLATE "C" NOT NULL CONSTRAINT revoked_tokens_jti_key UNIQUE CHECK (length(jti) BETWEEN 1 AND 128),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX revoked_tokens_expires_at_idx ON revoked_tokens (expires_at);
