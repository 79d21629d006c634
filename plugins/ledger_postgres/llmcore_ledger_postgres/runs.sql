-- The items of batches that the workers of an engine share. Every function may be repeated.

CREATE TABLE IF NOT EXISTS {s}.runs (name text PRIMARY KEY, open boolean NOT NULL);
CREATE TABLE IF NOT EXISTS {s}.run_items (
    run text NOT NULL REFERENCES {s}.runs ON DELETE CASCADE,
    key bytea NOT NULL,
    claim text NOT NULL,                     -- the execution of a chunk that sends the item
    owner text NOT NULL,                     -- the process of the claim
    answer bytea,                            -- NULL while the item is claimed
    PRIMARY KEY (run, key)
);
CREATE INDEX IF NOT EXISTS run_claims ON {s}.run_items (claim) WHERE answer IS NULL;

CREATE OR REPLACE FUNCTION {s}.open_run(p_run text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO {s}.runs VALUES (p_run, true) ON CONFLICT (name) DO UPDATE SET open = true
$$;

CREATE OR REPLACE FUNCTION {s}.close_run(p_run text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$ UPDATE {s}.runs SET open = false WHERE name = p_run $$;

CREATE OR REPLACE FUNCTION {s}.forget_run(p_run text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$ DELETE FROM {s}.runs WHERE name = p_run $$;

-- Claim items that are free, or whose process is dead. Returns no row if the run is not open.
CREATE OR REPLACE FUNCTION {s}.claim_items(p_run text, p_claim text, p_owner text, p_keys bytea[], silence interval, wait text)
RETURNS TABLE (state text, result bytea) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM 1 FROM {s}.runs r WHERE r.name = p_run AND r.open FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO {s}.run_items AS i (run, key, claim, owner)
        SELECT p_run, k, p_claim, p_owner FROM unnest(p_keys) k ORDER BY k
        ON CONFLICT (run, key) DO UPDATE SET claim = excluded.claim, owner = excluded.owner
            WHERE i.answer IS NULL AND i.claim <> excluded.claim AND {s}.is_dead(i.owner, silence);
    RETURN QUERY
        SELECT CASE WHEN i.answer IS NOT NULL THEN 'done' WHEN i.claim = p_claim THEN 'mine' ELSE 'busy' END, i.answer
        FROM unnest(p_keys) WITH ORDINALITY k (key, n) JOIN {s}.run_items i ON i.run = p_run AND i.key = k.key ORDER BY k.n;
END $$;

CREATE OR REPLACE FUNCTION {s}.finish_items(p_run text, p_claim text, p_keys bytea[], p_answers bytea[], wait text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM 1 FROM {s}.runs r WHERE r.name = p_run FOR SHARE;
    IF FOUND THEN
        INSERT INTO {s}.run_items AS i (run, key, claim, owner, answer)
            SELECT p_run, u.k, p_claim, '', u.a FROM unnest(p_keys, p_answers) u (k, a) ORDER BY u.k
            ON CONFLICT (run, key) DO UPDATE SET claim = excluded.claim, answer = excluded.answer WHERE i.answer IS NULL;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION {s}.release_items(p_run text, p_claim text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM {s}.run_items WHERE run = p_run AND claim = p_claim AND answer IS NULL
$$;
