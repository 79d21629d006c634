CREATE OR REPLACE FUNCTION {s}.day_of(at double precision) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT (to_timestamp(at) AT TIME ZONE 'UTC')::date
$$;

CREATE OR REPLACE FUNCTION {s}.periods_of(at double precision) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY[to_char({s}.day_of(at), 'YYYY-MM-DD'), to_char({s}.day_of(at), 'YYYY-MM'), 'total']
$$;

CREATE OR REPLACE FUNCTION {s}.current_timeline() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
$$;

-- Create the partition of a day.
CREATE OR REPLACE FUNCTION {s}.make_partition(wanted date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass(format('{s}.calls_%s', to_char(wanted, 'YYYYMMDD'))) IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('{s}.partitions'));
        EXECUTE format('CREATE TABLE IF NOT EXISTS {s}.calls_%s PARTITION OF {s}.calls FOR VALUES FROM (%L) TO (%L)',
            to_char(wanted, 'YYYYMMDD'), wanted, wanted + 1);
    END IF;
END $$;

-- Add amounts to every counter that covers a request; return the counters. The caller has locked them in order.
CREATE OR REPLACE FUNCTION {s}.count_request(
    request_at double precision, request_provider text, request_model text, request_user text, request_tags text[],
    add_spent bigint, add_reserved bigint, add_characters bigint, add_reserved_characters bigint
) RETURNS jsonb LANGUAGE plpgsql AS $$  -- a function in SQL would be planned again by each call
DECLARE
    counters jsonb; row_periods text[] := {s}.periods_of(request_at);
BEGIN
    WITH updated AS (
        UPDATE {s}.budgets SET
            spent = spent + CASE unit WHEN 'characters' THEN add_characters ELSE add_spent END,
            reserved = reserved + CASE unit WHEN 'characters' THEN add_reserved_characters ELSE add_reserved END
        WHERE period = ANY(row_periods) AND ("user" IS NULL OR "user" = request_user)
            AND (provider IS NULL OR provider = request_provider) AND (model IS NULL OR model = request_model)
            AND (tag IS NULL OR tag = ANY(request_tags))
        RETURNING jsonb_build_array(period, scope, spent, reserved, alerted) AS counter
    ) SELECT coalesce(jsonb_agg(counter), '[]') INTO counters FROM updated;
    RETURN counters;
END $$;

-- Add the amounts of a row to the counters that cover it, or subtract them if *sign* is -1. The caller has locked the counters.
CREATE OR REPLACE FUNCTION {s}.count_change(c {s}.calls, sign integer) RETURNS void LANGUAGE sql AS $$
    SELECT {s}.count_request(c.at, c.provider, c.model, c."user", c.tags,
        CASE WHEN c.state <> 'open' THEN sign * coalesce(c.cost, 0) ELSE 0 END, CASE c.state WHEN 'open' THEN sign * c.reserved ELSE 0 END,
        CASE WHEN c.state <> 'open' THEN sign * c.characters ELSE 0 END, CASE c.state WHEN 'open' THEN sign * c.characters ELSE 0 END)
    WHERE c.key IS NOT NULL
$$;

