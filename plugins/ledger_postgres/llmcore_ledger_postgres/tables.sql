CREATE TABLE {s}.calls (
    day date NOT NULL,                       -- of `at` in UTC
    key text NOT NULL,                       -- the identity of the request: a repeated reservation finds its row
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at double precision NOT NULL,            -- seconds since 1970, on the clock of this server
    call text NOT NULL,
    attempt integer NOT NULL,
    state text NOT NULL,                     -- open, done, failed, lost, hit
    count bigint NOT NULL DEFAULT 1,
    kind text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    served text,
    reserved bigint NOT NULL DEFAULT 0,      -- nano-dollars, as cost and saved
    cost bigint,
    uncertain boolean NOT NULL DEFAULT false,
    estimated boolean NOT NULL DEFAULT false,
    saved bigint,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cached_tokens bigint NOT NULL DEFAULT 0,
    cache_write_tokens bigint NOT NULL DEFAULT 0,
    cache_write_12h_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    audio_input_tokens bigint NOT NULL DEFAULT 0,
    audio_output_tokens bigint NOT NULL DEFAULT 0,
    image_input_tokens bigint NOT NULL DEFAULT 0,
    image_output_tokens bigint NOT NULL DEFAULT 0,
    characters bigint NOT NULL DEFAULT 0,
    latency_ms double precision,
    first_token_ms double precision,
    tier_asked text,
    tier text,
    request_id text,
    error text,
    "user" text,
    tags text[] NOT NULL DEFAULT '{{}}',
    owner text,                              -- the process that has the row open
    cost_source text,
    PRIMARY KEY (day, key)
) PARTITION BY RANGE (day);
CREATE INDEX ON {s}.calls (at, id);
CREATE INDEX ON {s}.calls (owner) WHERE state = 'open';
CREATE TABLE {s}.budgets (                   -- each is the sum of the rows that the scope covers
    period text NOT NULL,                    -- 2026-11-25, 2026-11 or total
    scope text NOT NULL,                     -- a JSON list: per, model, tag, user, unit
    provider text,                           -- the parts of the scope; NULL stands for all
    model text,
    tag text,
    "user" text,
    unit text NOT NULL,
    spent bigint NOT NULL,
    reserved bigint NOT NULL,
    pruned bigint NOT NULL DEFAULT 0,        -- the part of `spent` whose rows were pruned or never were in this ledger
    alerted bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (period, scope)
);
CREATE INDEX ON {s}.budgets (period, "user");
CREATE TABLE {s}.owners (                    -- processes, by their heartbeat
    name text PRIMARY KEY,
    seen timestamptz NOT NULL,
    timeline text                            -- the last timeline for which this owner has sent its rows again
);
CREATE TABLE {s}.voided (                    -- requests that must get no row: abandoned before their reservation arrived, or pruned
    key text PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE {s}.batches (name text PRIMARY KEY);
CREATE TABLE {s}.keys (
    name text PRIMARY KEY,
    id text NOT NULL UNIQUE,
    digest bytea NOT NULL,
    budget bigint,
    per text NOT NULL,
    models text[] NOT NULL,
    requests_per_minute integer,
    created_at double precision NOT NULL,
    expires_at double precision,
    revoked_at double precision,
    full_at double precision
);
CREATE TABLE {s}.state (
    version integer NOT NULL,                -- of these tables and functions
    timeline text NOT NULL,                  -- of the server, when the counters were last known to be right
    noticed timestamptz                      -- when another timeline was first noticed; NULL if all is well
);
INSERT INTO {s}.state VALUES (0, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8));
