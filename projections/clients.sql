-- Which clients are registered, what may they do, and do they stand?
--
-- Events   ClientRegistered, ClientUpdated, ClientSecretAdded, ClientSuspended, ClientReinstated, ClientRevoked,
--          ScopeApproved, ScopeRejected, ScopeApprovalWithdrawn; every client event moves updated_at.
-- Key      id: the position of ClientRegistered. client_key (the aggregate) and client_id are unique too.
-- Erasure  nothing: a client is no person. user_id is its owner's random subject.
--
-- client_secret is the hexadecimal SHA-256 digest of the newest secret, or, where somebody chose the secret, of
-- its argon2id hash; null for a public client. grantlog_reader does not read it.
--
-- oauth_clients shows the same clients in the columns of Laravel Passport's table, for people and scripts that know
-- that one; revoked says whether a client may not act, also for a time.

CREATE TABLE public.{table} (
    id                         bigint      NOT NULL,
    client_id                  text        NOT NULL,
    client_secret              text,
    name                       text        NOT NULL,
    home_page_url              text,
    logo_url                   text,
    privacy_policy_url         text,
    user_id                    text,
    is_live                    boolean     NOT NULL,
    redirect_uri               text[]      NOT NULL,
    client_key                 uuid        NOT NULL,
    standing                   text        NOT NULL, -- active, suspended, revoked
    grant_types                text[]      NOT NULL,
    scope                      text        NOT NULL,
    token_endpoint_auth_method text        NOT NULL,
    allowed_origins            text[]      NOT NULL,
    approved_scopes            text[]      NOT NULL, -- restricted scopes whose approval holds
    created_at                 timestamptz NOT NULL,
    updated_at                 timestamptz NOT NULL
);

CREATE UNIQUE INDEX {table}_id         ON public.{table} (id);
CREATE UNIQUE INDEX {table}_client_key ON public.{table} (client_key);
CREATE INDEX        {table}_client_id  ON public.{table} (client_id);
CREATE INDEX        {table}_user       ON public.{table} (user_id);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

CREATE OR REPLACE VIEW public.oauth_clients AS
    SELECT client_id                            AS id,
           user_id,
           name,
           client_secret                        AS secret,
           NULL::text                           AS provider,
           array_to_string(redirect_uri, ',')   AS redirect,
           false                                AS personal_access_client,
           'password' = ANY (grant_types)       AS password_client,
           standing <> 'active'                 AS revoked,
           created_at,
           updated_at
    FROM public.clients;

SELECT grantlog.let_read('clients', withheld => '{client_secret}');
SELECT grantlog.let_read('oauth_clients', withheld => '{secret}');
