DROP TABLE redis_minutes;
