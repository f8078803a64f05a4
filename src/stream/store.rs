//! The rows of streams: who holds one, how far it has come, what it gave up on.
//!
//! A row is leased, not locked: a lock would keep a transaction open for as long as a receiver takes, and an old
//! transaction keeps the ledger's head from being vacuumed. Every write says where the writer had found the row and that
//! it holds it still, so that one whose lease is over changes nothing.

use std::time::Duration;

use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::StreamError;
use super::course::{Progress, Step};

/// A node's hold on a stream of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The stream.
    pub stream: Uuid,
    /// Which stream of that name.
    pub generation: i32,
    /// Who holds it.
    pub holder: Uuid,
    /// For how long, from each time that it is taken or used.
    pub length: Duration,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Its position, and failures in a row there.
    pub progress: Progress,
    /// The last position that was acknowledged.
    pub delivered: i64,
    /// The size of the last checkpoint that was delivered.
    pub checkpoint: i64,
    /// How long its receiver is still left alone.
    pub pause: Duration,
}

/// Makes the row of a stream that is new, or new under its name.
pub async fn ensure(pool: &PgPool, lease: Lease, (name, after): (&str, i64)) -> Result<(), StreamError> {
    let mut transaction = pool.begin().await?;
    sqlx::query("DELETE FROM grantlog.stream_cursors WHERE stream = $1 AND generation < $2")
        .bind(lease.stream)
        .bind(lease.generation)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "INSERT INTO grantlog.stream_cursors (stream, name, generation, position) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (stream) DO NOTHING",
    )
    .bind(lease.stream)
    .bind(name)
    .bind(lease.generation)
    .bind(after)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Takes a stream, or keeps it; none where another node holds it.
pub async fn take(pool: &PgPool, lease: Lease) -> Result<Option<Cursor>, StreamError> {
    let row: Option<(i64, i32, i64, i64, f64)> = sqlx::query_as(
        "UPDATE grantlog.stream_cursors AS c \
         SET holder = $3, leased_until = clock_timestamp() + make_interval(secs => $4) \
         FROM (SELECT stream FROM grantlog.stream_cursors WHERE stream = $1 AND generation = $2 \
               AND (holder = $3 OR leased_until < clock_timestamp()) FOR UPDATE SKIP LOCKED) AS mine \
         WHERE c.stream = mine.stream \
         RETURNING c.position, c.attempts, c.delivered, c.checkpoint, \
                   greatest(extract(epoch FROM c.due_at - clock_timestamp()), 0)::double precision",
    )
    .bind(lease.stream)
    .bind(lease.generation)
    .bind(lease.holder)
    .bind(lease.length.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    Ok(
        row.map(|(position, attempts, delivered, checkpoint, pause)| Cursor {
            progress: Progress {
                position,
                attempts: u32::try_from(attempts).unwrap_or_default(),
            },
            delivered,
            checkpoint,
            pause: Duration::try_from_secs_f64(pause).unwrap_or_default(),
        }),
    )
}

/// Gives a stream up, so that another node need not wait.
pub async fn release(pool: &PgPool, lease: Lease) -> Result<(), StreamError> {
    sqlx::query(
        "UPDATE grantlog.stream_cursors SET holder = NULL, leased_until = 'epoch' WHERE stream = $1 AND holder = $2",
    )
    .bind(lease.stream)
    .bind(lease.holder)
    .execute(pool)
    .await?;
    Ok(())
}

/// What a step changes in the row.
struct Change<'a> {
    to: i64,
    attempts: u32,
    pause: Duration,
    error: Option<&'a str>,
    failed: bool,
}

