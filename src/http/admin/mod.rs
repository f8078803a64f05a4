//! The administration API: for clients that act for themselves with the restricted scope `admin`, or with that of a part of
//! it. `docs/admin-api.md` is the manual; [`openapi`] is made from what is served.

mod alerts;
mod authorization_detail_types;
mod blast_radius;
mod body;
mod clients;
mod containment;
mod doctor;
mod endpoint;
pub mod events;
mod evidence;
mod exchanges;
mod grants;
mod guard;
mod initial_access_tokens;
mod keys;
mod looked;
mod networks;
pub mod openapi;
mod parameters;
mod policies;
mod projections;
mod refusals;
mod retention;
mod scope;
mod scopes;
mod signals;
mod streams;
mod trail;
mod trust;
mod user_access;
mod users;

use axum::Router;
use axum::routing::get;
use endpoint::Operation;
pub use scope::{AdminScope, SCOPE, administers};

use super::api::bearer::BearerToken;
use super::error::{ApiError, Rejection};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::ids::ClientKey;
use crate::ledger::UnitOfWork;

/// Every call, in the order of the document.
fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    for resource in [
        clients::operations(),
        exchanges::operations(),
        initial_access_tokens::operations(),
        trust::operations(),
        authorization_detail_types::operations(),
        users::operations(),
        user_access::operations(),
        scopes::operations(),
        keys::operations(),
        grants::operations(),
        refusals::operations(),
        trail::operations(),
        blast_radius::operations(),
        events::operations(),
        policies::operations(),
        alerts::operations(),
        containment::operations(),
        networks::operations(),
        streams::operations(),
        signals::operations(),
        projections::operations(),
        doctor::operations(),
        retention::operations(),
        evidence::operations(),
    ] {
        all.extend(resource);
    }
    all
}

/// The administration endpoints, and what describes them.
pub fn routes() -> Router<App> {
    let document = Router::new().route(openapi::PATH, get(openapi::serve));
    operations().into_iter().fold(document, |router, operation| {
        router.route(operation.about.path, operation.route)
    })
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Administrator {
    /// The client.
    pub(super) client: ClientKey,
    /// Whether the token opens all of the administration API.
    pub(super) is_full: bool,
}

/// The token is a client's own, and opens this part of the administration API at this moment.
pub(super) async fn require(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
    scope: AdminScope,
) -> Result<Administrator, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    let is_full = active.is_approved_for(SCOPE);
    if !is_full {
        let has_part = active.has(scope.name()) || !active.has(SCOPE);
        let wanted = if has_part { scope.name() } else { SCOPE };
        active.require_approved(unit, wanted).await?;
    }
    if active.subject.is_some() {
        let refused = Rejection::new(ApiError::PermissionDenied, RefusalReason::NoClientToken);
        return Err(active.about(refused));
    }
    Ok(Administrator {
        client: active.client(),
        is_full,
    })
}
