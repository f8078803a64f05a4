-- How long a token waits is counted from when it could be had, and only while there is a transmitter: what happened while
-- shared signals were off is old news when they are switched on again, and no receiver has neglected it.

ALTER TABLE grantlog.ssf_sets ADD COLUMN waits_since timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE grantlog.ssf_sets SET waits_since = made_at;
COMMENT ON COLUMN grantlog.ssf_sets.waits_since IS 'From when on its receiver could have had it. Time without a transmitter is added.';

CREATE TABLE grantlog.ssf_tending (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    at        timestamptz NOT NULL
);
INSERT INTO grantlog.ssf_tending (at) VALUES (clock_timestamp());
COMMENT ON TABLE grantlog.ssf_tending IS 'When a transmitter last was there.';

GRANT SELECT, UPDATE (at) ON grantlog.ssf_tending TO grantlog_app;
