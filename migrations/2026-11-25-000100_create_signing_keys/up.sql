-- Keys that the replicas of one console share. They sign what Larder copies to Redis, so that a value written there by
-- anyone else is not believed.
CREATE TABLE signing_keys (
    name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z-]{1,40}$'),
    secret bytea NOT NULL CHECK (length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
