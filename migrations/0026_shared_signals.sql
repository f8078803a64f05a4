-- The transmitter of the OpenID Shared Signals Framework. Its streams are on the ledger, in a partition of their own;
-- the tables are folded from it by the reader of signals, but for the headers and the time of the last verification.

CREATE TABLE grantlog.ledger_ssf_stream PARTITION OF grantlog.ledger FOR VALUES IN ('ssf_stream');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_ssf_stream
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_ssf_stream TO grantlog_app;

CREATE TABLE grantlog.ssf_cursor (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    position  bigint  NOT NULL
);
INSERT INTO grantlog.ssf_cursor (position) VALUES (0);
COMMENT ON TABLE grantlog.ssf_cursor IS 'How far the reader of signals has come. It locks the row, folds and moves it in one transaction.';

CREATE TABLE grantlog.ssf_streams (
    stream_id uuid        PRIMARY KEY,
    client    uuid        NOT NULL,
    status    text        NOT NULL CHECK (status IN ('enabled', 'paused', 'disabled')),
    events    text[]      NOT NULL,
    push      boolean     NOT NULL,
    due_at    timestamptz NOT NULL,
    attempts  integer     NOT NULL DEFAULT 0
);
CREATE INDEX ssf_streams_client ON grantlog.ssf_streams (client);
COMMENT ON TABLE grantlog.ssf_streams IS 'The event streams that are there.';
COMMENT ON COLUMN grantlog.ssf_streams.due_at IS 'With push: from when on the next SET may be sent. A node that sends moves it beyond the time that it may take.';
COMMENT ON COLUMN grantlog.ssf_streams.attempts IS 'With push: how often the SET that is next was sent in vain.';

CREATE TABLE grantlog.ssf_relations (
    consent_id uuid PRIMARY KEY,
    client     uuid NOT NULL,
    subject    uuid NOT NULL
);
CREATE INDEX ssf_relations_subject ON grantlog.ssf_relations (subject);
COMMENT ON TABLE grantlog.ssf_relations IS 'Which clients have, or had, a consent or a grant of which users, and hear of them. Ends with the consent and with the user.';

CREATE TABLE grantlog.ssf_exclusions (
    stream_id uuid NOT NULL REFERENCES grantlog.ssf_streams ON DELETE CASCADE,
    subject   uuid NOT NULL,
    PRIMARY KEY (stream_id, subject)
);
COMMENT ON TABLE grantlog.ssf_exclusions IS 'Users that a receiver does not want to hear of.';

CREATE TABLE grantlog.ssf_sets (
    number     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_id  uuid        NOT NULL,
    jti        uuid        NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    event_type text        NOT NULL,
    control    boolean     NOT NULL,
    subject    uuid,
    session    uuid,
    request    uuid,
    body       text        NOT NULL,
    made_at    timestamptz NOT NULL
);
CREATE INDEX ssf_sets_stream ON grantlog.ssf_sets (stream_id, number);
COMMENT ON TABLE grantlog.ssf_sets IS 'Security Event Tokens that no receiver has acknowledged. They are signed when they are handed out.';
COMMENT ON COLUMN grantlog.ssf_sets.control IS 'It is about the stream itself: verification, or a change of its status.';
COMMENT ON COLUMN grantlog.ssf_sets.body IS 'What stands under the event type in the claim events, JSON.';

CREATE TABLE grantlog.ssf_push_headers (
    stream_id uuid  PRIMARY KEY,
    wrapped   bytea NOT NULL
);
COMMENT ON TABLE grantlog.ssf_push_headers IS 'The Authorization headers that receivers gave for the delivery to them, wrapped by the master key.';

CREATE TABLE grantlog.ssf_verifications (
    stream_id uuid        PRIMARY KEY,
    at        timestamptz NOT NULL
);
COMMENT ON TABLE grantlog.ssf_verifications IS 'When a receiver last asked for a verification.';

GRANT SELECT, UPDATE (position) ON grantlog.ssf_cursor TO grantlog_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON grantlog.ssf_streams, grantlog.ssf_relations, grantlog.ssf_exclusions,
    grantlog.ssf_sets, grantlog.ssf_push_headers, grantlog.ssf_verifications TO grantlog_app;
