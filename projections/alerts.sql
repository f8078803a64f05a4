-- What should somebody look at, how grave is it, whom is it about, what was done about it, and who has looked?
--
-- Events   AlertRaised, AlertAcknowledged, ContainmentApplied.
-- Key      id: the position of the alert's first event. alert (the aggregate) is unique too.
-- Erasure  nothing: it holds random ids and keyed digests only.
--
-- A containment that no rule led to has no severity: rule is 'containment'.

CREATE TABLE public.{table} (
    id               bigint      NOT NULL,
    alert            uuid        NOT NULL,
    rule             text        NOT NULL,
    rule_version     int         NOT NULL,
    severity         text,
    technique        text,
    title            text        NOT NULL,
    summary          text        NOT NULL,
    client           uuid,
    subject          uuid,
    grant_id         uuid,
    network          text,        -- a digest, keyed per month
    position         bigint,      -- of the event that the rule fired at
    happened_at      timestamptz NOT NULL,
    raised_at        timestamptz NOT NULL,
    event_count      bigint      NOT NULL,
    verdict          text,        -- of a replay: retry, theft, unclear
    action           text,        -- what was done
    revoked_grants   int         NOT NULL,
    acknowledged_at  timestamptz,
    acknowledged_note text
);

CREATE UNIQUE INDEX {table}_id     ON public.{table} (id);
CREATE UNIQUE INDEX {table}_alert  ON public.{table} (alert);
CREATE INDEX        {table}_client ON public.{table} (client);
CREATE INDEX        {table}_open   ON public.{table} (id) WHERE acknowledged_at IS NULL;

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('alerts', withheld => '{}');
