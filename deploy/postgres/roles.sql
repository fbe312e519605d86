-- Three users with separate permissions. Run this file in Larder's database, as a superuser or as the administrator of a
-- managed server, before the first `larder migrate`: psql -d larder -f roles.sql. It can be run again.
-- Then set the passwords, which are not logged: \password larder_owner, \password larder_app, \password larder_read.
--
--   larder_owner  owns all objects in the database: `larder migrate`
--   larder_app    reads and writes rows: `larder serve` with MIGRATE_ON_START=false, and every other command
--   larder_read   reads: pg_dump
--
-- If Larder was run with another user before, first run: REASSIGN OWNED BY that_user TO larder_owner.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['larder_owner', 'larder_app', 'larder_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
    END LOOP;
    -- A user who is not a superuser must be a member of larder_owner to transfer ownership to it.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT larder_owner TO %I', current_user);
    END IF;
    EXECUTE format('ALTER DATABASE %I OWNER TO larder_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO larder_app, larder_read', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO larder_owner;
GRANT USAGE ON SCHEMA public TO larder_app, larder_read;

-- Same as in the migrations, created here so that the application can only read it.
CREATE TABLE IF NOT EXISTS public.__diesel_schema_migrations (
    version varchar(50) PRIMARY KEY NOT NULL,
    run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
ALTER TABLE public.__diesel_schema_migrations OWNER TO larder_owner;

-- Objects that migrations create from now on. Rows can be read and inserted in every schema, but updated and deleted only
-- in `public`: audit events are immutable. Their sequence is an identity column, which needs no sequence privilege.
ALTER DEFAULT PRIVILEGES FOR ROLE larder_owner GRANT USAGE ON SCHEMAS TO larder_app, larder_read;
ALTER DEFAULT PRIVILEGES FOR ROLE larder_owner GRANT SELECT, INSERT ON TABLES TO larder_app;
ALTER DEFAULT PRIVILEGES FOR ROLE larder_owner IN SCHEMA public GRANT UPDATE, DELETE ON TABLES TO larder_app;
ALTER DEFAULT PRIVILEGES FOR ROLE larder_owner GRANT SELECT ON TABLES TO larder_read;
ALTER DEFAULT PRIVILEGES FOR ROLE larder_owner GRANT SELECT ON SEQUENCES TO larder_read;

-- Existing objects.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO larder_app;
REVOKE INSERT, UPDATE, DELETE ON public.__diesel_schema_migrations FROM larder_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO larder_read;
DO $$
BEGIN
    IF to_regnamespace('audit') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA audit TO larder_app, larder_read;
        GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA audit TO larder_app;
        GRANT SELECT ON ALL TABLES IN SCHEMA audit TO larder_read;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA audit TO larder_read;
    END IF;
END
$$;
