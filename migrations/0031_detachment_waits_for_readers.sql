-- A quarter leaves the ledger once everybody that follows the ledger has come past it: streams, shared signals, policies and
-- logouts pass over a hole without a word, and what was in it would reach nobody.

-- Who has not come to a position, and how far they have come. A reader that has never begun waits for nothing, but for
-- streams: one that was defined has a place, though no server has made its row yet.
CREATE FUNCTION grantlog.readers_before(p_position bigint)
RETURNS TABLE (reader text, reached bigint)
LANGUAGE sql STABLE
SET search_path = grantlog, pg_temp
AS $$
    SELECT r.reader, r.reached FROM (
        SELECT 'stream:' || s.name, coalesce(c.position, s.after)
        FROM (SELECT DISTINCT ON (aggregate_id) aggregate_id, event_type, payload->>'name' AS name,
                     (payload->>'after')::bigint AS after
              FROM grantlog.ledger_stream WHERE lane = 0 AND event_type IN ('StreamDefined', 'StreamRemoved')
              ORDER BY aggregate_id, sequence DESC) AS s
        LEFT JOIN grantlog.stream_cursors AS c ON c.stream = s.aggregate_id AND c.generation = (
            SELECT count(*) FROM grantlog.ledger_stream AS d
            WHERE d.lane = 0 AND d.aggregate_id = s.aggregate_id AND d.event_type = 'StreamDefined')
        WHERE s.event_type = 'StreamDefined'
        UNION ALL
        SELECT 'shared-signals', position FROM grantlog.ssf_cursor WHERE position > 0
        UNION ALL
        SELECT 'policies', position FROM grantlog.policy_cursor WHERE position > 0
        UNION ALL
        SELECT 'logout', position FROM grantlog.logout_cursor WHERE position > 0) AS r (reader, reached)
    WHERE r.reached < p_position
    ORDER BY r.reader
$$;

-- As before, and no reader is left behind but those that the event names.
CREATE OR REPLACE FUNCTION grantlog.detach_partition(p_event_position bigint) RETURNS text
LANGUAGE plpgsql
SET search_path = grantlog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '3s'
AS $$
DECLARE
    said   json;
    facts  record;
    q      record;
    behind record;
BEGIN
    PERFORM FROM grantlog.head WHERE lane = 0 FOR UPDATE;
    SELECT payload INTO said FROM grantlog.ledger_trail
    WHERE lane = 0 AND position = p_event_position AND event_type = 'PartitionDetached';
    IF said IS NULL THEN
        RAISE EXCEPTION 'there is no PartitionDetached at position %', p_event_position USING ERRCODE = 'GL002';
    END IF;
    SELECT * INTO q FROM grantlog.quarters() WHERE partition = said->>'partition';
    SELECT * INTO facts FROM grantlog.quarter_facts(said->>'partition');
    IF q.lower <> (said->>'lower')::uuid OR q.upper <> (said->>'upper')::uuid OR q.class <> said->>'class'
       OR facts.events <> (said->>'events')::bigint OR facts.first <> (said->>'first')::bigint
       OR facts.last <> (said->>'last')::bigint THEN
        RAISE EXCEPTION 'the quarter % is not as it was when it was exported: run this again', q.partition USING ERRCODE = 'GL002';
    END IF;
    IF q.ends_at > clock_timestamp() OR facts.live_until > clock_timestamp() THEN
        RAISE EXCEPTION 'the quarter % is not over: it has grants that may be alive', q.partition USING ERRCODE = 'GL002';
    END IF;
    IF facts.held <> '{}' THEN
        RAISE EXCEPTION 'a legal hold keeps the quarter %: %', q.partition, facts.held USING ERRCODE = 'GL002';
    END IF;
    IF facts.last > (SELECT size FROM grantlog.evidence_log) THEN
        RAISE EXCEPTION 'the quarter % is not sealed yet', q.partition USING ERRCODE = 'GL002';
    END IF;
    SELECT * INTO behind FROM grantlog.readers_before(facts.last) AS r
    WHERE r.reader NOT IN (SELECT json_array_elements_text(
        CASE json_typeof(said->'despite') WHEN 'array' THEN said->'despite' ELSE '[]' END)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% has not carried the quarter %: it is at position %', behind.reader, q.partition, behind.reached
            USING ERRCODE = 'GL002';
    END IF;
    INSERT INTO grantlog.detached_partitions (partition, class, lower, upper, events, event_position)
        VALUES (q.partition, q.class, q.lower, q.upper, facts.events, p_event_position);
    EXECUTE format(
        'INSERT INTO grantlog.detached_ranges (first, last, partition) '
        'SELECT min(position), max(position), $1 FROM '
        '(SELECT position, position - row_number() OVER (ORDER BY position) AS run FROM grantlog.%I WHERE lane = 0) AS l '
        'GROUP BY run', 'ledger_' || q.partition) USING q.partition;
    EXECUTE format('ALTER TABLE grantlog.ledger_%s DETACH PARTITION grantlog.%I', q.class, 'ledger_' || q.partition);
    EXECUTE format('REVOKE ALL ON grantlog.%I FROM grantlog_app', 'ledger_' || q.partition);
    EXECUTE format('ALTER TABLE grantlog.%I SET SCHEMA grantlog_detached', 'ledger_' || q.partition);
    RETURN 'grantlog_detached.ledger_' || q.partition;
END $$;

REVOKE ALL ON FUNCTION grantlog.readers_before FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grantlog.readers_before TO grantlog_app;
