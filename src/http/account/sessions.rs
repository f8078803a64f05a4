//! `GET` and `POST /account/sessions`: where the user is logged in, and ending that.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::visit::Visit;
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::http::context::Origin;
use crate::http::csrf::{self, Purpose};
use crate::http::error::Rejection;
use crate::http::form::Form;
use crate::http::oauth::authorize::{read_form, see_other};
use crate::http::page::{self, PageError, SessionsPage};
use crate::http::session::{self, LiveSession, SESSION_COOKIE};
use crate::ids::SessionId;
use crate::ledger::LedgerError;
use crate::operations::account::{BrowserLogin, EndError, EndedBy};

pub(super) const ENDPOINT: &str = "/account/sessions";

/// The page, or the login page before it.
pub(super) async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers, ENDPOINT);
    let context = visit.anonymous();
    let shown = match session::live(&app, &context, &headers).await {
        Ok(Some(live)) => page(&visit, &live, None).await,
        Ok(None) => visit.login_page("", (None, None)),
        Err(error) => Err(error),
    };
    visit
        .answer(&context, shown.map_err(Rejection::<PageError>::from))
        .await
}

/// One of our own forms.
pub(super) async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers, ENDPOINT);
    let result = match read_form(&headers, body) {
        Ok(form) if form.get("step") == Some("login") => visit.log_in(&form).await,
        Ok(form) => end(&visit, &form).await,
        Err(rejection) => Err(rejection),
    };
    visit.answer(&visit.anonymous(), result).await
}

async fn page(
    visit: &Visit<'_>,
    live: &LiveSession,
    notice: Option<PageError>,
) -> Result<Response, LedgerError> {
    let app = visit.app;
    let subject = live.login.subject;
    let mut logins = app.operations.browser_logins(subject).await?;
    // It holds, whether or not the table shows it yet.
    if !logins.iter().any(|login| login.id == live.id) {
        logins.push(BrowserLogin {
            id: live.id,
            started_at: live.login.authenticated_at,
            login: live.login.clone(),
            caller: app.operations.caller_of(live.id.0, subject).await?,
        });
    }
    // This one first.
    logins.sort_by_key(|login| login.id != live.id);
    Ok(SessionsPage {
        presentation: visit.origin.presentation,
        account: &live.account(app).await?,
        this: live.id,
        logins: &logins,
        token: Purpose::Account(live.id).token(app, ENDPOINT),
        notice,
    }
    .into_response())
}

/// Ends one session of this user, or all but this one.
async fn end(visit: &Visit<'_>, form: &Form) -> Result<Response, Rejection<PageError>> {
    let app = visit.app;
    let Some(live) = session::live(app, &visit.anonymous(), visit.headers).await? else {
        return visit.over().await;
    };
    let (context, subject) = (visit.acting_as(&live), live.login.subject);
    if !Purpose::Account(live.id).verify(app, ENDPOINT, form.get(csrf::FIELD)) {
        visit
            .record(&context, PageError::ForgedForm, RefusalReason::FormTokenWrong)
            .await;
        return Ok(page(visit, &live, Some(PageError::ForgedForm)).await?);
    }
    let mut response = see_other("sessions");
    if form.get("step") == Some("others") {
        match app
            .operations
            .end_sessions(
                &context,
                (subject, Some(live.id)),
                (app.settings.session_end_revokes, EndedBy::User),
            )
            .await
        {
            Ok(_) => {}
            Err(EndError::Behind) => {
                return Ok(page(visit, &live, Some(PageError::TemporarilyUnavailable)).await?);
            }
            Err(EndError::Ledger(error)) => return Err(error.into()),
        }
    } else if let Some(id) = form.get("session").and_then(|text| Uuid::try_parse(text).ok()) {
        let id = SessionId(id);
        if !app
            .operations
            .end_session(
                &context,
                subject,
                id,
                (app.settings.session_end_revokes, EndedBy::User),
            )
            .await?
        {
            // Over already, or never this user's: the answer does not say which.
            visit
                .record(&context, PageError::ForgedForm, RefusalReason::SessionExpired)
                .await;
        } else if id == live.id {
            page::set_cookie(&mut response, SESSION_COOKIE.clear(&app.settings));
        }
    }
    Ok(response)
}
