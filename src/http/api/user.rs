//! `GET /api/user` and `GET /api/user/details`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::super::context::Origin;
use super::super::error::{ApiError, Rejection, no_store};
use super::bearer::BearerToken;
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::user::Account;
use crate::http::oauth::{answer, rounds};
use crate::ids::SubjectId;
use crate::ledger::{Actor, UnitOfWork};
use crate::operations::user::Profile;

#[derive(Serialize)]
struct UserBody {
    id: SubjectId,
    username: String,
    name: Option<String>,
}

#[derive(Serialize)]
struct DetailsBody {
    #[serde(flatten)]
    user: UserBody,
    email: Option<String>,
}

/// Who the token stands for; needs `view-user`.
pub async fn user(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let result = profile(&app, &origin, &headers, ("/api/user", "view-user")).await;
    let result = result.map(|(id, profile)| {
        respond(UserBody {
            id,
            username: profile.username,
            name: profile.name,
        })
    });
    answer(&app, &origin, "/api/user", result).await
}

/// All about whom the token stands for; needs the restricted scope `detail-user`.
pub async fn details(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let result = profile(&app, &origin, &headers, ("/api/user/details", "detail-user")).await;
    let result = result.map(
        |(
            id,
            Profile {
                username,
                name,
                email,
            },
        )| {
            respond(DetailsBody {
                user: UserBody { id, username, name },
                email,
            })
        },
    );
    answer(&app, &origin, "/api/user/details", result).await
}

fn respond<T: Serialize>(body: T) -> Response {
    let mut response = Json(body).into_response();
    no_store(&mut response);
    response
}

async fn profile(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    resource: (&'static str, &'static str),
) -> Result<(SubjectId, Profile), Rejection<ApiError>> {
    let (endpoint, scope) = resource;
    let token = BearerToken::read(app, headers).await?;
    let context = origin.context(endpoint, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let (subject, account) = rounds!(unit, round(&mut unit, &token, scope))?;
    let profile = app.operations.profile(subject, &account).await?;
    // The key is gone: the user was erased in this very moment.
    let profile = profile.ok_or(Rejection::new(ApiError::TokenInvalid, RefusalReason::UserErased))?;
    Ok((subject, profile))
}

async fn round(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
    scope: &'static str,
) -> Result<Option<(SubjectId, Account)>, Rejection<ApiError>> {
    let account = token.account(unit, scope).await?;
    Ok(unit.confirm().await?.then_some(account))
}
