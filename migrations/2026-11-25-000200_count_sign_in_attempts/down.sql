DROP INDEX users_tenant_id_idx;
CREATE INDEX users_tenant_id_idx ON users (tenant_id, lower(email));
DROP INDEX users_email_key;
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
DROP FUNCTION fold_email(text);
DROP INDEX sign_in_failures_network_idx;
DELETE FROM sign_in_failures WHERE state = 'pending';
ALTER TABLE sign_in_failures DROP COLUMN network, DROP COLUMN state;
