-- The trust in issuers of assertions (RFC 7523 §2.1): few and long-lived, a partition of its own.
CREATE TABLE grantlog.ledger_trusted_issuer PARTITION OF grantlog.ledger FOR VALUES IN ('trusted_issuer');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_trusted_issuer
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_trusted_issuer TO grantlog_app;

CREATE TABLE grantlog.grant_assertions (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX grant_assertions_expiry ON grantlog.grant_assertions (expires_at);
COMMENT ON TABLE grantlog.grant_assertions IS 'Assertions of other servers (RFC 7523 §2.1) that were used and are not over yet: SHA-256 of the issuer and the jti.';

GRANT SELECT, INSERT, DELETE ON grantlog.grant_assertions TO grantlog_app;
