-- An upload with a fingerprint can be resumed: its parts are recorded as they come, each in its turn, with the
-- state of the SHA-256 over all of them, so that any replica can go on.
ALTER TABLE files
    ADD COLUMN fingerprint text CHECK (char_length(fingerprint) BETWEEN 1 AND 200),
    ADD COLUMN length bigint CHECK (length > 0),
    ADD COLUMN parts_done integer NOT NULL DEFAULT 0 CHECK (parts_done BETWEEN 0 AND 10000),
    ADD COLUMN hash_state bytea,
    ADD CONSTRAINT files_resumable_check CHECK (fingerprint IS NULL OR (length IS NOT NULL AND part_size IS NOT NULL));
-- Two tabs that send the same file send one upload.
CREATE UNIQUE INDEX files_resumable_key ON files (uploaded_by, bucket, object_key) WHERE state = 'pending' AND fingerprint IS NOT NULL;
-- What the store was told to verify, and wants to be told again when the parts become an object.
ALTER TABLE upload_parts ADD COLUMN crc32 text NOT NULL DEFAULT '';
