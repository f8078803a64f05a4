//! `GET /api/user` and `GET /api/user/details`: the user that a token stands for.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::bearer::BearerToken;
use super::respond;
use crate::app::App;
use crate::domain::client::Registration;
use crate::domain::refusal::RefusalReason;
use crate::domain::user::Account;
use crate::http::oauth::{answer, rounds};
use crate::ids::SubjectId;
use crate::ledger::{Actor, UnitOfWork};
use crate::operations::user::Profile;

/// The scope for a user's name.
pub(super) const VIEW: &str = "view-user";
/// The restricted scope for all of a user's profile.
pub(super) const DETAIL: &str = "detail-user";

#[derive(Serialize)]
struct UserBody {
    id: String,
    username: String,
    name: Option<String>,
}

#[derive(Serialize)]
struct DetailsBody {
    #[serde(flatten)]
    user: UserBody,
    email: Option<String>,
}

/// A user as [`VIEW`] shows one.
pub(super) fn user_body((id, profile): (String, Profile)) -> Response {
    respond(UserBody {
        id,
        username: profile.username,
        name: profile.name,
    })
}

/// A user as [`DETAIL`] shows one.
pub(super) fn details_body((id, profile): (String, Profile)) -> Response {
    respond(DetailsBody {
        user: UserBody {
            id,
            username: profile.username,
            name: profile.name,
        },
        email: profile.email,
    })
}

/// Who the token stands for; needs `view-user`.
pub async fn user(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let result = profile(&app, &origin, &headers, ("/api/user", VIEW)).await;
    answer(&app, &origin, "/api/user", result.map(user_body)).await
}

/// All about whom the token stands for; needs the restricted scope `detail-user`.
pub async fn details(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let result = profile(&app, &origin, &headers, ("/api/user/details", DETAIL)).await;
    answer(&app, &origin, "/api/user/details", result.map(details_body)).await
}

async fn profile(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    resource: (&'static str, &'static str),
) -> Result<(String, Profile), Rejection<ApiError>> {
    let (endpoint, scope) = resource;
    let token = BearerToken::read(app, origin, headers).await?;
    let context = origin.context(endpoint, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let (subject, account, client) = rounds!(unit, round((app, &mut unit), &token, scope))?;
    let profile = app.operations.profile(subject, &account).await?;
    // The key is gone: the user was erased in this very moment.
    let erased = Rejection::new(ApiError::TokenInvalid, RefusalReason::UserErased);
    Ok((known_as(app, client.as_deref(), subject), profile.ok_or(erased)?))
}

async fn round(
    (app, unit): (&App, &mut UnitOfWork<'_>),
    token: &BearerToken,
    scope: &'static str,
) -> Result<Option<Shown>, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    let Some(subject) = active.subject else {
        let refused = Rejection::new(ApiError::PermissionDenied, RefusalReason::NoUser);
        return Err(active.about(refused));
    };
    active.require(unit, scope).await?;
    let account = active.own_account(unit, subject).await?;
    Ok(active
        .confirm_use(app, unit)
        .await?
        .then(|| (subject, account, active.registration())))
}

/// A user, and the client that the token was issued to.
type Shown = (SubjectId, Account, Option<Arc<Registration>>);

/// What a client knows a user by: the `sub` of its tokens (OpenID Connect Core §8).
pub(super) fn known_as(app: &App, client: Option<&Registration>, subject: SubjectId) -> String {
    client.map_or_else(
        || subject.to_string(),
        |client| app.operations.subject_for(client, subject),
    )
}
