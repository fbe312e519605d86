-- Deletions that stopped halfway are looked for every minute; open uploads at the store are joined to their rows.
CREATE INDEX files_deleting_idx ON files (heartbeat_at) WHERE state = 'deleting';
CREATE INDEX files_s3_upload_idx ON files (s3_upload_id) WHERE s3_upload_id IS NOT NULL;
