-- The ledger: every event, once, in one gapless order. Only grantlog.append writes to it.

CREATE SCHEMA grantlog;

CREATE TABLE grantlog.ledger (
    lane           smallint    NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence >= 1),
    position       bigint      NOT NULL CHECK (position >= 1),
    command_id     uuid        NOT NULL,
    event_type     text        NOT NULL,
    event_version  smallint    NOT NULL,
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (lane, aggregate_type, aggregate_id, sequence)
) PARTITION BY LIST (aggregate_type);

-- Not unique: a unique index on a partitioned table must hold the partition key. The append function is the
-- only writer, and numbers under the head's lock.
CREATE INDEX ledger_position ON grantlog.ledger (lane, position);

COMMENT ON TABLE grantlog.ledger IS 'Every event, once. payload and metadata are canonical JSON (RFC 8785), never re-serialised.';
COMMENT ON COLUMN grantlog.ledger.position IS 'Place in the whole log: 1, 2, 3 … without a gap, in commit order.';
COMMENT ON COLUMN grantlog.ledger.sequence IS 'Place in its aggregate, from 1.';
COMMENT ON COLUMN grantlog.ledger.command_id IS 'The command that wrote it: how a retry after a lost connection finds that it had succeeded.';
COMMENT ON COLUMN grantlog.ledger.recorded_at IS 'The database''s clock under the head''s lock: never decreases in position order.';

-- Aggregates that live long have a partition of their own.
CREATE TABLE grantlog.ledger_client      PARTITION OF grantlog.ledger FOR VALUES IN ('client');
CREATE TABLE grantlog.ledger_scope       PARTITION OF grantlog.ledger FOR VALUES IN ('scope');
CREATE TABLE grantlog.ledger_user        PARTITION OF grantlog.ledger FOR VALUES IN ('user');
CREATE TABLE grantlog.ledger_session     PARTITION OF grantlog.ledger FOR VALUES IN ('session');
CREATE TABLE grantlog.ledger_consent     PARTITION OF grantlog.ledger FOR VALUES IN ('consent');
CREATE TABLE grantlog.ledger_signing_key PARTITION OF grantlog.ledger FOR VALUES IN ('signing_key');
CREATE TABLE grantlog.ledger_policy      PARTITION OF grantlog.ledger FOR VALUES IN ('policy', 'alert');
CREATE TABLE grantlog.ledger_trail       PARTITION OF grantlog.ledger FOR VALUES IN ('trail');

-- Grants and refusals come and go: by quarter of birth, which their id (UUIDv7) begins with, so that the whole
-- life of a grant is in one partition and an expired quarter can be sealed, exported and detached. There is no
-- default partition: an id from outside the existing quarters is refused.
CREATE TABLE grantlog.ledger_grant   PARTITION OF grantlog.ledger FOR VALUES IN ('grant')   PARTITION BY RANGE (aggregate_id);
CREATE TABLE grantlog.ledger_refusal PARTITION OF grantlog.ledger FOR VALUES IN ('refusal') PARTITION BY RANGE (aggregate_id);

-- One row per lane: where the log ends. Locked by each append, so it must stay small and hot.
CREATE TABLE grantlog.head (
    lane        smallint    PRIMARY KEY,
    position    bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    epoch       bigint      NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

INSERT INTO grantlog.head VALUES (0, 0, '-infinity', 1);

-- What must be unique among all aggregates. Written in the same append as the event that claims it.
CREATE TABLE grantlog.names (
    kind           text  NOT NULL,
    keyed_digest   bytea NOT NULL,
    aggregate_type text  NOT NULL,
    aggregate_id   uuid  NOT NULL,
    PRIMARY KEY (kind, keyed_digest)
);
CREATE INDEX names_owner ON grantlog.names (aggregate_id);
COMMENT ON TABLE grantlog.names IS 'Who has which user name, e-mail address or chosen client id: a keyed digest of it, so that the table says nothing by itself.';

CREATE FUNCTION grantlog.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'Corrections are new events.';
END $$;

-- Row triggers on the parent are cloned to every partition; statement triggers are not, so TRUNCATE is
-- refused on each (grantlog.create_partitions does the same for new ones).
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON grantlog.ledger
    FOR EACH ROW EXECUTE FUNCTION grantlog.refuse_change();

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.oid::regclass::text FROM pg_class c
                WHERE c.relnamespace = 'grantlog'::regnamespace AND c.relname LIKE 'ledger%' AND c.relkind IN ('r', 'p') LOOP
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change()', name);
    END LOOP;
END $$;
