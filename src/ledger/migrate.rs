//! The database's schema: numbered migrations, applied by the owner's role.

use std::borrow::Cow;

use sqlx::error::DatabaseError;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection};

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "ledger", include_str!("../../migrations/0001_ledger.sql")),
    (2, "append", include_str!("../../migrations/0002_append.sql")),
    (
        3,
        "keys and rights",
        include_str!("../../migrations/0003_keys_and_rights.sql"),
    ),
    (
        4,
        "cursor failures",
        include_str!("../../migrations/0004_cursor_failures.sql"),
    ),
    (
        5,
        "refusals by request",
        include_str!("../../migrations/0005_refusals_by_request.sql"),
    ),
    (
        7,
        "reporting role",
        include_str!("../../migrations/0007_reporting_role.sql"),
    ),
    (8, "one time", include_str!("../../migrations/0008_one_time.sql")),
    (9, "logout", include_str!("../../migrations/0009_logout.sql")),
    (11, "dpop", include_str!("../../migrations/0011_dpop.sql")),
    (
        12,
        "initial access tokens",
        include_str!("../../migrations/0012_initial_access_tokens.sql"),
    ),
    (
        13,
        "device authorizations",
        include_str!("../../migrations/0013_device_authorizations.sql"),
    ),
    (
        14,
        "trusted issuers",
        include_str!("../../migrations/0014_trusted_issuers.sql"),
    ),
    (
        15,
        "authorization detail types",
        include_str!("../../migrations/0015_authorization_detail_types.sql"),
    ),
    (18, "evidence", include_str!("../../migrations/0018_evidence.sql")),
    (19, "networks", include_str!("../../migrations/0019_networks.sql")),
    (20, "policies", include_str!("../../migrations/0020_policies.sql")),
    (
        22,
        "as-of schemas",
        include_str!("../../migrations/0022_as_of_schemas.sql"),
    ),
    (
        24,
        "token use",
        include_str!("../../migrations/0024_token_use.sql"),
    ),
    (25, "streams", include_str!("../../migrations/0025_streams.sql")),
    (
        26,
        "shared signals",
        include_str!("../../migrations/0026_shared_signals.sql"),
    ),
    (
        27,
        "erasures and holds",
        include_str!("../../migrations/0027_erasures_and_holds.sql"),
    ),
    (
        28,
        "retention",
        include_str!("../../migrations/0028_retention.sql"),
    ),
    (
        29,
        "address retention",
        include_str!("../../migrations/0029_address_retention.sql"),
    ),
    (
        31,
        "detachment waits for readers",
        include_str!("../../migrations/0031_detachment_waits_for_readers.sql"),
    ),
    (
        32,
        "ssf waiting time",
        include_str!("../../migrations/0032_ssf_waiting_time.sql"),
    ),
    (
        34,
        "device replays by request",
        include_str!("../../migrations/0034_device_replays_by_request.sql"),
    ),
];

fn migrator() -> Migrator {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, description, sql)| {
            Migration::new(
                *version,
                Cow::Borrowed(description),
                MigrationType::Simple,
                Cow::Borrowed(sql),
                false,
            )
        })
        .collect();
    Migrator {
        migrations: Cow::Owned(migrations),
        ..Migrator::DEFAULT
    }
}

/// Brings the schema up to date, as the owner's role. Safe to run from several processes at once: the others
/// wait. Returns the names of the migrations that were applied.
pub async fn run(url: &str) -> Result<Vec<String>, MigrateError> {
    let mut connection = PgConnection::connect(url).await?;
    connection.ensure_migrations_table().await?;
    let before: Vec<i64> = connection
        .list_applied_migrations()
        .await?
        .into_iter()
        .map(|migration| migration.version)
        .collect();
    migrator().run_direct(&mut connection).await?;
    connection.close().await?;
    Ok(MIGRATIONS
        .iter()
        .filter(|(version, ..)| !before.contains(version))
        .map(|(version, name, _)| format!("{version:04} {name}"))
        .collect())
}

/// Whether the database has every migration of this build, and no other.
pub async fn is_current(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM public._sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(connection)
            .await?;
    Ok(applied.iter().eq(MIGRATIONS.iter().map(|(version, ..)| version)))
}

/// How the database's schema stands to this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Exactly this build's migrations.
    Current,
    /// This many are missing.
    Behind(usize),
    /// It has migrations up to this one, which this build does not know.
    Ahead(i64),
}

/// Whether a statement names a table that is not there (yet).
pub(crate) fn is_undefined_table(error: &sqlx::Error) -> bool {
    const UNDEFINED_TABLE: &str = "42P01";
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some(UNDEFINED_TABLE)
}

/// How the database's schema stands to this build; a database that was never migrated is behind.
pub async fn schema(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let applied: Result<Vec<i64>, _> =
        sqlx::query_scalar("SELECT version FROM public._sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(connection)
            .await;
    let applied = match applied {
        Err(error) if is_undefined_table(&error) => Vec::new(),
        applied => applied?,
    };
    let known = |version: &i64| MIGRATIONS.iter().any(|(known, ..)| known == version);
    if let Some(unknown) = applied.iter().rev().find(|version| !known(version)) {
        return Ok(Schema::Ahead(*unknown));
    }
    match MIGRATIONS.len() - applied.len() {
        0 => Ok(Schema::Current),
        missing => Ok(Schema::Behind(missing)),
    }
}