/// Writes a step down, and that so many events were acknowledged up to `delivered`.
pub async fn save(
    pool: &PgPool,
    lease: Lease,
    from: Progress,
    step: &Step,
    (events, delivered): (usize, i64),
) -> Result<Progress, StreamError> {
    let change = |to, attempts, pause, error| Change {
        to,
        attempts,
        pause,
        error,
        failed: !matches!(step, Step::Advance { .. }),
    };
    let now = Duration::ZERO;
    let change = match step {
        Step::Advance { to } => change(*to, 0, now, None),
        Step::Retry {
            to,
            attempts,
            pause,
            failure,
        } => change(*to, *attempts, *pause, Some(&failure.code)),
        Step::GiveUp { position, .. } => change(*position, 0, now, None),
        Step::Pause { to, failure } => change(*to, 0, now, Some(&failure.code)),
    };
    let mut transaction = pool.begin().await?;
    write(&mut transaction, lease, from, &change, (events, delivered)).await?;
    if let Step::GiveUp {
        position,
        attempts,
        failure,
    } = step
    {
        bury(&mut transaction, lease, (*position, *attempts), &failure.code).await?;
    }
    transaction.commit().await?;
    Ok(Progress {
        position: change.to,
        attempts: change.attempts,
    })
}

async fn write(
    transaction: &mut Transaction<'static, Postgres>,
    lease: Lease,
    from: Progress,
    change: &Change<'_>,
    (events, delivered): (usize, i64),
) -> Result<(), StreamError> {
    let moved = sqlx::query(
        "UPDATE grantlog.stream_cursors SET position = $4, attempts = $5, error = $6, \
             due_at = clock_timestamp() + make_interval(secs => $7), \
             failing_since = CASE WHEN $6 IS NULL THEN NULL WHEN $5 > 1 THEN coalesce(failing_since, clock_timestamp()) \
                             ELSE clock_timestamp() END, \
             failures = failures + CASE WHEN $10 THEN 1 ELSE 0 END, \
             events = events + $8, delivered = greatest(delivered, $9), \
             moved_at = clock_timestamp(), leased_until = clock_timestamp() + make_interval(secs => $11) \
         WHERE stream = $1 AND holder = $2 AND position = $3 AND generation = $12",
    )
    .bind(lease.stream)
    .bind(lease.holder)
    .bind(from.position)
    .bind(change.to)
    .bind(i32::try_from(change.attempts).unwrap_or(i32::MAX))
    .bind(change.error)
    .bind(change.pause.as_secs_f64())
    .bind(i64::try_from(events).unwrap_or(i64::MAX))
    .bind(delivered)
    .bind(change.failed)
    .bind(lease.length.as_secs_f64())
    .bind(lease.generation)
    .execute(&mut **transaction)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(StreamError::Overtaken);
    }
    Ok(())
}

async fn bury(
    transaction: &mut Transaction<'static, Postgres>,
    lease: Lease,
    (position, attempts): (i64, u32),
    error: &str,
) -> Result<(), StreamError> {
    sqlx::query(
        "INSERT INTO grantlog.stream_dead_letters (stream, position, attempts, error) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (stream, position) DO NOTHING",
    )
    .bind(lease.stream)
    .bind(position)
    .bind(i32::try_from(attempts).unwrap_or(i32::MAX))
    .bind(error)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Notes that a checkpoint was delivered.
pub async fn save_checkpoint(pool: &PgPool, lease: Lease, size: i64) -> Result<(), StreamError> {
    sqlx::query("UPDATE grantlog.stream_cursors SET checkpoint = $3 WHERE stream = $1 AND holder = $2")
        .bind(lease.stream)
        .bind(lease.holder)
        .bind(size)
        .execute(pool)
        .await?;
    Ok(())
}

/// Says where everybody can see it why a stream stands still without having tried to deliver.
pub async fn note_failure(pool: &PgPool, stream: Uuid, error: &str) -> Result<(), StreamError> {
    sqlx::query(
        "UPDATE grantlog.stream_cursors SET error = $2, failing_since = coalesce(failing_since, clock_timestamp()) \
         WHERE stream = $1",
    )
    .bind(stream)
    .bind(error)
    .execute(pool)
    .await?;
    Ok(())
}

/// Lets a receiver be tried at once that would be left alone for longer: somebody says that it is mended.
pub async fn hurry(pool: &PgPool, stream: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE grantlog.stream_cursors SET due_at = clock_timestamp() WHERE stream = $1")
        .bind(stream)
        .execute(pool)
        .await
        .map(|_| ())
}

/// A dead letter.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct DeadLetter {
    /// The event's position.
    pub position: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// What happened at last.
    pub error: String,
    /// When.
    pub failed_at: crate::clock::Timestamp,
    /// Whether it waits to be delivered again.
    pub requested: bool,
}

