-- Quarters of grants and refusals that are over can be taken out of the ledger. What is known of them afterwards: the
-- manifest here, the event PartitionDetached on the trail, and the hashes of all their events in the evidence log.

CREATE SCHEMA grantlog_detached;
COMMENT ON SCHEMA grantlog_detached IS 'Partitions that were taken out of the ledger, until somebody drops them.';

CREATE TABLE grantlog.detached_partitions (
    partition      text        PRIMARY KEY,
    class          text        NOT NULL,
    lower          uuid        NOT NULL,
    upper          uuid        NOT NULL,
    events         bigint      NOT NULL,
    event_position bigint      NOT NULL UNIQUE,
    detached_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE grantlog.detached_partitions IS 'The manifest: which quarters were taken out of the ledger.';
COMMENT ON COLUMN grantlog.detached_partitions.event_position IS 'Where PartitionDetached stands, which has the digest of the leaves.';

CREATE TABLE grantlog.detached_ranges (
    first     bigint PRIMARY KEY,
    last      bigint NOT NULL,
    partition text   NOT NULL REFERENCES grantlog.detached_partitions,
    CHECK (first >= 1 AND last >= first)
);
COMMENT ON TABLE grantlog.detached_ranges IS 'The manifest: the positions whose events are not in the ledger any more.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON grantlog.detached_partitions
    FOR EACH ROW EXECUTE FUNCTION grantlog.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.detached_partitions
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON grantlog.detached_ranges
    FOR EACH ROW EXECUTE FUNCTION grantlog.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.detached_ranges
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();

GRANT SELECT ON grantlog.detached_partitions, grantlog.detached_ranges TO grantlog_app;

-- The quarters that are in the ledger: their bounds, and when they end. Months are added in UTC, whatever the session's
-- time zone.
CREATE FUNCTION grantlog.quarters()
RETURNS TABLE (partition text, class text, lower uuid, upper uuid, ends_at timestamptz, bytes bigint)
LANGUAGE sql STABLE
SET search_path = grantlog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT q.class || '_' || q.quarter, q.class, grantlog.uuid_floor(q.begins), grantlog.uuid_floor(q.begins + interval '3 months'),
           q.begins + interval '3 months', pg_total_relation_size(q.relation)
    FROM (
        SELECT family AS class, right(c.relname, 6) AS quarter, c.oid AS relation,
               make_timestamptz(substr(right(c.relname, 6), 1, 4)::int, substr(right(c.relname, 6), 6, 1)::int * 3 - 2, 1, 0, 0, 0, 'UTC') AS begins
        FROM unnest(ARRAY['grant', 'refusal']) AS family
        JOIN pg_inherits i ON i.inhparent = ('grantlog.ledger_' || family)::regclass
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relname ~ ('^ledger_' || family || '_[0-9]{4}q[1-4]$')) AS q
    ORDER BY 2, 5
$$;

-- What is in a quarter: how many events from where to where, when the last grant in it ends, and which users of it are
-- held.
CREATE FUNCTION grantlog.quarter_facts(p_partition text)
RETURNS TABLE (events bigint, first bigint, last bigint, live_until timestamptz, held uuid[])
LANGUAGE plpgsql STABLE
SET search_path = grantlog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    holds text[] := ARRAY(SELECT h::text FROM grantlog.held_subjects() AS h);
BEGIN
    IF NOT EXISTS (SELECT FROM grantlog.quarters() AS q WHERE q.partition = p_partition) THEN
        RAISE EXCEPTION 'the ledger has no quarter %', p_partition USING ERRCODE = 'GL002';
    END IF;
    EXECUTE format('SELECT count(*), coalesce(min(position), 0), coalesce(max(position), 0), '
                   'max((payload->>''grant_expires_at'')::timestamptz) FROM grantlog.%I', 'ledger_' || p_partition)
        INTO events, first, last, live_until;
    held := '{}';
    IF holds <> '{}' THEN
        EXECUTE format('SELECT coalesce(array_agg(DISTINCT h::uuid), ''{}'') FROM grantlog.%I AS l JOIN unnest($1) AS h '
                       'ON l.payload->>''subject'' = h OR l.metadata->>''actor'' = ''user:'' || h', 'ledger_' || p_partition)
            INTO held USING holds;
    END IF;
    RETURN NEXT;
END $$;

-- Takes a quarter out of the ledger, as the event PartitionDetached at a position says. For the owner: the
-- application's role can take nothing out. All that the event rests on is checked again under the head's lock.
CREATE FUNCTION grantlog.detach_partition(p_event_position bigint) RETURNS text
LANGUAGE plpgsql
SET search_path = grantlog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '3s'
AS $$
DECLARE
    said  json;
    facts record;
    q     record;
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

REVOKE ALL ON FUNCTION grantlog.quarters, grantlog.quarter_facts, grantlog.detach_partition FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grantlog.quarters, grantlog.quarter_facts TO grantlog_app;
