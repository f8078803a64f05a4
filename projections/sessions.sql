-- Which browser logins are there, since when, and which are over?
--
-- Events   SessionStarted, SessionReauthenticated, SessionEnded.
-- Pruned   90 days after expires_at, by the time of the events that are folded.
-- Key      id: the position of SessionStarted. session (the aggregate, `sid`) is unique too.
-- Erasure  nothing: it holds random ids only. Addresses and agents are in the events' metadata, encrypted.
--
-- A session without ended_at is over too where expires_at has passed, where the user's password_generation is another
-- one (the password was changed since), and where the user may not act.

CREATE TABLE public.{table} (
    id                  bigint      NOT NULL,
    session             uuid        NOT NULL,
    subject             uuid        NOT NULL,
    started_at          timestamptz NOT NULL,
    authenticated_at    timestamptz NOT NULL, -- the last time
    expires_at          timestamptz NOT NULL,
    amr                 text[]      NOT NULL,
    password_generation int         NOT NULL,
    ended_at            timestamptz,
    ended_reason        text
);

CREATE UNIQUE INDEX {table}_id      ON public.{table} (id);
CREATE UNIQUE INDEX {table}_session ON public.{table} (session);
CREATE INDEX        {table}_subject ON public.{table} (subject);
CREATE INDEX        {table}_expiry  ON public.{table} (expires_at);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('sessions', withheld => '{}');
