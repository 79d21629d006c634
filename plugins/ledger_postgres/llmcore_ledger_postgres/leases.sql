-- A lease is an open row of the kind `lease`. Its reserved amount is the block that one process may reserve from without this
-- server, for requests of one provider, model, user and set of tags. The same counters cover the row and these requests. `attempt`
-- is the number of the last statement that changed the lease.

-- Insert the rows that a process opened or closed since its last statement, settle older rows, and change the blocks of its leases.
-- Every item has `free`, the unused part of its block; `more`, the amount to add; and `least`. If a sixteenth of the remaining amount of
-- a limit is less than `least`, nothing is added, and the answer is "near". Each amount is a pair: nano-dollars and characters.
-- The answer has the state of each lease ("open", "near", "lost": settled by another process, "gone") and its new block.
CREATE OR REPLACE FUNCTION {s}.sync_leases(owner text, number integer, items jsonb, wait text) RETURNS text LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item jsonb; answers jsonb := '[]'; counters jsonb; tag_list text[]; lease {s}.calls; now_s double precision; today date;
    request_at double precision; row_day date; is_found boolean; is_near boolean; status text;
    free bigint[]; blocked bigint[]; added bigint[]; changed bigint[]; room bigint[]; grants bigint[];
BEGIN
    PERFORM set_config('lock_timeout', wait, true);
    PERFORM pg_advisory_xact_lock_shared(hashtext('{s}.counters'));
    IF (SELECT s.timeline <> {s}.current_timeline() FROM {s}.state s) THEN
        RETURN '{{"stale": true}}';
    END IF;
    INSERT INTO {s}.owners VALUES (owner, clock_timestamp()) ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp();
    now_s := extract(epoch FROM clock_timestamp());
    today := {s}.day_of(now_s);
    PERFORM {s}.make_partition(today);
    -- A lease without `at` is new, or its first answer was lost: it belongs to the day on which it was granted, perhaps yesterday.
    SELECT jsonb_agg(each || jsonb_build_object('at', coalesce((each->>'at')::float8, (SELECT min(k.at) FROM {s}.calls k
        WHERE k.day IN (today - 1, today) AND k.key = each->>'key' AND k.kind = 'lease'), now_s))) INTO items
    FROM jsonb_array_elements(items) each;
    -- Lock buckets, rows and then counters, as `settle` does.
    PERFORM {s}.lock_buckets(ARRAY(SELECT n->>'key' FROM jsonb_array_elements(items) e, jsonb_array_elements(e->'settlements') n
        WHERE n->>'state' IS NULL));
    PERFORM 1 FROM {s}.calls k WHERE k.key IN (SELECT e->>'key' FROM jsonb_array_elements(items) e) AND k.day >= today - 1
    ORDER BY k.day, k.key FOR UPDATE;
    PERFORM 1 FROM {s}.calls k JOIN (SELECT (n->>'row')::date AS day, n->>'key' AS key FROM jsonb_array_elements(items) e,
        jsonb_array_elements(e->'settlements') n) n ON k.day = n.day AND k.key = n.key ORDER BY k.day, k.key FOR UPDATE OF k;
    PERFORM {s}.lock_counters(items);
    FOR item IN SELECT * FROM jsonb_array_elements(items) LOOP
        request_at := (item->>'at')::float8;
        row_day := {s}.day_of(request_at);
        tag_list := ARRAY(SELECT jsonb_array_elements_text(item->'tags'));
        free := ARRAY[(item->'free'->>0)::bigint, (item->'free'->>1)::bigint];
        WITH inserted AS (
            INSERT INTO {s}.calls (@columns@)
            SELECT @values@ FROM jsonb_populate_recordset(NULL::{s}.calls, item->'rows') c
            WHERE NOT EXISTS (SELECT 1 FROM {s}.voided v WHERE v.key = c.key)
            ON CONFLICT (day, key) DO NOTHING
            RETURNING calls.state = 'open' AS is_open, calls.reserved, calls.cost, calls.characters
        ) SELECT ARRAY[coalesce(sum(i.cost) FILTER (WHERE NOT i.is_open), 0), coalesce(sum(i.reserved) FILTER (WHERE i.is_open), 0),
            coalesce(sum(i.characters) FILTER (WHERE NOT i.is_open), 0),
            coalesce(sum(i.characters) FILTER (WHERE i.is_open), 0)]::bigint[] INTO added FROM inserted i;
        PERFORM {s}.settle(item->'settlements', wait);
        SELECT k.* INTO lease FROM {s}.calls k WHERE k.day = row_day AND k.key = item->>'key';
        is_found := FOUND;
        blocked := CASE WHEN NOT is_found THEN ARRAY[0, 0]::bigint[] WHEN lease.state = 'open' THEN ARRAY[lease.reserved, lease.characters]
            ELSE ARRAY[coalesce(lease.cost, 0), lease.characters] END;
        status := CASE WHEN is_found THEN lease.state WHEN (item->>'is_new')::boolean AND NOT EXISTS (
            SELECT 1 FROM {s}.voided v WHERE v.key = item->>'key') THEN 'open' ELSE 'gone' END;
        IF is_found AND lease.attempt >= number THEN  -- a repeated statement
            free := blocked;
        ELSIF status <> 'open' THEN
            free := ARRAY[least(free[1], blocked[1]), least(free[2], blocked[2])];
        END IF;
        grants := ARRAY[0, 0];
        is_near := false;
        IF status = 'open' AND (lease.attempt IS NULL OR lease.attempt < number) AND NOT (item->>'closing')::boolean THEN
            -- The remaining amounts of the limits after the unused part of the block is given back.
            SELECT ARRAY[min(l.amount - b.spent - b.reserved) FILTER (WHERE b.unit <> 'characters')
                    - added[1] - added[2] - free[1] + blocked[1],
                min(l.amount - b.spent - b.reserved) FILTER (WHERE b.unit = 'characters')
                    - added[3] - added[4] - free[2] + blocked[2]], coalesce(bool_or(b.scope IS NULL), false)
            INTO room, is_near
            FROM (SELECT v->>0 AS scope, v->>1 AS per, (v->>2)::bigint AS amount FROM jsonb_array_elements(item->'limits') v
                WHERE (v->>3)::boolean) l
            LEFT JOIN {s}.budgets b ON b.scope = l.scope AND b.period = ({s}.periods_of(request_at))[
                CASE l.per WHEN 'day' THEN 1 WHEN 'month' THEN 2 ELSE 3 END];
            is_near := is_near OR coalesce(room[1] / 16 < (item->'least'->>0)::bigint, false)
                OR coalesce(room[2] / 16 < (item->'least'->>1)::bigint, false);
            IF NOT is_near THEN
                grants := ARRAY[greatest(0, least((item->'more'->>0)::bigint, room[1] / 16)),
                    greatest(0, least((item->'more'->>1)::bigint, room[2] / 16))];
            END IF;
        END IF;
        IF (item->>'closing')::boolean THEN
            free := ARRAY[0, 0];
        END IF;
        changed := ARRAY[free[1] + grants[1] - blocked[1], free[2] + grants[2] - blocked[2]];
        counters := {s}.count_request(request_at, item->>'provider', item->>'model', item->>'user', tag_list,
            added[1] + CASE status WHEN 'lost' THEN changed[1] ELSE 0 END,
            added[2] + CASE status WHEN 'lost' THEN 0 ELSE changed[1] END,
            added[3] + CASE status WHEN 'lost' THEN changed[2] ELSE 0 END,
            added[4] + CASE status WHEN 'lost' THEN 0 ELSE changed[2] END);
        IF (item->>'closing')::boolean THEN
            DELETE FROM {s}.calls k WHERE k.day = row_day AND k.key = item->>'key';
            -- A copy of an older statement must not take the lease again.
            INSERT INTO {s}.voided (key) SELECT item->>'key' WHERE item->>'key' IS NOT NULL ON CONFLICT DO NOTHING;
        ELSIF is_found THEN
            UPDATE {s}.calls k SET attempt = greatest(k.attempt, number), characters = free[2] + grants[2],
                reserved = CASE status WHEN 'open' THEN free[1] + grants[1] ELSE k.reserved END,
                cost = CASE status WHEN 'open' THEN k.cost ELSE free[1] END
            WHERE k.day = row_day AND k.key = lease.key;
        ELSIF status = 'open' AND NOT is_near THEN
            INSERT INTO {s}.calls (day, key, at, call, attempt, state, count, kind, provider, model, reserved, characters,
                "user", tags, owner)
            VALUES (row_day, item->>'key', request_at, '', number, 'open', 0, 'lease', item->>'provider', item->>'model',
                grants[1], grants[2], item->>'user', tag_list, owner);
        END IF;
        answers := answers || jsonb_build_object('state', CASE WHEN is_near THEN 'near' ELSE status END, 'at', request_at,
            'block', ARRAY[free[1] + grants[1], free[2] + grants[2]], 'counters', counters);
    END LOOP;
    RETURN jsonb_build_object('at', now_s, 'items', answers, 'timeline', {s}.current_timeline())::text;
END $$;
