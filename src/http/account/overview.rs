//! `GET /account`: what there is of the user's own account.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::visit::Visit;
use crate::app::App;
use crate::http::context::Origin;
use crate::http::error::Rejection;
use crate::http::oauth::authorize::{read_form, see_other};
use crate::http::page::{self, PageError};
use crate::http::session;

pub(super) const ENDPOINT: &str = "/account";

/// The page, or the login page before it.
pub(super) async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers, ENDPOINT);
    let context = visit.anonymous();
    let shown = match session::live(&app, &context, &headers).await {
        Ok(Some(live)) => {
            let account = live.account(&app).await;
            account.map(|account| page::account(origin.presentation, &account))
        }
        Ok(None) => visit.login_page("", (None, None)),
        Err(error) => Err(error),
    };
    visit
        .answer(&context, shown.map_err(Rejection::<PageError>::from))
        .await
}

/// The login form; the page itself has no other.
pub(super) async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers, ENDPOINT);
    let result = match read_form(&headers, body) {
        Ok(form) if form.get("step") == Some("login") => visit.log_in(&form).await,
        Ok(_) => Ok(see_other("account")),
        Err(rejection) => Err(rejection),
    };
    visit.answer(&visit.anonymous(), result).await
}
