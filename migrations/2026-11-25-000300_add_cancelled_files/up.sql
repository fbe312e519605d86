-- Until now, a file counted as cancelled if its error was one of these two sentences.
ALTER TABLE files DROP CONSTRAINT files_state_check;
ALTER TABLE files ADD CONSTRAINT files_state_check
    CHECK (state IN ('pending', 'ready', 'superseded', 'deleting', 'deleted', 'failed', 'cancelled'));
UPDATE files SET state = 'cancelled'
    WHERE state = 'failed' AND error IN ('It was cancelled.', 'It was started anew with another file.');
