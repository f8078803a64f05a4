-- Who was erased, and whose data must be kept, is asked every second and before a quarter is detached.

CREATE INDEX user_erased ON grantlog.ledger_user (position) WHERE event_type = 'SubjectKeyDestroyed';
CREATE INDEX user_holds ON grantlog.ledger_user (aggregate_id, sequence)
    WHERE event_type IN ('LegalHoldPlaced', 'LegalHoldLifted', 'SubjectKeyDestroyed');

-- The users with a legal hold that is in force.
CREATE FUNCTION grantlog.held_subjects() RETURNS SETOF uuid
LANGUAGE sql STABLE
SET search_path = grantlog, pg_temp
AS $$
    SELECT aggregate_id FROM (
        SELECT DISTINCT ON (aggregate_id) aggregate_id, event_type, payload FROM grantlog.ledger_user
        WHERE event_type IN ('LegalHoldPlaced', 'LegalHoldLifted', 'SubjectKeyDestroyed')
        ORDER BY aggregate_id, sequence DESC) AS latest
    WHERE event_type = 'LegalHoldPlaced'
      AND coalesce((payload->>'until')::timestamptz > clock_timestamp(), true)
$$;

REVOKE ALL ON FUNCTION grantlog.held_subjects FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grantlog.held_subjects TO grantlog_app;
