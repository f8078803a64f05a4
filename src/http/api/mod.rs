//! The resource API: users, as far as a token may see them.

pub mod bearer;
pub mod user;
pub mod users;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use uuid::Uuid;

use super::error::{ApiError, Rejection, no_store};
use crate::app::App;
use crate::domain::refusal::RefusalReason;

/// The resource endpoints.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/user", get(user::user))
        .route("/api/user/details", get(user::details))
        .route("/api/users/{id}", get(users::user))
        .route("/api/users/{id}/details", get(users::details))
}

/// An answer that nobody may keep.
pub(in crate::http) fn respond<T: Serialize>(body: T) -> Response {
    let mut response = Json(body).into_response();
    no_store(&mut response);
    response
}

/// The id in a path: a UUID in its usual spelling.
pub(super) fn uuid_in(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Rejection<ApiError>> {
    let id = path.ok().and_then(|Path(text)| {
        let id = Uuid::try_parse(&text).ok()?;
        text.eq_ignore_ascii_case(&id.to_string()).then_some(id)
    });
    id.ok_or(Rejection::new(
        ApiError::ValidationError("The id in the path is not a UUID."),
        RefusalReason::MalformedId,
    ))
}
