//! Before serving: the database must be there, and its schema must be this build's.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::ledger::migrate::{self, Schema};

const MAX_PAUSE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a server must not start.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The URL is none.
    #[error("database_url cannot be used")]
    Url,
    /// The database refuses us, and will go on to.
    #[error("the database refuses the connection: {0}")]
    Refused(String),
    /// The database does not answer.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The schema is older than this build.
    #[error("the database lacks {0} of this version's migrations: run `grantlog migrate`, then start again")]
    Behind(usize),
    /// The schema is newer than this build.
    #[error(
        "the database was migrated by a newer version of grantlog (migration {0} is unknown here): start that version"
    )]
    Ahead(i64),
}

/// Waits until the database answers, saying so in the log, and checks its schema.
pub async fn wait_for_database(url: &str) -> Result<(), NotReady> {
    let mut pause = Duration::from_millis(250);
    loop {
        match check_database(url).await {
            Err(NotReady::Unreachable(error)) => {
                tracing::warn!(%error, "the database is not up yet; trying again");
            }
            checked => return checked,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Whether the database answers and its schema is this build's.
pub async fn check_database(url: &str) -> Result<(), NotReady> {
    let options: PgConnectOptions = url.parse().map_err(|_| NotReady::Url)?;
    match tokio::time::timeout(CONNECT_TIMEOUT, schema(&options)).await {
        Ok(Ok(Schema::Current)) => Ok(()),
        Ok(Ok(Schema::Behind(missing))) => Err(NotReady::Behind(missing)),
        Ok(Ok(Schema::Ahead(unknown))) => Err(NotReady::Ahead(unknown)),
        Ok(Err(error)) if is_final(&error) => Err(NotReady::Refused(error.to_string())),
        Ok(Err(error)) => Err(NotReady::Unreachable(error.to_string())),
        Err(_) => Err(NotReady::Unreachable("no answer in time".to_owned())),
    }
}

async fn schema(options: &PgConnectOptions) -> Result<Schema, sqlx::Error> {
    let mut connection = options.connect().await?;
    let schema = migrate::schema(&mut connection).await?;
    connection.close().await?;
    Ok(schema)
}

/// A wrong password, role or database (SQLSTATE class 28, 3D000), or missing rights (42501): waiting mends none.
fn is_final(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_));
    };
    error
        .code()
        .is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42501")
}
