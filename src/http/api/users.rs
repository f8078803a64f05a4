//! `GET /api/users/{id}` and `GET /api/users/{id}/details`: a user by id. A user's token shows that user and no
//! other, whether there is another or not; a client's own token with the scope `read-users` shows any.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use uuid::Uuid;

use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::bearer::{ActiveToken, BearerToken};
use super::user::{DETAIL, VIEW, details_body, known_as, user_body};
use super::uuid_in;
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::user::{Account, User};
use crate::http::oauth::{answer, rounds};
use crate::ids::SubjectId;
use crate::ledger::{Actor, LedgerError, UnitOfWork};
use crate::operations::subject;
use crate::operations::user::Profile;

/// The scope with which a client that acts for itself, and is approved for it, may read any user.
const READ_USERS: &str = "read-users";

/// What is asked for: where, and which scope a token needs besides.
#[derive(Clone, Copy)]
struct Resource {
    endpoint: &'static str,
    of_a_user: &'static str,
    of_a_client: &'static [&'static str],
}

const USER: Resource = Resource {
    endpoint: "/api/users/{id}",
    of_a_user: VIEW,
    of_a_client: &[READ_USERS],
};

/// What needs an approval for one user's data needs it for everybody's.
const DETAILS: Resource = Resource {
    endpoint: "/api/users/{id}/details",
    of_a_user: DETAIL,
    of_a_client: &[READ_USERS, DETAIL],
};

/// A user; needs `view-user`, or of a client that acts for itself `read-users`.
pub async fn user(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let result = profile(&app, &origin, (&headers, id), USER).await;
    answer(&app, &origin, USER.endpoint, result.map(user_body)).await
}

/// All about a user; needs `detail-user`, and of a client that acts for itself `read-users` too.
pub async fn details(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let result = profile(&app, &origin, (&headers, id), DETAILS).await;
    answer(&app, &origin, DETAILS.endpoint, result.map(details_body)).await
}

/// Whom a path names: a user's id, or a pairwise subject, which means something to its own client only.
struct Asked(String);

impl Asked {
    fn read(path: Result<Path<String>, PathRejection>) -> Result<Self, Rejection<ApiError>> {
        match path {
            Ok(Path(text)) if subject::is_pairwise(&text) => Ok(Self(text)),
            path => Ok(Self(uuid_in(path)?.to_string())),
        }
    }

    /// The user, for a client that acts for itself.
    async fn subject(&self, app: &App, token: &ActiveToken) -> Result<Option<SubjectId>, LedgerError> {
        if let Ok(id) = Uuid::try_parse(&self.0) {
            return Ok(Some(SubjectId(id)));
        }
        let client = token.registration();
        let pairwise = client.filter(|client| client.pairwise_sector().is_some());
        match pairwise {
            Some(client) => app.operations.find_subject(&client, &self.0).await,
            None => Ok(None),
        }
    }
}

async fn profile(
    app: &App,
    origin: &Origin,
    (headers, id): (&HeaderMap, Result<Path<String>, PathRejection>),
    resource: Resource,
) -> Result<(String, Profile), Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let asked = Asked::read(id)?;
    let context = origin.context(resource.endpoint, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let (subject, account) = rounds!(unit, round((app, &mut unit), &token, &asked, resource))?;
    let profile = app.operations.profile(subject, &account).await?;
    // The key is gone: the user was erased in this very moment.
    Ok((asked.0, profile.ok_or_else(no_such_user)?))
}

async fn round(
    (app, unit): (&App, &mut UnitOfWork<'_>),
    token: &BearerToken,
    asked: &Asked,
    resource: Resource,
) -> Result<Option<(SubjectId, Account)>, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    let found = if let Some(own) = active.subject {
        active.require(unit, resource.of_a_user).await?;
        if asked.0 != known_as(app, active.registration().as_deref(), own) {
            let refused = Rejection::new(ApiError::PermissionDenied, RefusalReason::OtherUser);
            return Err(active.about(refused));
        }
        (own, active.own_account(unit, own).await?)
    } else {
        for scope in resource.of_a_client {
            active.require_approved(unit, scope).await?;
        }
        let subject = asked.subject(app, &active).await?;
        let subject = subject.ok_or_else(|| active.about(no_such_user()))?;
        let user = unit.load::<User>(subject.0).await?;
        let account = user.account.clone();
        (subject, account.ok_or_else(|| active.about(no_such_user()))?)
    };
    Ok(active.confirm_use(app, unit).await?.then_some(found))
}

fn no_such_user() -> Rejection<ApiError> {
    let error = ApiError::ResourceNotFound("There is no user with this id.");
    Rejection::new(error, RefusalReason::NoSuchUser)
}
