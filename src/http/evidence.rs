//! The evidence log over HTTP (C2SP tlog-tiles): checkpoints, tiles, proofs, keys, and witnesses' cosignatures. Hashes
//! are for everybody; entries are the ledger's rows, and for whom the setting `evidence_entries` says.
//!
//! What anybody may ask for any number of times leaves no refusals on the ledger.

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;

use super::admin::{self, AdminScope};
use super::api::bearer::BearerToken;
use super::context::Origin;
use super::error::{ApiError, ErrorAnswer, ProtocolError, Rejection};
use super::oauth::{answer, rounds};
use crate::app::App;
use crate::config::EvidenceEntries;
use crate::domain::refusal::RefusalReason;
use crate::evidence::note::SignedNote;
use crate::evidence::tile::{TileKind, TilePath, bundle};
use crate::evidence::witness::NotTaken;
use crate::evidence::{EvidenceError, prove, store, witness};
use crate::ledger::{Actor, UnitOfWork};

const ENDPOINT: &str = "/evidence/tile/{*path}";
/// A tile of so many hashes never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Entries that were asked for with a token are for who has it.
const FOR_EVER_PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const ANEW: HeaderValue = HeaderValue::from_static("no-cache");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NO_CHECKPOINT: &str = "The log has no such checkpoint yet.";
const NO_TILE: &str = "There is no such tile, or not yet.";

/// The endpoints of the evidence log.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/evidence/checkpoint", get(checkpoint))
        .route("/evidence/checkpoint/witnessed", get(witnessed))
        .route("/evidence/tile/{*path}", get(tile))
        .route("/evidence/proof", get(proof))
        .route("/evidence/keys", get(keys))
        .route("/evidence/cosignature", post(cosignature))
}

/// Nothing rests on a ledger that is not the one that was signed: revocations may be missing from it.
pub async fn only_on_the_signed_ledger(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let about_it = path.starts_with("/evidence/") || path == "/healthz" || path == "/readyz";
    if about_it || app.evidence.fault().is_none() {
        return next.run(request).await;
    }
    let id = request.extensions().get::<Origin>().map(|origin| origin.request);
    ProtocolError::LedgerNotWhole.respond(id.unwrap_or(crate::ids::RequestId(uuid::Uuid::nil())))
}

fn text(body: String) -> Response {
    (
        [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, ANEW)],
        body,
    )
        .into_response()
}

pub(in crate::http) fn failed(error: &EvidenceError) -> ApiError {
    const DETACHED: &str = "The event was taken out of the ledger with its quarter.";
    if matches!(error, EvidenceError::Detached(_)) {
        return ApiError::ResourceNotFound(DETACHED);
    }
    tracing::error!(%error, "the evidence log failed a request");
    match error {
        EvidenceError::Database(_) | EvidenceError::Ledger(_) => ApiError::ServiceUnavailable,
        EvidenceError::Operation(_)
        | EvidenceError::NoKey
        | EvidenceError::Gap(_)
        | EvidenceError::Detached(_)
        | EvidenceError::Changed(_)
        | EvidenceError::TooLarge(_)
        | EvidenceError::Tiles(_)
        | EvidenceError::Checkpoint
        | EvidenceError::File { .. }
        | EvidenceError::Fault(_) => ApiError::ServerError,
    }
}

fn database(error: sqlx::Error) -> ApiError {
    failed(&EvidenceError::from(error))
}

fn respond(origin: &Origin, result: Result<Response, ApiError>) -> Response {
    result.unwrap_or_else(|error| error.respond(origin.request))
}

fn note(found: Result<Option<SignedNote>, EvidenceError>) -> Result<Response, ApiError> {
    let note = found.map_err(|error| failed(&error))?;
    let note = note.ok_or(ApiError::ResourceNotFound(NO_CHECKPOINT))?;
    Ok(text(note.to_string()))
}

/// The last checkpoint.
async fn checkpoint(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    let pool = app.ledger.pool();
    let published = async { store::published(pool, &store::read(pool).await?).await };
    respond(&origin, note(published.await))
}

/// The newest checkpoint that a witness has cosigned.
async fn witnessed(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    respond(&origin, note(store::witnessed(app.ledger.pool()).await))
}

/// The verifier keys of the log, oldest first.
async fn keys(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    let keys = store::verifier_keys(app.ledger.pool()).await.map_err(database);
    let lines = keys.map(|keys| {
        let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
        text(lines.join("\n") + "\n")
    });
    respond(&origin, lines)
}

