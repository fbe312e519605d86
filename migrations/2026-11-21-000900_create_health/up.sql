-- What each console has heard of each service in each minute, for 30 days. Seconds, not counts, make the uptime: from one
-- check to the next a service was as the first has found it.
CREATE TABLE health_minutes (
    service text NOT NULL,
    minute timestamptz NOT NULL,
    -- One run of one console: what it writes again, it writes whole.
    console uuid NOT NULL,
    checks integer NOT NULL,
    good integer NOT NULL,
    up_seconds double precision NOT NULL,
    down_seconds double precision NOT NULL,
    -- Of the good checks.
    latency_sum_ms double precision NOT NULL,
    latency_most_ms double precision NOT NULL,
    PRIMARY KEY (service, minute, console)
);
CREATE INDEX health_minutes_minute ON health_minutes (minute);

-- When each console has seen a service down.
CREATE TABLE health_incidents (
    id uuid PRIMARY KEY,
    -- Host and port of the console, which outlive its runs.
    instance text NOT NULL,
    service text NOT NULL,
    class text NOT NULL,
    first_message text NOT NULL,
    last_message text NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    -- When it was last confirmed: the end of what nobody has ended.
    seen_at timestamptz NOT NULL
);
CREATE INDEX health_incidents_service_began_at ON health_incidents (service, began_at);
