//! `GET /admin/refusals/{request_id}`: why a request was refused, and what helps. Its caller was told only the
//! error code and the request's id.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::api::bearer::BearerToken;
use super::super::api::{respond, uuid_in};
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::http::oauth::{answer, rounds};
use crate::ids::{ClientKey, RequestId};
use crate::ledger::{Actor, UnitOfWork};
use crate::operations::refusal::{ExplainedRefusal, NOT_FOUND};

const ENDPOINT: &str = "/admin/refusals/{request_id}";

/// One refusal, explained.
pub async fn refusal(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    request_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let result = explained(&app, &origin, &headers, request_id).await;
    answer(&app, &origin, ENDPOINT, result.map(respond)).await
}

async fn explained(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    request_id: Result<Path<String>, PathRejection>,
) -> Result<ExplainedRefusal, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let client = rounds!(unit, round(&mut unit, &token))?;
    let request = RequestId(uuid_in(request_id)?);
    let context = origin.context(ENDPOINT, Actor::Client(client));
    app.operations
        .record_reading_by(&context, &["request"])
        .await
        .map_err(super::unrecorded)?;
    let missing = || {
        Rejection::new(
            ApiError::ResourceNotFound(NOT_FOUND),
            RefusalReason::NoSuchRefusal,
        )
    };
    app.operations.find_refusal(request).await?.ok_or_else(missing)
}

/// Nobody but an administrator learns whether a request id is one.
async fn round(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
) -> Result<Option<ClientKey>, Rejection<ApiError>> {
    let active = super::require(unit, token).await?;
    Ok(unit.confirm().await?.then_some(active.client()))
}
