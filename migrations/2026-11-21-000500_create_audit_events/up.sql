CREATE SCHEMA audit;

-- No foreign keys: an event outlives its actor and its resource.
CREATE TABLE audit.events (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    at timestamptz NOT NULL DEFAULT now(),
    actor_kind text NOT NULL CHECK (actor_kind IN ('user', 'system', 'anonymous')),
    actor_id uuid,
    actor_label text NOT NULL,
    action text NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    resource text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('ok', 'refused', 'failed')),
    address text,
    request_id text,
    detail jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_recent_idx ON audit.events (tenant_id, sequence DESC);
CREATE INDEX events_resource_idx ON audit.events (tenant_id, resource text_pattern_ops, sequence DESC);
CREATE INDEX events_actor_idx ON audit.events (tenant_id, actor_id, sequence DESC);

CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit.events is insert-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER events_are_kept BEFORE UPDATE OR DELETE ON audit.events
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
-- ALWAYS: session_replication_role = replica does not switch them off.
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER events_are_kept;
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER events_are_not_truncated;
REVOKE UPDATE, DELETE, TRUNCATE ON audit.events FROM PUBLIC;
DO $$ BEGIN
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON audit.events FROM %I', current_user);
END $$;
