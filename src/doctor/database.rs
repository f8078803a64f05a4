//! The database server: reachable, new enough, durable, of the same time.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::Findings;
use crate::clock::{Timestamp, machine_now};
use crate::config::Settings;
use crate::ledger::migrate::{self, Schema};

const OLDEST_VERSION: i32 = 140_000;
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn connect(settings: &Settings, findings: &mut Findings) -> Option<PgConnection> {
    let options: PgConnectOptions = settings.database_url.parse().ok()?;
    let why = match tokio::time::timeout(TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => {
            findings.ok("database", "reachable");
            return Some(connection);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    findings.fail(
        "database",
        format!("cannot be reached: {why}"),
        "check database_url, that Postgres runs, and pg_hba.conf",
    );
    None
}

/// Whether the schema is there, without which no further question makes sense.
pub(super) async fn check(connection: &mut PgConnection, findings: &mut Findings) -> bool {
    let result = version(connection, findings).await;
    findings.unless_broken("version", result);
    let result = durability(connection, findings).await;
    findings.unless_broken("durability", result);
    let result = clock(connection, findings).await;
    findings.unless_broken("clock", result);
    match migrate::schema(connection).await {
        Ok(Schema::Current) => {
            findings.ok("migrations", "all applied");
            return true;
        }
        Ok(Schema::Behind(missing)) => findings.fail(
            "migrations",
            format!("{missing} are missing"),
            "run `grantlog migrate` as the schema's owner",
        ),
        Ok(Schema::Ahead(unknown)) => findings.fail(
            "migrations",
            format!("migration {unknown} is unknown to this version"),
            "run the version of grantlog that made it",
        ),
        Err(error) => findings.unless_broken("migrations", Err(error)),
    }
    false
}

async fn version(connection: &mut PgConnection, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let (number, name): (i32, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
    )
    .fetch_one(connection)
    .await?;
    if number < OLDEST_VERSION {
        findings.fail("version", format!("Postgres {name}"), "use Postgres 14 or newer");
    } else {
        findings.ok("version", format!("Postgres {name}"));
    }
    Ok(())
}

async fn durability(connection: &mut PgConnection, findings: &mut Findings) -> Result<(), sqlx::Error> {
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
        if value == "off" {
            findings.fail(
                name,
                "off",
                "switch it on: otherwise a crash takes back revocations that were acknowledged",
            );
        } else {
            findings.ok(name, value);
        }
    }
    let checksums: String = sqlx::query_scalar("SELECT current_setting('data_checksums')")
        .fetch_one(connection)
        .await?;
    if checksums == "on" {
        findings.ok("data checksums", "on");
    } else {
        findings.warn(
            "data checksums",
            "off",
            "stop Postgres and run pg_checksums --enable: a disk that lies is then noticed",
        );
    }
    Ok(())
}

async fn clock(connection: &mut PgConnection, findings: &mut Findings) -> Result<(), sqlx::Error> {
    let before = machine_now();
    let theirs: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(connection)
        .await?;
    let middle = before + (machine_now() - before) / 2;
    let skew = (theirs - middle).num_milliseconds();
    let advice = "synchronise both clocks (NTP); Grantlog itself follows the database's";
    match skew.abs() {
        0..=1000 => findings.ok("clock", format!("{skew} ms from the database's")),
        1001..=60_000 => findings.warn("clock", format!("{skew} ms from the database's"), advice),
        _ => findings.fail("clock", format!("{skew} ms from the database's"), advice),
    }
    Ok(())
}

/// An old snapshot keeps the dead versions of the head's row, which every append then wades through.
pub(super) async fn snapshots(
    settings: &Settings,
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    // The owner may see more than the application's role.
    let owner = match &settings.migration_database_url {
        Some(url) => PgConnection::connect(url).await.ok(),
        None => None,
    };
    let mut owner = owner;
    let connection = owner.as_mut().unwrap_or(connection);
    let (seconds, hidden): (f64, i64) = sqlx::query_as(
        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) \
                         FILTER (WHERE backend_xid IS NOT NULL OR backend_xmin IS NOT NULL), 0)::float8, \
                count(*) FILTER (WHERE backend_type = 'client backend' AND state IS NULL) \
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_one(connection)
    .await?;
    let advice = "find it in pg_stat_activity and end it: while it is open, appends become slower and slower";
    let found = format!("the oldest is open for {seconds:.0} s");
    if seconds >= 600.0 {
        findings.fail("open transactions", found, advice);
    } else if seconds >= 60.0 {
        findings.warn("open transactions", found, advice);
    } else if hidden > 0 {
        findings.warn(
            "open transactions",
            format!("{hidden} sessions of other roles cannot be looked into"),
            "GRANT pg_read_all_stats TO grantlog_app, or set migration_database_url",
        );
    } else {
        findings.ok("open transactions", found);
    }
    Ok(())
}
