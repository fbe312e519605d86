DROP INDEX files_s3_upload_idx;
DROP INDEX files_deleting_idx;
