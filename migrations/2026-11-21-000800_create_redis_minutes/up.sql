-- What Redis did in each minute, for 30 days. Counts are differences between samples of one run of the server; of a
-- minute that was sampled in part, `seconds` says how much.
CREATE TABLE redis_minutes (
    minute timestamptz PRIMARY KEY,
    seconds double precision NOT NULL,
    hits bigint NOT NULL,
    misses bigint NOT NULL,
    evicted bigint NOT NULL,
    expired bigint NOT NULL,
    commands bigint NOT NULL,
    rejected bigint NOT NULL,
    errors bigint NOT NULL,
    -- The most of the minute.
    memory bigint NOT NULL,
    clients bigint NOT NULL,
    keys bigint NOT NULL,
    latency_us bigint NOT NULL
);
