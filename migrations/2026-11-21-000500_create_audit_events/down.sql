DROP TABLE audit.events;
DROP FUNCTION audit.refuse_change();
DROP SCHEMA audit;
