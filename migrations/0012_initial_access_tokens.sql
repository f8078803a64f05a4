-- Initial access tokens (RFC 7591) live as long as they are good: a partition of their own, append-only like the others.

CREATE TABLE grantlog.ledger_initial_access_token PARTITION OF grantlog.ledger FOR VALUES IN ('initial_access_token');

CREATE TRIGGER no_truncate BEFORE TRUNCATE ON grantlog.ledger_initial_access_token
    FOR EACH STATEMENT EXECUTE FUNCTION grantlog.refuse_change();

GRANT SELECT ON grantlog.ledger_initial_access_token TO grantlog_app;
