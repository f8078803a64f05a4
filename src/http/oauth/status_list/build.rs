//! Making a list: from the rows of the access tokens that were issued at its positions.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use tokio::sync::Mutex;

use super::{MAX_AGE, PATH, uri};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::client::TokenAlgorithm;
use crate::domain::status_list::{BITS, Permutation, Place, Status, Statuses, positions};
use crate::domain::value::Digest;
use crate::ledger::{LANE, LedgerError, position_at};

/// What every relying party of this server knows.
const ALGORITHM: TokenAlgorithm = TokenAlgorithm::ES256;
/// Seconds after which a list is read again, where somebody asks for it.
const REREAD_AFTER: i64 = 5;
/// Seconds that the projections may be behind the ledger.
const BEHIND: i64 = 5;
/// Seconds that a list is there after the end of its last token: clocks differ.
const STAYS: i64 = 300;
/// The longest that an access token may live, in days.
const LONGEST_LIFE: i64 = 31;
/// The most lists that are kept in memory, of at most some 90 KB each.
const KEPT: usize = 64;
/// The projections that a list is read from.
const READERS: [&str; 2] = ["client_access_tokens", "clients"];

/// Lists that were built on this node.
#[derive(Default)]
pub struct StatusLists {
    built: Mutex<BTreeMap<i64, Arc<Built>>>,
    /// When the last token of a list that is full ends: that does not change any more.
    ends: Mutex<BTreeMap<i64, Option<Timestamp>>>,
}

/// A signed list, and how old it is.
pub(super) struct Built {
    pub(super) jwt: String,
    pub(super) etag: String,
    statuses: Digest,
    signed_at: Timestamp,
    read_at: Timestamp,
}

/// How far the ledger is, and how far all of the projections.
#[derive(Clone, Copy)]
struct Progress {
    head: i64,
    folded: i64,
    now: Timestamp,
}

/// A list as it was a few seconds ago at most; none where it does not exist, or all its tokens have expired.
pub(super) async fn built(app: &App, list: i64) -> Result<Option<Arc<Built>>, LedgerError> {
    let now = app.ledger.clock().now();
    // One list is built at a time: strangers may ask, and each is a query.
    let mut lists = app.status_lists.built.lock().await;
    let before = lists.get(&list).cloned();
    if let Some(built) = &before
        && now - built.read_at < TimeDelta::seconds(REREAD_AFTER)
    {
        return Ok(before);
    }
    let progress = progress(app, now).await?;
    if !lives(app, list, progress).await? {
        lists.remove(&list);
        return Ok(None);
    }
    let statuses = read(app, list).await?;
    let built = Arc::new(sign(app, list, (&statuses, before.as_deref()), now).await?);
    lists.insert(list, Arc::clone(&built));
    if lists.len() > KEPT {
        let oldest = lists.iter().min_by_key(|(_, built)| built.read_at);
        if let Some(oldest) = oldest.map(|(list, _)| *list) {
            lists.remove(&oldest);
        }
    }
    Ok(Some(built))
}

/// How far ledger and projections are. An error where the projections are behind: a list that is not known to be true is
/// not served.
async fn progress(app: &App, now: Timestamp) -> Result<Progress, LedgerError> {
    let known: Option<(i64, i64, i64)> = sqlx::query_as(
        "SELECT h.position, min(c.position), count(*) FROM grantlog.head AS h, grantlog.cursors AS c \
         WHERE h.lane = $1 AND c.reader = ANY ($2) GROUP BY h.position",
    )
    .bind(LANE)
    .bind(READERS.as_slice())
    .fetch_optional(app.ledger.pool())
    .await?;
    let Some((head, folded, 2)) = known else {
        return Err(LedgerError::Unavailable);
    };
    if folded < head {
        let query = "SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 AND position = $2";
        let waits: Option<Timestamp> = sqlx::query_scalar(query)
            .bind(LANE)
            .bind(folded + 1)
            .fetch_optional(app.ledger.pool())
            .await?;
        if waits.is_none_or(|since| now - since > TimeDelta::seconds(BEHIND)) {
            return Err(LedgerError::Unavailable);
        }
    }
    Ok(Progress { head, folded, now })
}