/// The dead letters of a stream after a position, oldest first.
pub async fn dead_letters(
    pool: &PgPool,
    stream: Uuid,
    (after, limit): (i64, u32),
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let rows: Vec<(i64, i32, String, crate::clock::Timestamp, bool)> = sqlx::query_as(
        "SELECT position, attempts, error, failed_at, due_at IS NOT NULL FROM grantlog.stream_dead_letters \
         WHERE stream = $1 AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(stream)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let letter = |(position, attempts, error, failed_at, requested)| DeadLetter {
        position,
        attempts,
        error,
        failed_at,
        requested,
    };
    Ok(rows.into_iter().map(letter).collect())
}

/// Has dead letters delivered once more: those at these positions, or all. How many, the first and the last.
pub async fn request_redelivery(
    pool: &PgPool,
    stream: Uuid,
    positions: Option<&[i64]>,
) -> Result<(i64, i64, i64), sqlx::Error> {
    let all = positions.is_none();
    sqlx::query_as(
        "WITH requested AS (UPDATE grantlog.stream_dead_letters SET due_at = clock_timestamp() \
             WHERE stream = $1 AND ($2 OR position = ANY ($3)) RETURNING position) \
         SELECT count(*), coalesce(min(position), 0), coalesce(max(position), 0) FROM requested",
    )
    .bind(stream)
    .bind(all)
    .bind(positions.unwrap_or_default())
    .fetch_one(pool)
    .await
}

/// How many dead letters there are, of those at these positions or of all; the first and the last.
pub async fn count_dead_letters(
    pool: &PgPool,
    stream: Uuid,
    positions: Option<&[i64]>,
) -> Result<(i64, i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*), coalesce(min(position), 0), coalesce(max(position), 0) \
         FROM grantlog.stream_dead_letters WHERE stream = $1 AND ($2 OR position = ANY ($3))",
    )
    .bind(stream)
    .bind(positions.is_none())
    .bind(positions.unwrap_or_default())
    .fetch_one(pool)
    .await
}

/// Forgets dead letters up to a position: those at these positions, or all.
pub async fn forget_dead_letters(
    pool: &PgPool,
    stream: Uuid,
    (positions, upto): (Option<&[i64]>, i64),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM grantlog.stream_dead_letters \
         WHERE stream = $1 AND position <= $4 AND ($2 OR position = ANY ($3))",
    )
    .bind(stream)
    .bind(positions.is_none())
    .bind(positions.unwrap_or_default())
    .bind(upto)
    .execute(pool)
    .await
    .map(|_| ())
}

/// The oldest dead letter that is to be delivered again.
pub async fn next_redelivery(pool: &PgPool, stream: Uuid) -> Result<Option<i64>, StreamError> {
    let position = sqlx::query_scalar(
        "SELECT position FROM grantlog.stream_dead_letters WHERE stream = $1 AND due_at IS NOT NULL \
         ORDER BY position LIMIT 1",
    )
    .bind(stream)
    .fetch_optional(pool)
    .await?;
    Ok(position)
}

/// What came of a redelivery: the dead letter is gone, or is one as before.
pub async fn settle_redelivery(
    pool: &PgPool,
    stream: Uuid,
    position: i64,
    error: Option<&str>,
) -> Result<(), StreamError> {
    let statement = match error {
        None => {
            "DELETE FROM grantlog.stream_dead_letters WHERE stream = $1 AND position = $2 AND $3::text IS NULL"
        }
        Some(_) => {
            "UPDATE grantlog.stream_dead_letters SET due_at = NULL, attempts = attempts + 1, error = $3, \
             failed_at = clock_timestamp() WHERE stream = $1 AND position = $2"
        }
    };
    sqlx::query(statement)
        .bind(stream)
        .bind(position)
        .bind(error)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets a stream that was removed.
pub async fn forget(pool: &PgPool, stream: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM grantlog.stream_cursors WHERE stream = $1")
        .bind(stream)
        .execute(pool)
        .await
        .map(|_| ())
}
