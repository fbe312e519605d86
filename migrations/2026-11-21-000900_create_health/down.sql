DROP TABLE health_incidents;
DROP TABLE health_minutes;
