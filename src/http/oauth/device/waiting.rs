//! The table where device authorizations wait: found by user code, and how often they are looked up and polled. It is
//! shared by all nodes, and no poll weighs on the ledger.

use chrono::TimeDelta;

use super::user_code::UserCode;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, retrying};

/// How often a user code may be looked up in all. Its user needs two (the page, the answer) and a few more to reload;
/// a code that is sent to many people is over after these (RFC 8628 §5.4).
const MAX_LOOKUPS: i32 = 20;

/// How many fresh codes are tried: that one is taken is a chance of millions.
const MAX_TRIES: usize = 8;

/// A device that was told its codes, or is about to be.
pub(super) struct Waiting {
    /// The grant that it waits for.
    pub(super) grant: GrantId,
    /// The code that its user enters.
    pub(super) user_code: UserCode,
    /// What the code is found by.
    pub(super) digest: Digest,
}

/// What a user code led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A grant, whose state says whether it still waits.
    Grant(GrantId),
    /// It was looked up too often.
    Overused,
    /// None, or its time is over.
    Nothing,
}

/// Finds a user code that is free, and keeps it for the grant.
pub(super) async fn keep(app: &App, grant: GrantId, at: Timestamp) -> Result<Waiting, LedgerError> {
    let settings = &app.settings;
    let expires_at = at + TimeDelta::seconds(i64::from(settings.device_code_lifetime));
    let interval = i32::try_from(settings.device_poll_interval).unwrap_or(i32::MAX);
    for _ in 0..MAX_TRIES {
        let user_code = UserCode::generate(app.ledger.random())?;
        let digest = user_code.digest(app);
        // One whose time is over is free again, pruned or not.
        let kept = sqlx::query(
            "INSERT INTO grantlog.device_authorizations AS old (digest, grant_id, expires_at, poll_interval) \
             VALUES ($1, $2, $3, $4) \
             ON CONFLICT (digest) DO UPDATE SET grant_id = excluded.grant_id, expires_at = excluded.expires_at, \
             poll_interval = excluded.poll_interval, lookups = 0, polled_at = NULL, too_fast = false \
             WHERE old.expires_at <= $5",
        )
        .bind(digest.0.as_slice())
        .bind(grant.0)
        .bind(expires_at)
        .bind(interval)
        .bind(at)
        .execute(app.ledger.pool())
        .await?;
        if kept.rows_affected() == 1 {
            return Ok(Waiting {
                grant,
                user_code,
                digest,
            });
        }
    }
    Err(LedgerError::Unavailable)
}

/// Looks a user code up, and counts that.
pub(super) async fn find(app: &App, code: &UserCode) -> Result<Found, LedgerError> {
    let digest = code.digest(app);
    let row: Option<(uuid::Uuid, i32)> = retrying(|| async {
        sqlx::query_as(
            "UPDATE grantlog.device_authorizations SET lookups = least(lookups, 1000000) + 1 \
             WHERE digest = $1 AND expires_at > $2 RETURNING grant_id, lookups",
        )
        .bind(digest.0.as_slice())
        .bind(app.ledger.clock().now())
        .fetch_optional(app.ledger.pool())
        .await
    })
    .await?;
    Ok(match row {
        Some((_, lookups)) if lookups > MAX_LOOKUPS => Found::Overused,
        Some((grant, _)) => Found::Grant(GrantId(grant)),
        None => Found::Nothing,
    })
}

/// Counts a poll that found nobody had answered: whether it came too soon. If so, the interval is longer by five
/// seconds from now on (RFC 8628 §3.5). Half a second is forgiven, since the network is not punctual.
pub(in crate::http::oauth) async fn polls_too_fast(
    app: &App,
    grant: GrantId,
    at: Timestamp,
) -> Result<bool, LedgerError> {
    const TOO_FAST: &str = "(polled_at IS NOT NULL AND \
         $2 < polled_at + make_interval(secs => poll_interval) - interval '500 milliseconds')";
    let statement = format!(
        "UPDATE grantlog.device_authorizations SET too_fast = {TOO_FAST}, \
         poll_interval = poll_interval + CASE WHEN {TOO_FAST} THEN 5 ELSE 0 END, \
         polled_at = greatest(polled_at, $2) WHERE grant_id = $1 RETURNING too_fast"
    );
    let too_fast: Option<bool> = sqlx::query_scalar(&statement)
        .bind(grant.0)
        .bind(at)
        .fetch_optional(app.ledger.pool())
        .await?;
    Ok(too_fast.unwrap_or(false))
}
