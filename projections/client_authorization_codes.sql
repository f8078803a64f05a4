-- Which authorization codes were issued, and what became of each?
--
-- Events   CodeIssued (one row), CodeRedeemed, CodeReplayed, TokenRevoked of a family; PasswordChanged,
--          UserDisabled, SubjectKeyDestroyed (the user's unused codes), ConsentWithdrawn (the user's unused codes
--          at that client), ClientRevoked (the client's unused codes).
-- Pruned   90 days after expired_at, by the time of the events that are folded; with its quarter, where that is detached.
-- Key      id: the position of CodeIssued. family is unique too: a grant has one code.
-- Erasure  nothing: it holds digests and random ids only; the user's unused codes are revoked.
--
-- A row is revoked by the first event after it that covers it: revoked_position says which.

CREATE TABLE public.{table} (
    id               bigint      NOT NULL,
    client_id        bigint,
    user_id          bigint,
    code             text COLLATE "C" NOT NULL, -- SHA-256 of its random part, hexadecimal
    scope            text[]      NOT NULL,
    is_used          boolean     NOT NULL,
    redirect_uri     text        NOT NULL,
    expired_at       timestamptz NOT NULL,
    family           uuid        NOT NULL, -- the grant
    pkce_method      text,                 -- S256, plain; null without PKCE
    session_id       uuid,                 -- the login that it was given in
    issued_at        timestamptz NOT NULL,
    used_at          timestamptz,
    used_position    bigint,
    replayed_at      timestamptz,
    revoked_at       timestamptz,
    revoked_reason   text,
    revoked_position bigint
) WITH (fillfactor = 90); -- each row is updated about once: when it is redeemed

CREATE UNIQUE INDEX {table}_id     ON public.{table} (id);
CREATE INDEX        {table}_client ON public.{table} (client_id);
CREATE INDEX        {table}_user   ON public.{table} (user_id);
CREATE INDEX        {table}_family ON public.{table} (family);
CREATE INDEX        {table}_digest ON public.{table} (code);
CREATE INDEX        {table}_expiry ON public.{table} USING brin (expired_at);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('client_authorization_codes', withheld => '{}');
