-- Which events concern this client, user, login, grant, network, key, actor, request, event type or word?
--
-- Events   all of them, with their metadata.
-- Key      id: the event's position.
-- Erasure  nothing: it holds parts of digests only; networks are digested under a key per month before.
--
-- keys are the first eight bytes of SHA-256 of a kind (one byte) and a value, as src/trail/key.rs spells them. They are
-- asked for by containment (@>, &&), for which the index keeps a compressed list of rows per key. An event of a grant,
-- login, consent, alert or signing key also has what the aggregate's first two events hand on.
--
-- Nobody but the server reads it: grantlog_reader has no rights here.

CREATE TABLE public.{table} (
    id   bigint   NOT NULL,
    keys bigint[] NOT NULL
);

CREATE UNIQUE INDEX {table}_id   ON public.{table} (id);
CREATE INDEX        {table}_keys ON public.{table} USING gin (keys) WITH (gin_pending_list_limit = 1024);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;
