//! `POST /ssf/verify`: a verification event is put in line (SSF 1.0 §8.1.4.2).

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::super::api::bearer::BearerToken;
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::super::oauth::{answer, rounds};
use super::body::Body;
use super::{MANAGE, Receiver, invalid};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::ssf_stream::StreamStatus;
use crate::ids::ClientKey;
use crate::ledger::{Actor, UnitOfWork};
use crate::ssf::{VERIFICATION_SECONDS, outbox};

pub(super) const PATH: &str = "/ssf/verify";
/// The longest state, in bytes.
const MAX_STATE: usize = 1024;

pub(super) async fn verify(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = asked(&app, &origin, &headers, body).await;
    let result = result.map(|()| StatusCode::NO_CONTENT.into_response());
    answer(&app, &origin, PATH, result).await
}

async fn asked(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(), Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let body = Body::read(headers, body)?;
    let id = body.stream_id()?;
    let state = body.text("state", "The state is not a string.")?;
    if state.is_some_and(|state| state.len() > MAX_STATE || state.contains('\0')) {
        return Err(invalid("The state has more than 1024 bytes, or a NUL."));
    }
    let context = origin.context(PATH, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let client = rounds!(unit, round(&mut unit, (&token, id)))?;
    let at = app.ledger.clock().now();
    let in_line = outbox::verify(app.ledger.pool(), id, state, at).await;
    if in_line.map_err(crate::ledger::LedgerError::from)? {
        return Ok(());
    }
    let wait = u32::try_from(VERIFICATION_SECONDS).unwrap_or(u32::MAX);
    let refused = Rejection::new(
        ApiError::RateLimitExceeded(wait),
        RefusalReason::VerificationTooSoon,
    );
    Err(refused.client(client))
}

async fn round(
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
) -> Result<Option<ClientKey>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, MANAGE).await?;
    let (_, open) = receiver.stream(unit, id).await?;
    if open.status == StreamStatus::Disabled {
        let refused = invalid("The event stream is disabled: nothing is sent on it.");
        return Err(refused.client(receiver.client));
    }
    Ok(unit.confirm().await?.then_some(receiver.client))
}