/// Whether a list still has tokens, or may yet get some.
async fn lives(app: &App, list: i64, progress: Progress) -> Result<bool, LedgerError> {
    let current = Place::of(progress.head).list;
    if list >= current {
        return Ok(list == current);
    }
    let is_to_come = |end: &Timestamp| *end + TimeDelta::seconds(STAYS) > progress.now;
    let mut ends = app.status_lists.ends.lock().await;
    if let Some(end) = ends.get(&list) {
        return Ok(end.as_ref().is_some_and(is_to_come));
    }
    let (first, end) = positions(list);
    let query = "SELECT max(expired_at) FROM public.client_access_tokens WHERE id >= $1 AND id < $2";
    let last: Option<Timestamp> = sqlx::query_scalar(query)
        .bind(first)
        .bind(end)
        .fetch_one(app.ledger.pool())
        .await?;
    if progress.folded < end {
        // Rows are under way.
        return Ok(true);
    }
    ends.insert(list, last);
    Ok(last.as_ref().is_some_and(is_to_come))
}

async fn read(app: &App, list: i64) -> Result<Statuses, LedgerError> {
    let (first, end) = positions(list);
    let rows: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT t.id, t.revoked_at IS NOT NULL FROM public.client_access_tokens AS t \
         LEFT JOIN public.clients AS c ON c.id = t.client_id \
         WHERE t.id >= $1 AND t.id < $2 AND (t.revoked_at IS NOT NULL OR c.standing = 'suspended')",
    )
    .bind(first)
    .bind(end)
    .fetch_all(app.ledger.pool())
    .await?;
    let master = app.ledger.vault().master();
    let permutation = Permutation::of(|round, half| master.status_list_round(list, round, half));
    let mut statuses = Statuses::default();
    for (position, revoked) in rows {
        let status = if revoked {
            Status::Invalid
        } else {
            Status::Suspended
        };
        statuses.set(permutation.index(Place::of(position).offset), status);
    }
    Ok(statuses)
}

/// §5.1.
#[derive(Serialize)]
struct Claims {
    iss: String,
    sub: String,
    iat: i64,
    exp: i64,
    ttl: i64,
    status_list: List,
}

/// §4.2.
#[derive(Serialize)]
struct List {
    bits: u8,
    lst: String,
    aggregation_uri: String,
}

/// Signs a list; where nothing changed in it, the one before will do for a while.
async fn sign(
    app: &App,
    list: i64,
    (statuses, before): (&Statuses, Option<&Built>),
    now: Timestamp,
) -> Result<Built, LedgerError> {
    let ttl = i64::from(app.settings.status_list_ttl);
    let digest = Digest::of(statuses.bytes());
    if let Some(before) = before
        && before.statuses == digest
        && now - before.signed_at < TimeDelta::seconds(ttl / 2)
    {
        return Ok(Built {
            jwt: before.jwt.clone(),
            etag: before.etag.clone(),
            statuses: digest,
            signed_at: before.signed_at,
            read_at: now,
        });
    }
    app.keys.refresh().await?;
    let claims = Claims {
        iss: app.settings.issuer.clone(),
        sub: uri(app, list),
        iat: now.timestamp(),
        exp: now.timestamp() + 2 * ttl,
        // That it was read late, from tables that may be behind, and kept on the way, is not to be added to it.
        ttl: ttl - BEHIND - REREAD_AFTER - MAX_AGE,
        status_list: List {
            bits: BITS,
            lst: compressed(statuses.bytes()),
            aggregation_uri: format!("{}{PATH}", app.settings.issuer),
        },
    };
    let jwt = app.keys.sign_status_list(ALGORITHM, &claims)?;
    Ok(Built {
        etag: format!("\"{}\"", Digest::of(jwt.as_bytes())),
        jwt,
        statuses: digest,
        signed_at: now,
        read_at: now,
    })
}

/// §4.1: zlib, at the highest level, in base64url.
fn compressed(bytes: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing into memory does not fail.
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    URL_SAFE_NO_PAD.encode(written.unwrap_or_default())
}

/// The addresses of the lists that may still have tokens.
pub(super) async fn living(app: &App) -> Result<Vec<String>, LedgerError> {
    let now = app.ledger.clock().now();
    let progress = progress(app, now).await?;
    let oldest = position_at(app.ledger.pool(), now - TimeDelta::days(LONGEST_LIFE)).await?;
    let mut lists = Vec::new();
    for list in Place::of(oldest).list..=Place::of(progress.head).list {
        if lives(app, list, progress).await? {
            lists.push(uri(app, list));
        }
    }
    Ok(lists)
}
