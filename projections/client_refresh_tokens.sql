-- Which refresh tokens were issued, which generation replaced which, and which ended before their time?
--
-- Events   TokenIssued (where it has a refresh token), RefreshRotated, RefreshRetried (one row each, and the
--          generation before it is replaced); TokenRevoked of a family; PasswordChanged, UserDisabled,
--          SubjectKeyDestroyed (the user's rows), ConsentWithdrawn (the user's at that client), ClientRevoked
--          (the client's).
-- Pruned   90 days after expired_at, by the time of the events that are folded; with its quarter, where that is detached.
-- Key      id: the position of the issuing event. (family, generation) is unique too.
-- Erasure  nothing: it holds digests and random ids only; the user's rows are revoked.
--
-- A rotated generation has used_at and replaced_by; one that a retry killed before it was used has replaced_by
-- and is revoked with the reason 'retried'. A row is revoked by the first event after it that covers it:
-- revoked_position says which.

CREATE TABLE public.{table} (
    id               bigint      NOT NULL,
    client_id        bigint,
    user_id          bigint,
    refresh_token    text COLLATE "C" NOT NULL, -- SHA-256 of its random part, hexadecimal
    grant_type       text        NOT NULL,
    scope            text        NOT NULL,
    audience         text        NOT NULL, -- separated by spaces
    expired_at       timestamptz NOT NULL,
    family           uuid        NOT NULL, -- the grant
    sequence         int         NOT NULL, -- the issuing event's place in the grant
    generation       int         NOT NULL,
    issued_at        timestamptz NOT NULL,
    used_at          timestamptz,
    replaced_by      bigint,
    revoked_at       timestamptz,
    revoked_reason   text,
    revoked_position bigint
) WITH (fillfactor = 90); -- each row is updated about once: when it is rotated

CREATE UNIQUE INDEX {table}_id     ON public.{table} (id);
CREATE INDEX        {table}_client ON public.{table} (client_id);
CREATE INDEX        {table}_user   ON public.{table} (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX        {table}_family ON public.{table} (family, generation);
CREATE INDEX        {table}_digest ON public.{table} (refresh_token);
CREATE INDEX        {table}_expiry ON public.{table} USING brin (expired_at);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('client_refresh_tokens', withheld => '{}');
