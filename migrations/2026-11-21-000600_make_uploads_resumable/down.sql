ALTER TABLE upload_parts DROP COLUMN crc32;
DROP INDEX files_resumable_key;
ALTER TABLE files
    DROP CONSTRAINT files_resumable_check,
    DROP COLUMN hash_state,
    DROP COLUMN parts_done,
    DROP COLUMN length,
    DROP COLUMN fingerprint;
