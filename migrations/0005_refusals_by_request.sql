-- From a request's id to its refusal: whoever quotes the id of a failed request is asked nothing else. On the
-- ledger itself, so that there is an answer as soon as there is an event, and nothing to rebuild.

CREATE INDEX refusal_request ON grantlog.ledger_refusal (((metadata->>'request_id')::uuid))
    WHERE event_type = 'RequestRefused';

-- A replay is written with the grant that it revokes, even where the refusal itself was over its budget.
CREATE INDEX replay_request ON grantlog.ledger_grant (((metadata->>'request_id')::uuid))
    WHERE event_type IN ('CodeReplayed', 'RefreshReplayed');
