-- The user codes of device authorizations (RFC 8628) that wait for an answer, and how their devices poll: of either
-- nobody asks once the code is over.

CREATE TABLE grantlog.device_authorizations (
    digest        bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    grant_id      uuid        NOT NULL UNIQUE,
    expires_at    timestamptz NOT NULL,
    lookups       integer     NOT NULL DEFAULT 0,
    poll_interval integer     NOT NULL,
    polled_at     timestamptz,
    too_fast      boolean     NOT NULL DEFAULT false
);
CREATE INDEX device_authorizations_expiry ON grantlog.device_authorizations (expires_at);
COMMENT ON TABLE grantlog.device_authorizations IS 'User codes of device authorizations (RFC 8628) until they are over.';
COMMENT ON COLUMN grantlog.device_authorizations.digest IS 'A digest of the user code, keyed with the master key.';
COMMENT ON COLUMN grantlog.device_authorizations.lookups IS 'How often the code was entered, or its page shown or answered.';
COMMENT ON COLUMN grantlog.device_authorizations.poll_interval IS 'Seconds that the device must wait between polls: more after each slow_down.';
COMMENT ON COLUMN grantlog.device_authorizations.too_fast IS 'Whether the last poll came too soon.';

GRANT SELECT, INSERT, UPDATE, DELETE ON grantlog.device_authorizations TO grantlog_app;
