-- Who must be told of the end of a login, and which grants end with it. All of it is folded from the ledger by the
-- reader of logouts: emptied, with the position set to 0, it comes to the same again.

CREATE TABLE grantlog.logout_cursor (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    position  bigint  NOT NULL
);
INSERT INTO grantlog.logout_cursor (position) VALUES (0);
COMMENT ON TABLE grantlog.logout_cursor IS 'How far the reader of logouts has come. It locks the row, folds and moves it in one transaction.';

CREATE TABLE grantlog.live_sessions (
    session_id uuid        PRIMARY KEY,
    subject    uuid        NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX live_sessions_subject ON grantlog.live_sessions (subject);
CREATE INDEX live_sessions_expiry ON grantlog.live_sessions (expires_at);
COMMENT ON TABLE grantlog.live_sessions IS 'Logins that were not ended and have not expired.';

CREATE TABLE grantlog.session_grants (
    grant_id   uuid    PRIMARY KEY,
    session_id uuid    NOT NULL REFERENCES grantlog.live_sessions ON DELETE CASCADE,
    client     uuid    NOT NULL,
    openid     boolean NOT NULL,
    offline    boolean NOT NULL,
    redeemed   boolean NOT NULL DEFAULT false
);
CREATE INDEX session_grants_session ON grantlog.session_grants (session_id);
COMMENT ON TABLE grantlog.session_grants IS 'The grants that were given in a live login.';
COMMENT ON COLUMN grantlog.session_grants.redeemed IS 'With openid: the client has an ID token that names the login.';

CREATE TABLE grantlog.logout_tasks (
    kind       text        NOT NULL CHECK (kind IN ('end', 'revoke', 'tell')),
    session_id uuid        NOT NULL,
    target     uuid        NOT NULL,
    subject    uuid        NOT NULL,
    since      timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, session_id, target)
);
CREATE INDEX logout_tasks_due ON grantlog.logout_tasks (due_at);
COMMENT ON TABLE grantlog.logout_tasks IS 'What is still to be done about ended logins. A node that takes a task moves due_at beyond the time that it may take.';
COMMENT ON COLUMN grantlog.logout_tasks.kind IS 'end: a login whose user has another password, or may not act; revoke: a grant that ended with its login; tell: a client that has an ID token of the login.';
COMMENT ON COLUMN grantlog.logout_tasks.target IS 'The session, grant or client.';

GRANT SELECT, INSERT, UPDATE, DELETE ON grantlog.live_sessions, grantlog.session_grants, grantlog.logout_tasks TO grantlog_app;
GRANT SELECT, UPDATE (position) ON grantlog.logout_cursor TO grantlog_app;
