//! The administration API: for clients that act for themselves with the restricted scope `admin`.

pub mod events;
pub mod grants;
pub mod refusals;

use axum::Router;
use axum::routing::{get, post};

use super::api::bearer::{ActiveToken, BearerToken};
use super::error::{ApiError, Rejection};

use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::ledger::{LedgerError, UnitOfWork};
use crate::operations::OperationError;

/// The scope that opens it, to clients that are approved for it.
pub const SCOPE: &str = "admin";

/// The administration endpoints.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/admin/refusals/{request_id}", get(refusals::refusal))
        .route("/admin/grants/{id}", get(grants::grant))
        .route("/admin/grants/lookup", post(grants::lookup))
        .route("/admin/events", get(events::events))
}

/// The trail is not read where that cannot be recorded.
fn unrecorded(error: OperationError) -> Rejection<ApiError> {
    if let OperationError::Ledger(error) = error {
        return Rejection::from(error);
    }
    LedgerError::Unavailable.into()
}

/// The token is a client's own, and opens the administration API at this moment.
pub(super) async fn require(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
) -> Result<ActiveToken, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    active.require_approved(unit, SCOPE).await?;
    if active.subject.is_some() {
        let refused = Rejection::new(ApiError::PermissionDenied, RefusalReason::NoClientToken);
        return Err(active.about(refused));
    }
    Ok(active)
}
