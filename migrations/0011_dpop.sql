-- DPoP proofs are used once (RFC 9449 §11.1): kept beside the ledger, for all nodes, until their age has them refused.

CREATE TABLE grantlog.dpop_proofs (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX dpop_proofs_expiry ON grantlog.dpop_proofs (expires_at);
COMMENT ON TABLE grantlog.dpop_proofs IS 'DPoP proofs (RFC 9449) that were used and are not over yet: SHA-256 of the key''s thumbprint, the address and the jti.';

GRANT SELECT, INSERT, DELETE ON grantlog.dpop_proofs TO grantlog_app;
