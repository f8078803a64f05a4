//! The OpenID Shared Signals Framework 1.0: the transmitter's metadata (§7) and the management of event streams (§8), one
//! file per endpoint, and the poll endpoint (RFC 8936). There is none of it where `shared_signals` is off.

mod body;
mod configuration;
mod metadata;
mod poll;
mod status;
mod subjects;
mod verification;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use uuid::Uuid;

use super::api::bearer::BearerToken;
use super::context::Origin;
use super::error::{ApiError, Rejection};
use super::oauth::rounds;
use crate::app::App;
use crate::domain::client::Registration;
use crate::domain::refusal::RefusalReason;
use crate::domain::ssf_stream::{OpenStream, SsfStream};
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context, Loaded, UnitOfWork};
use crate::ssf::{MANAGE, READ};

const NO_STREAM: &str = "There is no such event stream of this client.";

/// The endpoints, where they are on.
pub fn routes(on: bool) -> Router<App> {
    if !on {
        return Router::new();
    }
    Router::new()
        .route(metadata::PATH, get(metadata::metadata))
        .route(
            &format!("{}/{{*path}}", metadata::PATH),
            get(metadata::metadata_of_path),
        )
        .route(
            configuration::PATH,
            get(configuration::read)
                .post(configuration::create)
                .patch(configuration::update)
                .put(configuration::replace)
                .delete(configuration::delete),
        )
        .route(status::PATH, get(status::read).post(status::update))
        .route(subjects::ADD, post(subjects::add))
        .route(subjects::REMOVE, post(subjects::remove))
        .route(verification::PATH, post(verification::verify))
        .route(poll::PATH, post(poll::poll))
}

/// The client that receives: its own token opens this at this moment.
pub(super) struct Receiver {
    pub(super) client: ClientKey,
    pub(super) registration: Arc<Registration>,
}

impl Receiver {
    /// Requires `ssf.manage`, or where nothing is changed one of both scopes, approved for the client.
    async fn require(
        unit: &mut UnitOfWork<'_>,
        token: &BearerToken,
        scope: &'static str,
    ) -> Result<Self, Rejection<ApiError>> {
        let active = token.active(unit).await?;
        let wider = scope == READ && active.usable_scope().contains(MANAGE);
        let scope = if wider { MANAGE } else { scope };
        active.require_approved(unit, scope).await?;
        let refused = |reason| active.about(Rejection::new(ApiError::PermissionDenied, reason));
        if active.subject.is_some() {
            return Err(refused(RefusalReason::NoClientToken));
        }
        let registration = active
            .registration()
            .ok_or_else(|| refused(RefusalReason::NoClientToken))?;
        Ok(Self {
            client: active.client(),
            registration,
        })
    }

    /// One of its streams. That another client has one of that id is not said.
    async fn stream(
        &self,
        unit: &mut UnitOfWork<'_>,
        id: Uuid,
    ) -> Result<(Loaded<SsfStream>, OpenStream), Rejection<ApiError>> {
        let loaded = unit.load::<SsfStream>(id).await?;
        let open = loaded.of(self.client).cloned();
        let open = open.ok_or_else(|| no_stream().client(self.client))?;
        Ok((loaded, open))
    }
}

/// The circumstances of what a receiver changes: its token says who acts.
async fn acting(
    app: &App,
    (origin, endpoint): (&Origin, &'static str),
    token: &BearerToken,
) -> Result<Context, Rejection<ApiError>> {
    let mut context = origin.context(endpoint, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let client = rounds!(unit, client_of(&mut unit, token))?;
    context.actor = Actor::Client(client);
    Ok(context)
}

async fn client_of(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
) -> Result<Option<ClientKey>, Rejection<ApiError>> {
    let client = token.active(unit).await?.client();
    Ok(unit.confirm().await?.then_some(client))
}

fn no_stream() -> Rejection<ApiError> {
    Rejection::new(ApiError::ResourceNotFound(NO_STREAM), RefusalReason::NoSuchStream)
}

/// What is wrong with a request, in fixed words.
fn invalid(what: &'static str) -> Rejection<ApiError> {
    Rejection::new(ApiError::ValidationError(what), RefusalReason::StreamRequest)
}
