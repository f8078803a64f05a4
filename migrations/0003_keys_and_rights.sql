-- Keys (destroyed to erase), cursors of readers, the view for cqrs-es, and who may do what.

CREATE TABLE grantlog.data_keys (
    owner      uuid        NOT NULL,
    period     text        NOT NULL,
    wrapped    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, period)
);
COMMENT ON TABLE grantlog.data_keys IS 'Data keys, wrapped by the master key: one per subject (period empty), one per subject and month for addresses and agents, one per month (owner all zeros) for requests without a subject. Deleting a row erases what it encrypts. Back it up apart.';

CREATE TABLE grantlog.key_material (
    key_id  uuid  PRIMARY KEY,
    wrapped bytea NOT NULL
);
COMMENT ON TABLE grantlog.key_material IS 'Private signing keys, wrapped by the master key.';

CREATE TABLE grantlog.cursors (
    reader     text        PRIMARY KEY,
    position   bigint      NOT NULL,
    version    text        NOT NULL,
    table_name text        NOT NULL,
    moved_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE grantlog.cursors IS 'How far each reader of the ledger has come. A reader locks its row, folds, writes and moves it in one transaction.';

-- The ledger in the columns of postgres-es, for tools built on cqrs-es.
CREATE VIEW grantlog.events AS
    SELECT aggregate_type, aggregate_id::text AS aggregate_id, sequence, event_type, event_version::text AS event_version,
           json_build_object(event_type, payload) AS payload, metadata
    FROM grantlog.ledger;

-- The application's role: reads the ledger, appends through the function, owns its projections. Created
-- without a password; a deployment sets one or maps it in pg_hba.conf.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grantlog_app') THEN
        CREATE ROLE grantlog_app LOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server was migrated at the same moment
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA grantlog FROM PUBLIC;
GRANT USAGE ON SCHEMA grantlog TO grantlog_app;
GRANT SELECT ON ALL TABLES IN SCHEMA grantlog TO grantlog_app;
GRANT EXECUTE ON FUNCTION grantlog.append, grantlog.moved, grantlog.events_after, grantlog.create_partitions, grantlog.uuid_floor TO grantlog_app;
GRANT INSERT, DELETE ON grantlog.data_keys TO grantlog_app;
GRANT INSERT, DELETE ON grantlog.key_material TO grantlog_app;
GRANT INSERT, UPDATE, DELETE ON grantlog.cursors TO grantlog_app;
GRANT USAGE, CREATE ON SCHEMA public TO grantlog_app;
GRANT SELECT ON public._sqlx_migrations TO grantlog_app;

SELECT grantlog.create_partitions(now(), interval '9 months');
