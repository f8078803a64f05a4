-- How often tokens were used at our own endpoints: written by each node every so often, a partition of its own.

CREATE TABLE grantlog.ledger_token_use PARTITION OF grantlog.ledger FOR VALUES IN ('token_use');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_token_use
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();
GRANT SELECT ON grantlog.ledger_token_use TO grantlog_app;
