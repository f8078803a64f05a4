-- What watches the ledger: alerts get a partition of their own, beside that of the policies; the engine's cursor and
-- the state of its rules.

DO $$
BEGIN
    IF EXISTS (SELECT FROM grantlog.ledger_policy) THEN
        RAISE EXCEPTION 'the partition of policies and alerts is not empty: it was written by a build that is not known here';
    END IF;
END $$;

DROP TABLE grantlog.ledger_policy;
CREATE TABLE grantlog.ledger_policy PARTITION OF grantlog.ledger FOR VALUES IN ('policy');
CREATE TABLE grantlog.ledger_alert  PARTITION OF grantlog.ledger FOR VALUES IN ('alert');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_policy
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_alert
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_policy, grantlog.ledger_alert TO grantlog_app;

CREATE TABLE grantlog.policy_cursor (
    singleton boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    position  bigint      NOT NULL,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    failed_at timestamptz,
    error     text
);
-- What was recorded before there were policies raises no alerts.
INSERT INTO grantlog.policy_cursor (position) SELECT position FROM grantlog.head WHERE lane = 0;
COMMENT ON TABLE grantlog.policy_cursor IS 'How far the policies have come. It moves in one transaction with the states of the rules, and only from where the mover had found it.';
COMMENT ON COLUMN grantlog.policy_cursor.error IS 'Why the policies stand still; null while they go on. They skip nothing.';

CREATE TABLE grantlog.policy_states (
    rule  text  PRIMARY KEY,
    hash  text  NOT NULL,
    state bytea NOT NULL
);
COMMENT ON TABLE grantlog.policy_states IS 'What each rule remembers at the cursor, sealed by the master key. A row that is missing, or of another hash, is folded anew from the ledger.';

GRANT SELECT, UPDATE (position, moved_at, failed_at, error) ON grantlog.policy_cursor TO grantlog_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON grantlog.policy_states TO grantlog_app;
