//! What is kept between runs: the engine's cursor, and what the rules remember there.

use sqlx::{Connection as _, PgConnection, PgPool};

use super::PolicyError;
use super::watch::Watch;
use crate::clock::Randomness;
use crate::crypto::master::MasterKey;
use crate::domain::value::Digest;

/// How far the engine has come.
pub(super) async fn cursor(connection: &mut PgConnection) -> Result<i64, PolicyError> {
    Ok(sqlx::query_scalar("SELECT position FROM grantlog.policy_cursor")
        .fetch_one(connection)
        .await?)
}

fn label(rule: &str) -> String {
    format!("policy state {rule}")
}

/// What a rule of this hash remembers at the cursor; none where it must learn anew.
pub(super) async fn load(
    connection: &mut PgConnection,
    master: &MasterKey,
    (rule, hash): (&str, &Digest),
) -> Result<Option<String>, PolicyError> {
    let sealed: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT state FROM grantlog.policy_states WHERE rule = $1 AND hash = $2")
            .bind(rule)
            .bind(hash.to_string())
            .fetch_optional(connection)
            .await?;
    let plain = sealed.and_then(|sealed| master.unwrap(&label(rule), &sealed).ok());
    Ok(plain.and_then(|plain| String::from_utf8(plain).ok()))
}

/// Moves the cursor from where it was found, with the states of the rules, in one transaction. Fails where another node
/// has moved it: what this one has in memory is then worth nothing.
pub(super) async fn save(
    connection: &mut PgConnection,
    (master, random): (&MasterKey, &Randomness),
    watch: &mut Watch,
    (from, to): (i64, i64),
) -> Result<(), PolicyError> {
    let mut transaction = connection.begin().await?;
    let moved = sqlx::query(
        "UPDATE grantlog.policy_cursor SET position = $2, moved_at = clock_timestamp(), failed_at = NULL, error = NULL \
         WHERE position = $1",
    )
    .bind(from)
    .bind(to)
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(PolicyError::Overtaken);
    }
    for (id, watching) in watch.rules.iter().filter(|(_, watching)| watching.moved) {
        let state = master.wrap(random, &label(id), watching.rule.save()?.as_bytes())?;
        sqlx::query(
            "INSERT INTO grantlog.policy_states (rule, hash, state) VALUES ($1, $2, $3) \
             ON CONFLICT (rule) DO UPDATE SET hash = excluded.hash, state = excluded.state",
        )
        .bind(id)
        .bind(watching.hash.to_string())
        .bind(state)
        .execute(&mut *transaction)
        .await?;
    }
    // A rule that watches no more, or not yet again, learns anew when it does.
    let watching: Vec<&String> = watch.rules.keys().collect();
    sqlx::query("DELETE FROM grantlog.policy_states WHERE rule <> ALL ($1)")
        .bind(watching)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    for watching in watch.rules.values_mut() {
        watching.moved = false;
    }
    Ok(())
}

/// Says where everybody can see it why the engine stands still.
pub(super) async fn note_failure(pool: &PgPool, error: &PolicyError) {
    let noted = sqlx::query("UPDATE grantlog.policy_cursor SET failed_at = clock_timestamp(), error = $1")
        .bind(error.to_string())
        .execute(pool)
        .await;
    // A database that is gone is noted in the log.
    let _ = noted;
}

/// Where the engine stands.
#[derive(Clone, Debug)]
pub struct EngineStatus {
    /// Its cursor.
    pub position: i64,
    /// Events that it has not dealt with, or not saved.
    pub lag: i64,
    /// Why it stands still.
    pub error: Option<String>,
}

/// Where the engine stands.
pub async fn status(connection: &mut PgConnection) -> Result<EngineStatus, sqlx::Error> {
    let (position, lag, error) = sqlx::query_as(
        "SELECT c.position, h.position - c.position, c.error FROM grantlog.policy_cursor AS c, grantlog.head AS h \
         WHERE h.lane = $1",
    )
    .bind(crate::ledger::LANE)
    .fetch_one(connection)
    .await?;
    Ok(EngineStatus { position, lag, error })
}

/// Sets the gauges.
pub async fn measure(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let status = status(&mut connection).await?;
    let number = |number: i64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    metrics::gauge!("grantlog_policy_lag_events").set(number(status.lag));
    metrics::gauge!("grantlog_policy_stands_still").set(f64::from(u8::from(status.error.is_some())));
    Ok(())
}