-- Lock every counter that covers a request, in an order that all transactions share.
CREATE OR REPLACE FUNCTION {s}.lock_counters(requests jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM {s}.budgets b WHERE b.period = ANY(ARRAY(
            SELECT DISTINCT unnest({s}.periods_of((r->>'at')::float8)) FROM jsonb_array_elements(requests) r))
        AND EXISTS (SELECT 1 FROM jsonb_array_elements(requests) r
            WHERE (b."user" IS NULL OR b."user" = r->>'user') AND (b.provider IS NULL OR b.provider = r->>'provider')
                AND (b.model IS NULL OR b.model = r->>'model') AND (b.tag IS NULL OR r->'tags' ? b.tag))
    ORDER BY b.period, b.scope FOR UPDATE;
END $$;

-- Run a reservation, its copies and the settlement that abandons it one after the other. Locks of single keys could fill the lock table of
-- the server, so keys share 256 locks. Every transaction locks buckets in ascending order, then rows, then counters.
CREATE OR REPLACE FUNCTION {s}.lock_buckets(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    bucket integer;
BEGIN
    FOR bucket IN SELECT DISTINCT hashtext(key) & 255 FROM unnest(keys) key ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(hashtext('{s}.calls'), bucket);
    END LOOP;
END $$;

-- Return the answer to a repeated reservation: the row that the first reservation has opened, or NULL if it has opened no row.
CREATE OR REPLACE FUNCTION {s}.find_row(r jsonb, since date, tag_list text[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    existing record;
BEGIN
    SELECT c.day, c.at INTO existing FROM {s}.calls c WHERE c.key = r->>'key' AND c.day >= since;
    RETURN CASE WHEN FOUND THEN jsonb_build_object('row', existing.day, 'at', existing.at, 'counters', {s}.count_request(
        existing.at, r->>'provider', r->>'model', r->>'user', tag_list, 0, 0, 0, 0)) END;
END $$;

-- Open rows. The answer has, for each, "refused" (the index of the limit, its counter), "missing" (a limit has no counter yet),
-- "void" (the request was abandoned), "stale" (the server may have lost rows), or the row and its counters.
CREATE OR REPLACE FUNCTION {s}.reserve(owner text, requests jsonb, wait text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r jsonb; answers jsonb := '[]'; existing jsonb; refusal jsonb; is_stale boolean; tag_list text[]; counters jsonb;
    request_at double precision; today date;
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM pg_advisory_xact_lock_shared(hashtext('{s}.counters'));
    SELECT s.timeline <> {s}.current_timeline() INTO is_stale FROM {s}.state s;
    request_at := extract(epoch FROM clock_timestamp());
    today := {s}.day_of(request_at);
    IF to_regclass(format('{s}.calls_%s', to_char(today, 'YYYYMMDD'))) IS NULL THEN
        PERFORM {s}.make_partition(today);
    END IF;
    SELECT jsonb_agg(each || jsonb_build_object('at', request_at)) INTO requests FROM jsonb_array_elements(requests) each;
    PERFORM {s}.lock_buckets(ARRAY(SELECT each->>'key' FROM jsonb_array_elements(requests) each));
    PERFORM {s}.lock_counters(requests);
    FOR r IN SELECT * FROM jsonb_array_elements(requests) LOOP
        tag_list := ARRAY(SELECT jsonb_array_elements_text(r->'tags'));
        existing := {s}.find_row(r, today - 1, tag_list);
        IF existing IS NOT NULL THEN
            answers := answers || existing;
            CONTINUE;
        END IF;
        IF EXISTS (SELECT 1 FROM {s}.voided v WHERE v.key = r->>'key') THEN
            answers := answers || '{{"void": true}}';
            CONTINUE;
        END IF;
        refusal := NULL;
        SELECT CASE WHEN b.scope IS NULL THEN '{{"missing": true}}'
            ELSE jsonb_build_object('refused', l.number - 1,
                'counter', jsonb_build_array(b.period, b.scope, b.spent, b.reserved, b.alerted)) END
        INTO refusal
        FROM jsonb_array_elements(r->'limits') WITH ORDINALITY AS l(value, number)
        LEFT JOIN {s}.budgets b ON b.scope = l.value->>0 AND b.period = ({s}.periods_of(request_at))[
            CASE l.value->>1 WHEN 'day' THEN 1 WHEN 'month' THEN 2 ELSE 3 END]
        WHERE b.scope IS NULL OR (l.value->>3)::boolean AND b.spent + b.reserved
            + CASE b.unit WHEN 'characters' THEN (r->>'characters')::bigint ELSE (r->>'reserved')::bigint END > (l.value->>2)::bigint
        ORDER BY b.scope IS NOT NULL, l.number LIMIT 1;
        IF is_stale AND jsonb_path_exists(r->'limits', '$[*][3] ? (@ == true)') THEN
            refusal := '{{"stale": true}}';
        END IF;
        IF refusal IS NOT NULL THEN
            answers := answers || refusal;
            CONTINUE;
        END IF;
        INSERT INTO {s}.calls (day, key, at, call, attempt, state, kind, provider, model, reserved, characters, tier_asked,
            "user", tags, owner)
        VALUES (today, r->>'key', request_at, r->>'call', (r->>'attempt')::int, 'open', r->>'kind', r->>'provider', r->>'model',
            (r->>'reserved')::bigint, (r->>'characters')::bigint, r->>'tier', r->>'user', tag_list,
            coalesce(r->>'owner', owner))
        ON CONFLICT (day, key) DO NOTHING;
        IF NOT FOUND THEN  -- a copy of the reservation was committed a moment ago
            answers := answers || {s}.find_row(r, today, tag_list);
            CONTINUE;
        END IF;
        counters := {s}.count_request(request_at, r->>'provider', r->>'model', r->>'user', tag_list,
            0, (r->>'reserved')::bigint, 0, (r->>'characters')::bigint);
        answers := answers || jsonb_build_object('row', today, 'at', request_at, 'counters', counters);
    END LOOP;
    RETURN answers::text;
END $$;

-- Close rows; return the counters that changed, and "stale" if an unknown row may have been lost in a failover.
CREATE OR REPLACE FUNCTION {s}.settle(settlements jsonb, wait text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n jsonb; c {s}.calls; counters jsonb := '[]'; spent_now bigint; characters_now bigint; spent_before bigint;
    characters_before bigint; freed bigint; freed_characters bigint; items jsonb := '[]'; row_day date; first_day date;
    last_day date; closing {s}.calls[]; is_known boolean; is_lost boolean := false;
    last_key text;
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM pg_advisory_xact_lock_shared(hashtext('{s}.counters'));
    -- A reservation that is abandoned may be under way: wait for its end, and let no copy follow.
    PERFORM {s}.lock_buckets(ARRAY(SELECT e->>'key' FROM jsonb_array_elements(settlements) e WHERE e->>'state' IS NULL));
    FOR n IN SELECT * FROM jsonb_array_elements(settlements) e ORDER BY e->>'key' LOOP
        CONTINUE WHEN n->>'key' = last_key;  -- a settlement and its repetition may share a statement
        last_key := n->>'key';
        row_day := (n->>'row')::date;
        first_day := coalesce(row_day, {s}.day_of(extract(epoch FROM clock_timestamp())) - 1);
        last_day := coalesce(row_day, first_day + 2);
        IF n->>'state' IS NULL THEN
            INSERT INTO {s}.voided (key) VALUES (n->>'key') ON CONFLICT DO NOTHING;
        END IF;
        SELECT k.* INTO c FROM {s}.calls k WHERE k.key = n->>'key' AND k.day BETWEEN first_day AND last_day FOR UPDATE;
        is_known := FOUND;
        IF NOT is_known AND NOT is_lost THEN  -- a process may send its rows after the counters were rebuilt
            SELECT s.timeline <> {s}.current_timeline() OR coalesce(s.rebuilt > clock_timestamp() - interval '1 minute', false)
            INTO is_lost FROM {s}.state s;
        END IF;
        IF is_known AND c.state IN ('open', 'lost') THEN
            closing := closing || c;
            items := items || n;
        END IF;
    END LOOP;
    IF closing IS NULL THEN
        RETURN CASE WHEN is_lost THEN '[{{"stale": true}}]' ELSE '[]' END;
    END IF;
    PERFORM {s}.lock_counters((SELECT jsonb_agg(jsonb_build_object('at', l.at, 'provider', l.provider, 'model', l.model,
        'user', l."user", 'tags', l.tags)) FROM unnest(closing) l));
    FOR i IN 1 .. array_length(closing, 1) LOOP
        c := closing[i];
        n := items->(i - 1);
        IF c.state = 'open' THEN
            freed := c.reserved; freed_characters := c.characters; spent_before := 0; characters_before := 0;
        ELSE
            freed := 0; freed_characters := 0; spent_before := coalesce(c.cost, 0); characters_before := c.characters;
        END IF;
        IF n->>'state' IS NULL THEN
            spent_now := 0; characters_now := 0;
            DELETE FROM {s}.calls k WHERE k.day = c.day AND k.key = c.key;
        ELSE
            spent_now := coalesce((n->>'cost')::bigint, 0); characters_now := (n->>'characters')::bigint;
            UPDATE {s}.calls k SET state = n->>'state', cost = (n->>'cost')::bigint, cost_source = n->>'cost_source',
                uncertain = (n->>'uncertain')::boolean, estimated = (n->>'estimated')::boolean, served = n->>'served',
                latency_ms = (n->>'latency_ms')::float8, first_token_ms = (n->>'first_token_ms')::float8, tier = n->>'tier',
                request_id = n->>'request_id', error = n->>'error', characters = characters_now,
                input_tokens = (n->'tokens'->>0)::bigint, output_tokens = (n->'tokens'->>1)::bigint,
                cached_tokens = (n->'tokens'->>2)::bigint, cache_write_tokens = (n->'tokens'->>3)::bigint,
                cache_write_12h_tokens = (n->'tokens'->>4)::bigint, reasoning_tokens = (n->'tokens'->>5)::bigint,
                audio_input_tokens = (n->'tokens'->>6)::bigint, audio_output_tokens = (n->'tokens'->>7)::bigint,
                image_input_tokens = (n->'tokens'->>8)::bigint, image_output_tokens = (n->'tokens'->>9)::bigint, owner = NULL
            WHERE k.day = c.day AND k.key = c.key;
        END IF;
        counters := counters || {s}.count_request(c.at, c.provider, c.model, c."user", c.tags, spent_now - spent_before,
            -freed, characters_now - characters_before, -freed_characters);
    END LOOP;
    IF is_lost THEN
        counters := counters || '{{"stale": true}}'::jsonb;
    END IF;
    RETURN counters::text;
END $$;

-- Return whether an owner is dead: a process without a heartbeat, or `until:TIME:RUN` after TIME.
CREATE OR REPLACE FUNCTION {s}.is_dead(owner text, silence interval) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN owner LIKE 'until:%' THEN split_part(owner, ':', 2)::float8 < extract(epoch FROM clock_timestamp())
        ELSE NOT EXISTS (SELECT 1 FROM {s}.owners o WHERE o.name = owner AND o.seen > clock_timestamp() - silence) END
$$;

-- Settle open rows of dead owners at their maximum; return their number, at most 100. More rows would hold up the reservations that need the
-- same counters, so the caller repeats the call. With *is_recent*, search today and yesterday, and lock only the partitions of these days.
DROP FUNCTION IF EXISTS {s}.recover(interval, text);
CREATE OR REPLACE FUNCTION {s}.recover(silence interval, is_recent boolean, wait text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$  -- a generic plan would lock all partitions
DECLARE
    c {s}.calls; locked jsonb; dead text[]; first_day date := '-infinity';
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    -- The locks of many searches of all days would fill the lock table of the server, so one process at a time makes such a search.
    IF is_recent OR NOT pg_try_advisory_xact_lock(hashtext('{s}.recover')) THEN
        first_day := {s}.day_of(extract(epoch FROM clock_timestamp())) - 1;
    END IF;
    dead := ARRAY(SELECT o.owner FROM (SELECT DISTINCT k.owner FROM {s}.calls k WHERE k.state = 'open' AND k.day >= first_day) o
        WHERE {s}.is_dead(o.owner, silence));
    IF dead = '{{}}' THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtext('{s}.counters'));
    dead := ARRAY(SELECT d FROM unnest(dead) d WHERE {s}.is_dead(d, silence));
    SELECT jsonb_agg(to_jsonb(l)) INTO locked FROM (
        SELECT k.* FROM {s}.calls k WHERE k.state = 'open' AND k.day >= first_day AND k.owner = ANY(dead)
        ORDER BY k.day, k.key LIMIT 100 FOR UPDATE SKIP LOCKED) l;
    IF locked IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM {s}.lock_counters(locked);
    FOR c IN SELECT * FROM jsonb_populate_recordset(NULL::{s}.calls, locked) LOOP
        IF c.kind = 'lease' AND c.reserved = 0 AND c.characters = 0 THEN
            DELETE FROM {s}.calls k WHERE k.day = c.day AND k.key = c.key;
            CONTINUE;
        END IF;
        UPDATE {s}.calls k SET state = 'lost', cost = nullif(k.reserved, 0), uncertain = true, owner = NULL
        WHERE k.day = c.day AND k.key = c.key;
        PERFORM {s}.count_request(c.at, c.provider, c.model, c."user", c.tags, c.reserved, -c.reserved, c.characters,
            -c.characters);
    END LOOP;
    RETURN jsonb_array_length(locked);
END $$;

-- The sums of the rows that a scope covers in its period, as {{spent, reserved}}.
CREATE OR REPLACE FUNCTION {s}.sum_rows(
    per text, scope_provider text, scope_model text, scope_tag text, scope_user text, unit text, at double precision
) RETURNS bigint[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY[
        coalesce(sum(CASE WHEN state <> 'open' THEN CASE unit WHEN 'characters' THEN characters ELSE cost END END), 0)::bigint,
        coalesce(sum(CASE WHEN state = 'open' THEN CASE unit WHEN 'characters' THEN characters ELSE reserved END END), 0)::bigint]
    FROM {s}.calls c
    WHERE c.day BETWEEN CASE per WHEN 'day' THEN {s}.day_of(sum_rows.at) WHEN 'month' THEN date_trunc('month', {s}.day_of(sum_rows.at))::date
                ELSE '-infinity'::date END
            AND CASE per WHEN 'day' THEN {s}.day_of(sum_rows.at)
                WHEN 'month' THEN (date_trunc('month', {s}.day_of(sum_rows.at)) + interval '1 month - 1 day')::date ELSE 'infinity'::date END
        AND (scope_provider IS NULL OR c.provider = scope_provider) AND (scope_model IS NULL OR c.model = scope_model)
        AND (scope_user IS NULL OR c."user" = scope_user) AND (scope_tag IS NULL OR scope_tag = ANY(c.tags))
$$;

-- Create the missing counters of scopes from the rows of their current period. No reservation can change meanwhile.
CREATE OR REPLACE FUNCTION {s}.create_counters(scopes jsonb, wait text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at double precision; x jsonb; sums bigint[]; wanted text;
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM pg_advisory_xact_lock(hashtext('{s}.counters'));
    at := extract(epoch FROM clock_timestamp());
    FOR x IN SELECT * FROM jsonb_array_elements(scopes) LOOP
        wanted := ({s}.periods_of(at))[CASE x->>'per' WHEN 'day' THEN 1 WHEN 'month' THEN 2 ELSE 3 END];
        IF NOT EXISTS (SELECT 1 FROM {s}.budgets b WHERE b.period = wanted AND b.scope = x->>'scope') THEN
            sums := {s}.sum_rows(x->>'per', x->>'provider', x->>'model', x->>'tag', x->>'user', x->>'unit', at);
            INSERT INTO {s}.budgets (period, scope, provider, model, tag, "user", unit, spent, reserved)
            VALUES (wanted, x->>'scope', x->>'provider', x->>'model', x->>'tag', x->>'user', x->>'unit', sums[1], sums[2]);
        END IF;
    END LOOP;
END $$;

-- Insert closed rows, once for each batch.
CREATE OR REPLACE FUNCTION {s}.record(batch text, added jsonb, forget text[], wait text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {s}.calls; number integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM pg_advisory_xact_lock_shared(hashtext('{s}.counters'));
    DELETE FROM {s}.batches b WHERE b.name = ANY(forget);
    INSERT INTO {s}.batches VALUES (batch) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM {s}.lock_counters(added);
    FOR c IN SELECT * FROM jsonb_populate_recordset(NULL::{s}.calls, added) LOOP
        c.day := {s}.day_of(c.at);
        PERFORM {s}.make_partition(c.day);
        c.key := batch || ' ' || number;
        number := number + 1;
        INSERT INTO {s}.calls (@columns@) SELECT @values@;
        IF coalesce(c.cost, 0) <> 0 OR c.characters <> 0 THEN
            PERFORM {s}.count_request(c.at, c.provider, c.model, c."user", c.tags, coalesce(c.cost, 0), 0, c.characters, 0);
        END IF;
    END LOOP;
END $$;

-- Raise `alerted` of a counter; return whether this call or an earlier one with the same token did it.
ALTER TABLE {s}.budgets ADD COLUMN IF NOT EXISTS alert_token text;
DROP FUNCTION IF EXISTS {s}.claim_alert(text, text, bigint);
CREATE OR REPLACE FUNCTION {s}.claim_alert(
    wanted_period text, wanted_scope text, amount bigint, token text DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {s}.budgets b SET alerted = amount, alert_token = token
    WHERE b.period = wanted_period AND b.scope = wanted_scope AND b.alerted < amount;
    RETURN FOUND OR EXISTS (SELECT 1 FROM {s}.budgets b WHERE b.period = wanted_period AND b.scope = wanted_scope
        AND b.alerted = amount AND b.alert_token = token);
END $$;

-- Replace the closed rows of a day before a time by sums of the periods between `edges`, which include all midnights in UTC. `labels` has
-- the text of each period. A partition that has neither open rows nor sums is emptied at once, which frees its space.
-- Reservations wait for the end of the transaction, so each day has a separate transaction.
DROP FUNCTION IF EXISTS {s}.prune(double precision);
DROP FUNCTION IF EXISTS {s}.prune(double precision, double precision[], text[]);
CREATE INDEX IF NOT EXISTS calls_pruned ON {s}.calls (at, call) WHERE attempt = -1;
CREATE OR REPLACE FUNCTION {s}.prune(
    before double precision, edges double precision[], labels text[], wanted date, wait text
) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record; deleted bigint := 0; size bigint; sums jsonb;
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM pg_advisory_xact_lock(hashtext('{s}.counters'));
    FOR part IN SELECT i.inhrelid::regclass AS name, to_date(right(k.relname, 8), 'YYYYMMDD') AS day
            FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhparent = '{s}.calls'::regclass LOOP
        CONTINUE WHEN part.day <> wanted;
        SELECT count(*) INTO size FROM {s}.calls c
        WHERE c.day = part.day AND c.at >= edges[1] AND c.at < before AND c.state <> 'open' AND c.attempt <> -1;
        CONTINUE WHEN size = 0;
        SELECT jsonb_agg(to_jsonb(pruned)) INTO sums FROM (
            SELECT part.day AS day, 'sum ' || gen_random_uuid() AS key, edges[period] AS at, labels[period] AS call, -1 AS attempt,
                @sum_keys@, 0 AS reserved, @sums@
            FROM (SELECT c.*, width_bucket(c.at, edges) AS period, c.cost IS NULL AS unpriced FROM {s}.calls c
                WHERE c.day = part.day AND c.at >= edges[1] AND c.at < before AND c.state <> 'open' AND c.attempt <> -1) c
            GROUP BY period, unpriced, @sum_keys@) pruned;
        IF part.day >= {s}.day_of(extract(epoch FROM clock_timestamp())) - 1 THEN
            -- A copy of a statement, or `restate`, may send these rows again.
            INSERT INTO {s}.voided (key) SELECT c.key FROM {s}.calls c
            WHERE c.day = part.day AND c.at >= edges[1] AND c.at < before AND c.state <> 'open' AND c.attempt <> -1
            ON CONFLICT DO NOTHING;
        END IF;
        IF part.day < {s}.day_of(before) AND NOT EXISTS (SELECT 1 FROM {s}.calls c WHERE c.day = part.day
                AND (c.state = 'open' OR c.attempt = -1 OR c.at < edges[1])) THEN
            EXECUTE format('TRUNCATE %s', part.name);
        ELSE
            DELETE FROM {s}.calls c
            WHERE c.day = part.day AND c.at >= edges[1] AND c.at < before AND c.state <> 'open' AND c.attempt <> -1;
        END IF;
        INSERT INTO {s}.calls (@columns@) SELECT @values@ FROM jsonb_populate_recordset(NULL::{s}.calls, sums) c;
        deleted := deleted + size;
    END LOOP;
    RETURN deleted;
END $$;

-- Record the heartbeat of an owner. Return whether the counters belong to another timeline than the server's and must be rebuilt.
CREATE OR REPLACE FUNCTION {s}.beat(owner text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {s}.owners VALUES (owner, clock_timestamp()) ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp();
    DELETE FROM {s}.voided v WHERE v.at < now() - interval '1 hour';
    DELETE FROM {s}.owners o WHERE o.seen < now() - interval '1 day';
    PERFORM {s}.make_partition({s}.day_of(extract(epoch FROM clock_timestamp())));
    PERFORM {s}.make_partition({s}.day_of(extract(epoch FROM clock_timestamp()) + 86400));
    RETURN (SELECT s.timeline <> {s}.current_timeline() FROM {s}.state s);
END $$;

CREATE OR REPLACE FUNCTION {s}.leave(owner text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$ DELETE FROM {s}.owners o WHERE o.name = owner $$;

ALTER TABLE {s}.state ADD COLUMN IF NOT EXISTS rebuilt timestamptz;  -- when the counters were last rebuilt after a failover

-- After a failover, store the rows that an owner remembers. When every owner has done so, or after *silence*, rebuild the counters from
-- the rows. Return whether they are rebuilt. Rows of an owner that is late are stored too, and the counters follow.
CREATE OR REPLACE FUNCTION {s}.restate(owner text, remembered jsonb, silence interval) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {s}.calls; old {s}.calls; state_row {s}.state; now_on text := {s}.current_timeline(); is_rebuilt boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{s}.counters'));
    SELECT * INTO state_row FROM {s}.state FOR UPDATE;
    is_rebuilt := state_row.timeline = now_on;
    IF NOT is_rebuilt AND state_row.noticed IS NULL THEN
        UPDATE {s}.state SET noticed = clock_timestamp() RETURNING * INTO state_row;
    END IF;
    FOR c IN SELECT * FROM jsonb_populate_recordset(NULL::{s}.calls, remembered) LOOP
        PERFORM {s}.make_partition(c.day);
        SELECT o.* INTO old FROM {s}.calls o WHERE o.day = c.day AND o.key = c.key;
        -- Skip a row that was settled, removed or pruned after the owner had recalled it.
        CONTINUE WHEN old.state NOT IN ('open', 'lost') OR old.attempt > c.attempt
            OR EXISTS (SELECT 1 FROM {s}.voided v WHERE v.key = c.key);
        INSERT INTO {s}.calls (@columns@) SELECT @values@
        ON CONFLICT (day, key) DO UPDATE SET state = excluded.state, attempt = excluded.attempt,
            reserved = excluded.reserved, cost = excluded.cost, uncertain = excluded.uncertain,
            characters = excluded.characters, owner = excluded.owner, input_tokens = excluded.input_tokens,
            output_tokens = excluded.output_tokens, cached_tokens = excluded.cached_tokens;
        IF is_rebuilt THEN
            PERFORM {s}.count_change(c, 1), {s}.count_change(old, -1);
        END IF;
    END LOOP;
    -- Delete the leases that this owner has given back in the seconds that the failover lost.
    FOR old IN DELETE FROM {s}.calls o WHERE o.owner = restate.owner AND o.state = 'open' AND o.kind = 'lease'
            AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements(remembered) r WHERE r->>'key' = o.key)
            AND (NOT is_rebuilt OR to_timestamp(o.at) < state_row.rebuilt) RETURNING o.* LOOP
        IF is_rebuilt THEN
            PERFORM {s}.count_change(old, -1);
        END IF;
    END LOOP;
    INSERT INTO {s}.owners VALUES (owner, clock_timestamp(), now_on)
    ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp(), timeline = now_on;
    IF is_rebuilt THEN
        RETURN true;
    END IF;
    IF state_row.noticed > clock_timestamp() - silence AND EXISTS (SELECT 1 FROM {s}.owners o
            WHERE o.timeline IS DISTINCT FROM now_on AND o.seen > state_row.noticed - interval '1 hour') THEN
        RETURN false;
    END IF;
    UPDATE {s}.budgets b SET (spent, reserved) = (
        SELECT b.pruned + coalesce(sum(CASE WHEN k.state <> 'open' THEN CASE b.unit WHEN 'characters' THEN k.characters
                ELSE k.cost END END), 0),
            coalesce(sum(CASE WHEN k.state = 'open' THEN CASE b.unit WHEN 'characters' THEN k.characters ELSE k.reserved END END), 0)
        FROM {s}.calls k WHERE b.period = ANY({s}.periods_of(k.at))
            AND (b.provider IS NULL OR k.provider = b.provider) AND (b.model IS NULL OR k.model = b.model)
            AND (b."user" IS NULL OR k."user" = b."user") AND (b.tag IS NULL OR b.tag = ANY(k.tags)));
    UPDATE {s}.state SET timeline = now_on, noticed = NULL, rebuilt = clock_timestamp();
    RETURN true;
END $$;

-- Add the amount of a migrated ledger's counter that is not in the rows copied from that ledger, once for each batch. Return whether this
-- call or an earlier one with the same token did it.
ALTER TABLE {s}.batches ADD COLUMN IF NOT EXISTS token text;
DROP FUNCTION IF EXISTS {s}.add_counted(text, text, text, bigint);
CREATE OR REPLACE FUNCTION {s}.add_counted(
    batch text, counted_period text, counted_scope text, amount bigint, caller text DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{s}.counters'));
    INSERT INTO {s}.batches (name, token) VALUES (batch, caller) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT 1 FROM {s}.batches k WHERE k.name = batch AND k.token = caller);
    END IF;
    UPDATE {s}.budgets b SET spent = b.spent + amount, pruned = b.pruned + amount
    WHERE b.period = counted_period AND b.scope = counted_scope;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION {s}.insert_key(added jsonb) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k {s}.keys := jsonb_populate_record(NULL::{s}.keys, added);
BEGIN
    DELETE FROM {s}.keys old WHERE old.name = k.name AND (old.revoked_at IS NOT NULL OR old.expires_at <= k.created_at);
    INSERT INTO {s}.keys SELECT (k).* ON CONFLICT (name) DO NOTHING;
    RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION {s}.revoke_key(revoked text, at double precision) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    UPDATE {s}.keys k SET revoked_at = at WHERE k.name = revoked AND k.revoked_at IS NULL
$$;

-- Take one request from the token bucket of a key (GCRA); return the seconds to wait if it is empty.
CREATE OR REPLACE FUNCTION {s}.take_request(key_id text, interval_s double precision, burst_s double precision)
RETURNS double precision LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    full_time double precision; now_s double precision; after_s double precision;
BEGIN
    SELECT coalesce(k.full_at, 0) INTO full_time FROM {s}.keys k WHERE k.id = key_id FOR UPDATE;
    now_s := extract(epoch FROM clock_timestamp());
    after_s := greatest(full_time, now_s) + interval_s;
    IF after_s - now_s - burst_s > 1e-6 THEN
        RETURN after_s - now_s - burst_s;
    END IF;
    UPDATE {s}.keys k SET full_at = after_s WHERE k.id = key_id;
    RETURN 0;
END $$;
