//! The `request_uri` of a pushed request, and the table where the request waits to be answered (RFC 9126 §2.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use tokio::sync::OnceCell;

use crate::app::App;
use crate::clock::Timestamp;
use crate::crypto::vault::{DataKey, Place};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::{Digest, Sealed};
use crate::http::error::Rejection;
use crate::http::page::PageError;
use crate::ids::ClientKey;
use crate::ledger::{LedgerError, retrying};

/// What each of ours begins with; 32 random bytes follow, in base64url.
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// How long a user who was shown a page has to answer. The lifetime of the `request_uri` is about its way through
/// the browser, not about how fast a password is typed.
const TIME_TO_ANSWER: TimeDelta = TimeDelta::minutes(30);

/// What is kept of a signed request begins with it: no form does.
const SIGNED: &str = "signed ";

/// A pushed request that a browser has brought.
pub(crate) struct PushedRequest {
    digest: Digest,
    /// Its parameters, form-encoded.
    pub(crate) parameters: String,
    /// Whether they are those of a signed request object (RFC 9101).
    pub(crate) is_signed: bool,
    /// When a browser first brought it.
    pub(crate) opened_at: Timestamp,
    /// Whether this visit's answer is the first.
    is_first: OnceCell<bool>,
}

/// Whether a `request_uri` has the form of ours: others (RFC 9101) are not supported.
pub(crate) fn is_ours(request_uri: &str) -> bool {
    request_uri.starts_with(PREFIX)
}

/// Whether a text is a `request_uri` of ours, to the last character; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn is_request_uri(text: &str) -> bool {
    is_ours(text) && random_part(text).is_some()
}

