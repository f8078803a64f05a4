-- A replayed device code is found by its request's id like any other replay. A partial index serves only conditions that
-- imply its own, so it is made anew with all three.

DROP INDEX grantlog.replay_request;

CREATE INDEX replay_request ON grantlog.ledger_grant (((metadata->>'request_id')::uuid))
    WHERE event_type IN ('CodeReplayed', 'RefreshReplayed', 'DeviceCodeReplayed');
