//! `/ssf/status`: whether a stream is delivered (SSF 1.0 §8.1.2).

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::api::bearer::BearerToken;
use super::super::api::respond;
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::super::oauth::{answer, rounds};
use super::body::{Body, stream_in};
use super::{MANAGE, READ, Receiver, acting, invalid};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::ssf_stream::{SsfStreamCommand, SsfStreamRefusal, SsfStreamStatusChanged, StreamStatus};
use crate::ledger::{Actor, UnitOfWork};

pub(super) const PATH: &str = "/ssf/status";

/// `GET`.
pub(super) async fn read(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let result = found(&app, &origin, &headers, query.as_deref()).await;
    answer(&app, &origin, PATH, result.map(respond)).await
}

async fn found(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Value, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let id = stream_in(query)?.ok_or_else(|| invalid("The stream_id is missing."))?;
    let context = origin.context(PATH, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, read_round(&mut unit, (&token, id)))
}

async fn read_round(
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
) -> Result<Option<Value>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, READ).await?;
    let (_, open) = receiver.stream(unit, id).await?;
    let found = representation(id, open.status, open.reason.as_deref());
    Ok(unit.confirm().await?.then_some(found))
}

/// `POST`.
pub(super) async fn update(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = changed(&app, &origin, &headers, body).await;
    answer(&app, &origin, PATH, result.map(respond)).await
}

async fn changed(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Value, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let body = Body::read(headers, body)?;
    let id = body.stream_id()?;
    let status = match body.text("status", "The status is not a string.")? {
        Some("enabled") => StreamStatus::Enabled,
        Some("paused") => StreamStatus::Paused,
        Some("disabled") => StreamStatus::Disabled,
        Some(_) | None => return Err(invalid("The status is none of enabled, paused and disabled.")),
    };
    let change = SsfStreamStatusChanged {
        status,
        reason: body.words("reason", "The reason needs at most 200 characters of plain text.")?,
        by_transmitter: false,
        by_operator: None,
    };
    let context = acting(app, (origin, PATH), &token).await?;
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, update_round(&mut unit, (&token, id), &change))
}

async fn update_round(
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
    change: &SsfStreamStatusChanged,
) -> Result<Option<Value>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, MANAGE).await?;
    let (stream, _) = receiver.stream(unit, id).await?;
    let command = SsfStreamCommand::ChangeStatus(change.clone());
    let Some(concluded) = unit.conclude(&stream, stream.decide(&command)).await? else {
        return Ok(None);
    };
    match concluded.outcome {
        Ok(()) => Ok(Some(representation(id, change.status, change.reason.as_deref()))),
        Err(SsfStreamRefusal::Held) => {
            // SSF §8.1.2.2: the receiver is not allowed to.
            let refused = Rejection::new(ApiError::PermissionDenied, RefusalReason::StreamRequest);
            Err(refused.client(receiver.client))
        }
        Err(SsfStreamRefusal::Unknown | SsfStreamRefusal::Exists) => {
            Err(super::no_stream().client(receiver.client))
        }
    }
}

fn representation(id: Uuid, status: StreamStatus, reason: Option<&str>) -> Value {
    let mut found = json!({ "stream_id": id, "status": status });
    if let (Some(reason), Some(members)) = (reason, found.as_object_mut()) {
        members.insert("reason".to_owned(), reason.into());
    }
    found
}
