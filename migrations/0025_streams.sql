-- Streams: the ledger on its way to other systems. Their definitions are events; how far each has come lies here.

CREATE TABLE grantlog.ledger_stream PARTITION OF grantlog.ledger FOR VALUES IN ('stream');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_stream
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_stream TO grantlog_app;

CREATE TABLE grantlog.stream_cursors (
    stream        uuid        PRIMARY KEY,
    name          text        NOT NULL,
    generation    integer     NOT NULL,
    position      bigint      NOT NULL,
    delivered     bigint      NOT NULL DEFAULT 0,
    checkpoint    bigint      NOT NULL DEFAULT 0,
    events        bigint      NOT NULL DEFAULT 0,
    failures      bigint      NOT NULL DEFAULT 0,
    attempts      integer     NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL DEFAULT 'epoch',
    failing_since timestamptz,
    error         text,
    holder        uuid,
    leased_until  timestamptz NOT NULL DEFAULT 'epoch',
    moved_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE grantlog.stream_cursors IS 'How far each stream has come. A node leases a row, delivers, and moves it from where it had found it, while it holds the lease.';
COMMENT ON COLUMN grantlog.stream_cursors.generation IS 'How often a stream of this name was defined: one that was removed and defined again begins anew.';
COMMENT ON COLUMN grantlog.stream_cursors.position IS 'Everything up to here was acknowledged, filtered out, or is a dead letter.';
COMMENT ON COLUMN grantlog.stream_cursors.delivered IS 'The last position that was acknowledged.';
COMMENT ON COLUMN grantlog.stream_cursors.checkpoint IS 'The size of the last checkpoint that was delivered.';
COMMENT ON COLUMN grantlog.stream_cursors.attempts IS 'Failures in a row at this position.';

CREATE TABLE grantlog.stream_dead_letters (
    stream    uuid        NOT NULL REFERENCES grantlog.stream_cursors ON DELETE CASCADE,
    position  bigint      NOT NULL,
    attempts  integer     NOT NULL,
    error     text        NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    due_at    timestamptz,
    PRIMARY KEY (stream, position)
);
CREATE INDEX stream_dead_letters_due ON grantlog.stream_dead_letters (stream, position) WHERE due_at IS NOT NULL;
COMMENT ON TABLE grantlog.stream_dead_letters IS 'Positions that a stream gave up on. The events themselves are on the ledger.';
COMMENT ON COLUMN grantlog.stream_dead_letters.due_at IS 'When it is delivered again; null until somebody asks for it.';

GRANT SELECT, INSERT, UPDATE, DELETE ON grantlog.stream_cursors, grantlog.stream_dead_letters TO grantlog_app;