/// A tile of hashes, or of entries.
async fn tile(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    let missing = ApiError::ResourceNotFound(NO_TILE);
    match TilePath::parse(&format!("tile/{path}")) {
        None => missing.respond(origin.request),
        Some(TilePath {
            kind: TileKind::Hashes(level),
            index,
            width,
        }) => {
            let stored = store::tile(app.ledger.pool(), (level, index))
                .await
                .map_err(database);
            let hashes = stored.and_then(|stored| {
                let bytes = usize::try_from(width * 32).ok().zip(stored);
                let prefix = bytes.and_then(|(length, stored)| Some(stored.get(..length)?.to_vec()));
                prefix.ok_or(missing)
            });
            respond(&origin, hashes.map(|hashes| octets(hashes, FOR_EVER)))
        }
        Some(entries) => match app.settings.evidence_entries {
            EvidenceEntries::Off => missing.respond(origin.request),
            EvidenceEntries::Public => {
                let bundled = bundled(&app, entries).await;
                respond(&origin, bundled.map(|bytes| octets(bytes, FOR_EVER)))
            }
            EvidenceEntries::Admin => {
                let result = for_administrators(&app, &origin, &headers, entries).await;
                answer(&app, &origin, ENDPOINT, result).await
            }
        },
    }
}

fn octets(bytes: Vec<u8>, caching: HeaderValue) -> Response {
    (
        [(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, caching)],
        bytes,
    )
        .into_response()
}

/// The entries of a tile, as far as they are sealed.
async fn bundled(app: &App, tile: TilePath) -> Result<Vec<u8>, ApiError> {
    let pool = app.ledger.pool();
    let log = store::read(pool).await.map_err(|error| failed(&error))?;
    let last = tile
        .index
        .saturating_mul(crate::evidence::tile::WIDTH)
        .saturating_add(tile.width);
    if last > log.size {
        return Err(ApiError::ResourceNotFound(NO_TILE));
    }
    let leaves = store::entries(pool, tile).await.map_err(database)?;
    leaves
        .and_then(|leaves| bundle(&leaves))
        .ok_or(ApiError::ServerError)
}

async fn for_administrators(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    tile: TilePath,
) -> Result<Response, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, round(&mut unit, &token))?;
    let bytes = bundled(app, tile).await;
    let bytes = bytes.map_err(|error| Rejection::new(error, RefusalReason::NoSuchEntries))?;
    Ok(octets(bytes, FOR_EVER_PRIVATE))
}

async fn round(unit: &mut UnitOfWork<'_>, token: &BearerToken) -> Result<Option<()>, Rejection<ApiError>> {
    admin::require(unit, token, AdminScope::Evidence).await?;
    Ok(unit.confirm().await?.then_some(()))
}

/// What is asked to be proven.
enum Asked {
    /// The event at this position.
    Event(u64),
    /// That the log begins with so many events of an older checkpoint.
    From(u64),
}

impl Asked {
    fn parse(query: Option<&str>) -> Option<Self> {
        let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let (name, value) = pairs.next()?;
        let plain = value.len() <= 19 && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse().ok().filter(|_| plain && pairs.next().is_none())?;
        match name.as_ref() {
            "position" => Some(Self::Event(number)),
            "from" => Some(Self::From(number)),
            _ => None,
        }
    }
}

/// `?position=N`: a proof of that event. `?from=N`: that the log follows from its checkpoint of N events.
async fn proof(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
) -> Response {
    let result = match Asked::parse(query.as_deref()) {
        None => Err(ApiError::ValidationError(
            "The query must be position=N or from=N, with a whole number.",
        )),
        Some(asked) => proven(&app, asked).await,
    };
    respond(&origin, result)
}

async fn proven(app: &App, asked: Asked) -> Result<Response, ApiError> {
    const NOT_COVERED: &str = "The last checkpoint does not cover this position or size.";
    let pool = app.ledger.pool();
    let proof = match asked {
        Asked::Event(position) => {
            let proof = prove::inclusion(pool, position)
                .await
                .map_err(|error| failed(&error))?;
            proof.map(|mut proof| {
                // The event itself is for whom the entries are.
                proof.leaf = proof
                    .leaf
                    .filter(|_| app.settings.evidence_entries == EvidenceEntries::Public);
                proof.to_string()
            })
        }
        Asked::From(size) => {
            let log = store::read(pool).await.map_err(|error| failed(&error))?;
            let proof = prove::consistency(pool, &log, size)
                .await
                .map_err(|error| failed(&error))?;
            proof.map(|proof| proof.to_string())
        }
    };
    proof.map(text).ok_or(ApiError::ResourceNotFound(NOT_COVERED))
}

/// A witness brings what it has cosigned: a checkpoint with its line.
async fn cosignature(State(app): State<App>, Extension(origin): Extension<Origin>, body: Bytes) -> Response {
    let note = String::from_utf8(body.to_vec()).unwrap_or_default();
    let result = match witness::take(&app, &note).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(NotTaken::NotOurs) => Err(ApiError::ValidationError(
            "The body is not a checkpoint that this log has signed.",
        )),
        Err(NotTaken::NoWitness) => Err(ApiError::PermissionDenied),
        Err(NotTaken::Evidence(error)) => Err(failed(&error)),
    };
    let mut response = respond(&origin, result);
    // Who it is says its signature: no token would help.
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    response
}
