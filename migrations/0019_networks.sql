-- Networks that policies throttled: few, a partition of their own.

CREATE TABLE grantlog.ledger_network PARTITION OF grantlog.ledger FOR VALUES IN ('network');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_network
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_network TO grantlog_app;
