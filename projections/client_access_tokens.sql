-- Which access tokens were issued, to whom, and which of them ended before their time?
--
-- Events   TokenIssued, RefreshRotated, RefreshRetried (one row each); TokenRevoked (one row, or the family's);
--          PasswordChanged, UserDisabled, SubjectKeyDestroyed (the user's rows), ConsentWithdrawn (the user's at
--          that client), ClientRevoked (the client's).
-- Pruned   90 days after expired_at, by the time of the events that are folded; with its quarter, where that is detached.
-- Key      id: the position of the issuing event. (family, sequence) is unique too.
-- Erasure  nothing: it holds digests and random ids only; the user's rows are revoked.
--
-- A row is revoked by the first event after it that covers it: revoked_position says which.
-- client_refresh_token_id is the refresh token that was issued with it; grant_type is how it was obtained:
-- refresh_token, or the grant's own flow.

CREATE TABLE public.{table} (
    id                      bigint      NOT NULL,
    client_id               bigint,
    user_id                 bigint,
    client_refresh_token_id bigint,
    access_token            text COLLATE "C" NOT NULL, -- SHA-256 of the random part of the jti, hexadecimal
    grant_type              text        NOT NULL,
    scope                   text        NOT NULL,
    audience                text        NOT NULL, -- separated by spaces
    expired_at              timestamptz NOT NULL,
    family                  uuid        NOT NULL, -- the grant
    sequence                int         NOT NULL, -- the issuing event's place in the grant
    issued_at               timestamptz NOT NULL,
    revoked_at              timestamptz,
    revoked_reason          text,
    revoked_position        bigint
);

CREATE UNIQUE INDEX {table}_id     ON public.{table} (id);
CREATE INDEX        {table}_client ON public.{table} (client_id);
CREATE INDEX        {table}_user   ON public.{table} (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX        {table}_family ON public.{table} (family, sequence);
CREATE INDEX        {table}_expiry ON public.{table} USING brin (expired_at);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('client_access_tokens', withheld => '{}');
