-- Types of authorization details (RFC 9396): few and long-lived, a partition of its own.
CREATE TABLE grantlog.ledger_authorization_detail_type PARTITION OF grantlog.ledger
    FOR VALUES IN ('authorization_detail_type');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_authorization_detail_type
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_authorization_detail_type TO grantlog_app;

COMMENT ON TABLE grantlog.data_keys IS 'Data keys, wrapped by the master key: one per subject (period empty), one per subject and month for addresses and agents, one per month (owner all zeros) for requests without a subject, one per client (period client) for authorization details without a subject. Deleting a row erases what it encrypts. Back it up apart.';
