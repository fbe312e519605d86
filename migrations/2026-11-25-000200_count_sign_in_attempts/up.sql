-- An attempt is pending until its password was compared, so that right passwords are never counted as wrong ones.
ALTER TABLE sign_in_failures
    ADD COLUMN state text NOT NULL DEFAULT 'wrong' CHECK (state IN ('pending', 'wrong')),
    ADD COLUMN network text NOT NULL DEFAULT '';
CREATE INDEX sign_in_failures_network_idx ON sign_in_failures (network, created_at);

-- E-mail addresses are compared without ASCII case only, here as in the program: what other letters fold to depends on
-- the locale of the server.
CREATE FUNCTION fold_email(email text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(email COLLATE "C");
DROP INDEX users_email_key;
CREATE UNIQUE INDEX users_email_key ON users (fold_email(email));
DROP INDEX users_tenant_id_idx;
CREATE INDEX users_tenant_id_idx ON users (tenant_id, fold_email(email));
