-- What is valid once and for a short time: it would only weigh on the ledger, so it is kept beside it and pruned.
-- Shared by all nodes, since each must see what another has used.

CREATE TABLE grantlog.pushed_requests (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    client     uuid        NOT NULL,
    request    text        NOT NULL,
    expires_at timestamptz NOT NULL,
    opened_at  timestamptz
);
CREATE INDEX pushed_requests_expiry ON grantlog.pushed_requests (expires_at);
COMMENT ON TABLE grantlog.pushed_requests IS 'Pushed authorization requests (RFC 9126) that were not answered yet.';
COMMENT ON COLUMN grantlog.pushed_requests.digest IS 'SHA-256 of the random part of the request_uri.';
COMMENT ON COLUMN grantlog.pushed_requests.request IS 'The parameters, sealed under a key made of the master key and the random part: the table alone, or with the master key, reveals nothing.';
COMMENT ON COLUMN grantlog.pushed_requests.opened_at IS 'When a browser first brought the request_uri; from then on the user has time to answer.';

GRANT SELECT, INSERT, UPDATE (expires_at, opened_at), DELETE ON grantlog.pushed_requests TO grantlog_app;

CREATE TABLE grantlog.client_assertions (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX client_assertions_expiry ON grantlog.client_assertions (expires_at);
COMMENT ON TABLE grantlog.client_assertions IS 'Client assertions (RFC 7523) that were used and are not over yet: SHA-256 of the client and the jti.';

GRANT SELECT, INSERT, DELETE ON grantlog.client_assertions TO grantlog_app;
