-- The one way into the ledger: a batch of whole commands, in one round trip and one transaction.
--
-- Each command is an array element of p_commands (its id). Everything else refers to it by its place there
-- (from 1):
--   x_*  expectations: "the last sequence of this aggregate is x_sequence" (0: it does not exist yet). What a
--        command writes and what it merely relies on are checked alike. One expectation may serve many
--        commands: m_command / m_expectation say which serves which.
--   e_*  events, in the order in which they are to be numbered.
--   n_*  names to claim (n_claim) or give up, with the aggregate that does.
--
-- Returns a row for each command that was not appended: 'repeated' (this very command is in the ledger already: its
-- first try was committed, but the answer was lost; first_position is that of its first event), 'conflict' (with the
-- aggregate, what was expected and what is) or 'name_taken'. Last, a row 'batch': the position that the head had
-- before, and the time of the append. The commands without a row of their own were appended; their events are
-- numbered on from there, in the order given.
CREATE FUNCTION grantlog.append(
    p_lane smallint, p_epoch bigint, p_commands uuid[],
    x_type text[], x_id uuid[], x_sequence bigint[], m_command int[], m_expectation int[],
    e_command int[], e_type text[], e_id uuid[], e_sequence bigint[],
    e_event text[], e_version smallint[], e_payload text[], e_metadata text[],
    n_command int[], n_kind text[], n_digest bytea[], n_type text[], n_id uuid[], n_claim boolean[]
) RETURNS TABLE (command int, verdict text, first_position bigint, at timestamptz,
                 conflict_type text, conflict_id uuid, expected bigint, actual bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = grantlog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    h         grantlog.head;
    failed    int[];
    moment    timestamptz;
    total     bigint;
BEGIN
    SELECT * INTO h FROM grantlog.head WHERE lane = p_lane FOR UPDATE;
    IF h.epoch IS DISTINCT FROM p_epoch THEN
        RAISE EXCEPTION 'epoch % of lane % is over, the ledger is in epoch %', p_epoch, p_lane, h.epoch
            USING ERRCODE = 'GL001';
    END IF;
    moment := greatest(clock_timestamp(), h.recorded_at);

    -- The scalar subquery is an index probe per expectation, whatever the planner believes of the tables.
    SELECT array_agg(DISTINCT m.command) INTO failed
    FROM (
        SELECT x.place, x.sequence AS expected, coalesce((
            SELECT l.sequence FROM grantlog.ledger l
            WHERE l.lane = p_lane AND l.aggregate_type = x.type AND l.aggregate_id = x.id
            ORDER BY l.sequence DESC LIMIT 1), 0) AS actual
        FROM unnest(x_type, x_id, x_sequence) WITH ORDINALITY AS x (type, id, sequence, place)
    ) s
    JOIN unnest(m_command, m_expectation) AS m (command, expectation) ON m.expectation = s.place
    WHERE s.expected <> s.actual;
    failed := coalesce(failed, '{}');

    IF failed <> '{}' THEN
        RETURN QUERY
            SELECT DISTINCT ON (m.command) m.command,
                   CASE WHEN r.position IS NULL THEN 'conflict' ELSE 'repeated' END,
                   r.position, r.recorded_at, x.type, x.id, x.sequence,
                   coalesce((SELECT l.sequence FROM grantlog.ledger l
                             WHERE l.lane = p_lane AND l.aggregate_type = x.type AND l.aggregate_id = x.id
                             ORDER BY l.sequence DESC LIMIT 1), 0)
            FROM unnest(m_command, m_expectation) AS m (command, expectation)
            CROSS JOIN LATERAL (SELECT x_type[m.expectation], x_id[m.expectation], x_sequence[m.expectation]) AS x (type, id, sequence)
            LEFT JOIN LATERAL (
                SELECT min(w.position) AS position, min(w.recorded_at) AS recorded_at
                FROM unnest(e_command, e_type, e_id, e_sequence) AS e (command, type, id, sequence)
                CROSS JOIN LATERAL (
                    SELECT l.position, l.recorded_at, l.command_id FROM grantlog.ledger l
                    WHERE l.lane = p_lane AND l.aggregate_type = e.type AND l.aggregate_id = e.id AND l.sequence = e.sequence
                    OFFSET 0) AS w
                WHERE e.command = m.command AND w.command_id = p_commands[m.command]
            ) AS r ON true
            WHERE m.command = ANY (failed)
            ORDER BY m.command,
                     (x.sequence = coalesce((SELECT l.sequence FROM grantlog.ledger l
                         WHERE l.lane = p_lane AND l.aggregate_type = x.type AND l.aggregate_id = x.id
                         ORDER BY l.sequence DESC LIMIT 1), 0));
    END IF;

    IF cardinality(n_command) > 0 THEN
        RETURN QUERY
            SELECT DISTINCT n.command, 'name_taken', NULL::bigint, NULL::timestamptz, n.kind, NULL::uuid, NULL::bigint, NULL::bigint
            FROM unnest(n_command, n_kind, n_digest, n_id, n_claim) AS n (command, kind, digest, id, claim)
            WHERE n.claim AND n.command <> ALL (failed)
              AND EXISTS (SELECT FROM grantlog.names o
                          WHERE o.kind = n.kind AND o.keyed_digest = n.digest AND o.aggregate_id <> n.id);
        failed := failed || ARRAY(
            SELECT n.command FROM unnest(n_command, n_kind, n_digest, n_id, n_claim) AS n (command, kind, digest, id, claim)
            WHERE n.claim
              AND EXISTS (SELECT FROM grantlog.names o
                          WHERE o.kind = n.kind AND o.keyed_digest = n.digest AND o.aggregate_id <> n.id));
        DELETE FROM grantlog.names o
            USING unnest(n_command, n_kind, n_digest, n_id, n_claim) AS n (command, kind, digest, id, claim)
            WHERE NOT n.claim AND n.command <> ALL (failed)
              AND o.kind = n.kind AND o.keyed_digest = n.digest AND o.aggregate_id = n.id;
        INSERT INTO grantlog.names (kind, keyed_digest, aggregate_type, aggregate_id)
            SELECT n.kind, n.digest, n.type, n.id
            FROM unnest(n_command, n_kind, n_digest, n_type, n_id, n_claim) AS n (command, kind, digest, type, id, claim)
            WHERE n.claim AND n.command <> ALL (failed)
            ON CONFLICT (kind, keyed_digest) DO NOTHING;
    END IF;

    IF failed = '{}' THEN
        -- The usual case needs no renumbering: an event's place is its place in the arrays.
        INSERT INTO grantlog.ledger (lane, aggregate_type, aggregate_id, sequence, position, command_id,
                                     event_type, event_version, payload, metadata, recorded_at)
            SELECT p_lane, e.type, e.id, e.sequence, h.position + e.place, p_commands[e.command],
                   e.event, e.version, e.payload::json, e.metadata::json, moment
            FROM unnest(e_command, e_type, e_id, e_sequence, e_event, e_version, e_payload, e_metadata)
                 WITH ORDINALITY AS e (command, type, id, sequence, event, version, payload, metadata, place);
    ELSE
        INSERT INTO grantlog.ledger (lane, aggregate_type, aggregate_id, sequence, position, command_id,
                                     event_type, event_version, payload, metadata, recorded_at)
            SELECT p_lane, e.type, e.id, e.sequence, h.position + row_number() OVER (ORDER BY e.place),
                   p_commands[e.command], e.event, e.version, e.payload::json, e.metadata::json, moment
            FROM unnest(e_command, e_type, e_id, e_sequence, e_event, e_version, e_payload, e_metadata)
                 WITH ORDINALITY AS e (command, type, id, sequence, event, version, payload, metadata, place)
            WHERE e.command <> ALL (failed);
    END IF;
    GET DIAGNOSTICS total = ROW_COUNT;

    IF total > 0 THEN
        UPDATE grantlog.head SET position = h.position + total, recorded_at = moment WHERE lane = p_lane;
    END IF;

    RETURN QUERY SELECT 0, 'batch', h.position, moment, NULL::text, NULL::uuid, NULL::bigint, NULL::bigint;
END $$;

-- Which of these aggregates are no longer at the sequence that the caller knows. What appends nothing may
-- rely on cached state only after this. (PL/pgSQL, whose plans are kept: an SQL function would be planned over
-- all partitions at every call.)
CREATE FUNCTION grantlog.moved(p_lane smallint, p_type text[], p_id uuid[], p_sequence bigint[])
RETURNS SETOF int
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
        SELECT x.place::int
        FROM unnest(p_type, p_id, p_sequence) WITH ORDINALITY AS x (type, id, sequence, place)
        WHERE x.sequence <> coalesce((
            SELECT l.sequence FROM grantlog.ledger l
            WHERE l.lane = p_lane AND l.aggregate_type = x.type AND l.aggregate_id = x.id
            ORDER BY l.sequence DESC LIMIT 1), 0);
END $$;

-- The events of these aggregates after the sequences that the caller knows, in order. place says whose.
CREATE FUNCTION grantlog.events_after(p_lane smallint, p_type text[], p_id uuid[], p_after bigint[])
RETURNS TABLE (place int, sequence bigint, event_type text, event_version smallint, payload text)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT x.place::int, l.sequence, l.event_type, l.event_version, l.payload::text
        FROM unnest(p_type, p_id, p_after) WITH ORDINALITY AS x (type, id, after, place)
        CROSS JOIN LATERAL (
            SELECT e.sequence, e.event_type, e.event_version, e.payload FROM grantlog.ledger e
            WHERE e.lane = p_lane AND e.aggregate_type = x.type AND e.aggregate_id = x.id AND e.sequence > x.after
            ORDER BY e.sequence OFFSET 0) AS l;
END $$;

-- Creates the partitions of grants and refusals for the quarters that begin up to p_ahead after p_from. A
-- partition is created beside the ledger and then attached, so that appends wait for no long lock.
CREATE FUNCTION grantlog.create_partitions(p_from timestamptz, p_ahead interval) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = grantlog, pg_temp
AS $$
DECLARE
    family  text;
    quarter timestamptz;
    name    text;
    lower   uuid;
    upper   uuid;
    created int := 0;
BEGIN
    -- Only near the present: the application may call this, and must not be able to fill the catalogue.
    IF p_from < now() - interval '6 years' OR p_from + p_ahead > now() + interval '3 years' THEN
        RAISE EXCEPTION 'partitions are created from six years ago to three years ahead';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('grantlog.create_partitions'));
    FOREACH family IN ARRAY ARRAY['grant', 'refusal'] LOOP
        quarter := date_trunc('quarter', p_from, 'UTC');
        WHILE quarter <= p_from + p_ahead LOOP
            name := format('ledger_%s_%s', family, to_char(quarter AT TIME ZONE 'UTC', 'YYYY"q"Q'));
            IF to_regclass('grantlog.' || name) IS NULL THEN
                lower := grantlog.uuid_floor(quarter);
                upper := grantlog.uuid_floor(quarter + interval '3 months');
                EXECUTE format('CREATE TABLE grantlog.%I (LIKE grantlog.ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
                EXECUTE format('ALTER TABLE grantlog.%I ADD CONSTRAINT bounds CHECK (aggregate_type = %L AND aggregate_id >= %L AND aggregate_id < %L)', name, family, lower, upper);
                EXECUTE format('ALTER TABLE grantlog.ledger_%s ATTACH PARTITION grantlog.%I FOR VALUES FROM (%L) TO (%L)', family, name, lower, upper);
                EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.%I FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change()', name);
                EXECUTE format('GRANT SELECT ON grantlog.%I TO grantlog_app', name);
                created := created + 1;
            END IF;
            quarter := quarter + interval '3 months';
        END LOOP;
    END LOOP;
    RETURN created;
END $$;

-- The least UUIDv7 of a moment: its milliseconds in the first 48 bits, zeros after.
CREATE FUNCTION grantlog.uuid_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
