-- When, from which network and at which of this server's endpoints were a grant's tokens used, and how often?
--
-- Events   TokenUseCounted.
-- Key      id: the position of the event, times 1024, plus the count's place in it.
-- Erasure  nothing: it holds random ids and keyed digests only.
--
-- One row per count that a node wrote down: the rows of an hour add up. Resource servers that check JWTs themselves ask
-- nobody, so what is done there is not seen here. A row goes 400 days after its last use, or with its grant's quarter.

CREATE TABLE public.{table} (
    id         bigint      NOT NULL,
    position   bigint      NOT NULL, -- of the event
    hour       timestamptz NOT NULL, -- when the hour began
    grant_id   uuid        NOT NULL, -- family, of the tables of tokens
    client_key uuid        NOT NULL, -- to whom the tokens were issued
    subject    uuid,                 -- for whom they stand
    asked_by   uuid,                 -- the client that asked about them (RFC 7662); null where they were presented
    endpoint   text        NOT NULL,
    network    text,                 -- a digest, keyed per month
    uses       bigint      NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL
);

CREATE UNIQUE INDEX {table}_id      ON public.{table} (id);
CREATE INDEX        {table}_grant   ON public.{table} (grant_id);
CREATE INDEX        {table}_client  ON public.{table} (client_key, last_at);
CREATE INDEX        {table}_subject ON public.{table} (subject, last_at);
CREATE INDEX        {table}_asked   ON public.{table} (asked_by, last_at) WHERE asked_by IS NOT NULL;
CREATE INDEX        {table}_network ON public.{table} (network);
CREATE INDEX        {table}_expiry  ON public.{table} USING brin (last_at);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('token_uses', withheld => '{}');