/// Keeps a request for so many seconds and names it.
pub(super) async fn keep(
    app: &App,
    (client, lifetime): (ClientKey, u32),
    (parameters, is_signed): (&str, bool),
) -> Result<String, LedgerError> {
    let random: [u8; 32] = app.ledger.random().bytes()?;
    let sealed =
        key(app, &random)?.seal(app.ledger.random(), &place(client), &kept(parameters, is_signed))?;
    let lifetime = TimeDelta::seconds(i64::from(lifetime));
    sqlx::query(
        "INSERT INTO grantlog.pushed_requests (digest, client, request, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(Digest::of(&random).0.as_slice())
    .bind(client.0)
    .bind(sealed.0)
    .bind(app.ledger.clock().now() + lifetime)
    .execute(app.ledger.pool())
    .await?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// The request that a `request_uri` of ours stands for, where it was pushed by this client and is neither over nor
/// answered.
pub(crate) async fn open(
    app: &App,
    client_id: Option<&str>,
    request_uri: &str,
) -> Result<PushedRequest, Rejection<PageError>> {
    let client_id = client_id.ok_or(Rejection::new(
        PageError::ClientMissing,
        RefusalReason::ClientIdMissing,
    ))?;
    let invalid = |reason| Rejection::new(PageError::RequestUriInvalid, reason);
    let random = random_part(request_uri).ok_or_else(|| invalid(RefusalReason::RequestUriUnknown))?;
    let key = app.operations.find_client(client_id).await?;
    let unknown = || Rejection::new(PageError::ClientUnknown, RefusalReason::UnknownClient);
    let client = key.ok_or_else(unknown)?;
    let invalid = |reason| invalid(reason).client(client);
    let digest = Digest::of(&random);
    let Some(found) = find(app, &digest).await.map_err(LedgerError::from)? else {
        return Err(invalid(RefusalReason::RequestUriUnknown));
    };
    if found.client != client {
        return Err(invalid(RefusalReason::RequestUriOtherClient));
    }
    let opened_at = match found.opened_at {
        Some(opened_at) => Some(opened_at),
        None => mark_opened(app, &digest).await.map_err(LedgerError::from)?,
    };
    let opened_at = opened_at.ok_or_else(|| invalid(RefusalReason::RequestUriUnknown))?;
    let parameters = self::key(app, &random)
        .and_then(|key| key.open(&place(client), &found.request))
        .map_err(LedgerError::from)?;
    let (parameters, is_signed) = match parameters.strip_prefix(SIGNED) {
        Some(parameters) => (parameters.to_owned(), true),
        None => (parameters, false),
    };
    Ok(PushedRequest {
        digest,
        parameters,
        is_signed,
        opened_at,
        is_first: OnceCell::new(),
    })
}

impl PushedRequest {
    /// Ends the request, since it is about to be answered. Whether this is its first answer: of any number at once,
    /// on any number of nodes, one is. Asked again by the same visit, it says the same.
    pub(crate) async fn answer(&self, app: &App) -> Result<bool, LedgerError> {
        let first = self.is_first.get_or_try_init(|| async {
            let deleted = sqlx::query("DELETE FROM grantlog.pushed_requests WHERE digest = $1")
                .bind(self.digest.0.as_slice())
                .execute(app.ledger.pool())
                .await?;
            Ok::<bool, LedgerError>(deleted.rows_affected() == 1)
        });
        first.await.copied()
    }
}

struct Found {
    client: ClientKey,
    request: Sealed,
    opened_at: Option<Timestamp>,
}

async fn find(app: &App, digest: &Digest) -> Result<Option<Found>, sqlx::Error> {
    let row: Option<(uuid::Uuid, String, Option<Timestamp>)> = retrying(|| async {
        sqlx::query_as(
            "SELECT client, request, opened_at FROM grantlog.pushed_requests \
             WHERE digest = $1 AND expires_at > $2",
        )
        .bind(digest.0.as_slice())
        .bind(app.ledger.clock().now())
        .fetch_optional(app.ledger.pool())
        .await
    })
    .await?;
    Ok(row.map(|(client, request, opened_at)| Found {
        client: ClientKey(client),
        request: Sealed(request),
        opened_at,
    }))
}

/// From now on the user has time to answer. None: it is gone.
async fn mark_opened(app: &App, digest: &Digest) -> Result<Option<Timestamp>, sqlx::Error> {
    let now = app.ledger.clock().now();
    retrying(|| async {
        sqlx::query_scalar(
            "UPDATE grantlog.pushed_requests SET opened_at = coalesce(opened_at, $2), \
             expires_at = CASE WHEN opened_at IS NULL THEN $3 ELSE expires_at END \
             WHERE digest = $1 AND expires_at > $2 RETURNING opened_at",
        )
        .bind(digest.0.as_slice())
        .bind(now)
        .bind(now + TIME_TO_ANSWER)
        .fetch_optional(app.ledger.pool())
        .await
    })
    .await
}

fn kept(parameters: &str, is_signed: bool) -> String {
    let signed = if is_signed { SIGNED } else { "" };
    format!("{signed}{parameters}")
}

fn random_part(request_uri: &str) -> Option<[u8; 32]> {
    let encoded = request_uri.strip_prefix(PREFIX)?;
    URL_SAFE_NO_PAD.decode(encoded).ok()?.try_into().ok()
}

fn key(app: &App, random: &[u8; 32]) -> Result<DataKey, crate::crypto::CryptoError> {
    app.ledger.vault().bearer_key("pushed request", random)
}

/// Where the parameters are sealed for: the request of one client cannot pass for another's.
fn place(client: ClientKey) -> Place<'static> {
    Place {
        aggregate_type: "client",
        aggregate_id: client.0,
        event_type: "pushed_request",
        field: "parameters",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_uri_is_the_prefix_and_32_bytes() {
        let good = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([7; 32]));
        assert_eq!(random_part(&good), Some([7; 32]));
        for bad in [
            PREFIX.to_owned(),
            format!("{good}A"),
            format!("{good}="),
            good.to_uppercase(),
            format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([7; 31])),
        ] {
            assert_eq!(random_part(&bad), None, "{bad}");
        }
        assert!(is_ours(&good) && !is_ours("https://client.example/request.jwt"));
    }

    proptest! {
        #[test]
        fn any_request_uri_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = random_part(&text);
            let _ = random_part(&format!("{PREFIX}{text}"));
        }
    }
}
