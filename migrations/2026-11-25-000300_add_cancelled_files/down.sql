UPDATE files SET state = 'failed' WHERE state = 'cancelled';
ALTER TABLE files DROP CONSTRAINT files_state_check;
ALTER TABLE files ADD CONSTRAINT files_state_check
    CHECK (state IN ('pending', 'ready', 'superseded', 'deleting', 'deleted', 'failed'));
