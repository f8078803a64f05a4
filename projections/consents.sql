-- What did each user allow each application, since when, and is it taken back?
--
-- Events   ConsentGiven, ConsentWithdrawn.
-- Key      id: the position of the first ConsentGiven. consent (the aggregate), and (subject, client_key), are unique too.
-- Erasure  nothing: it holds random ids and names of scopes and claims only.
--
-- One row per user and client. scope and claims are all that is allowed now: empty where it was taken back.

CREATE TABLE public.{table} (
    id           bigint      NOT NULL,
    consent      uuid        NOT NULL,
    subject      uuid        NOT NULL,
    client_key   uuid        NOT NULL,
    scope        text        NOT NULL, -- separated by spaces
    claims       text        NOT NULL, -- of the user, by name, which no scope opened; separated by spaces
    given_at     timestamptz NOT NULL, -- the first time, or the first time since it was last taken back
    confirmed_at timestamptz NOT NULL, -- the last time
    withdrawn_at timestamptz,          -- the last time
    withdrawals  int         NOT NULL
);

CREATE UNIQUE INDEX {table}_id      ON public.{table} (id);
CREATE UNIQUE INDEX {table}_consent ON public.{table} (consent);
CREATE INDEX        {table}_subject ON public.{table} (subject);
CREATE INDEX        {table}_client  ON public.{table} (client_key);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('consents', withheld => '{}');
