//! `GET` and `POST /account/applications`: the applications that have access to the user's account, what each may do,
//! and taking it back.

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
use crate::http::page::{ApplicationsPage, PageError};
use crate::http::session::{self, LiveSession};
use crate::ids::ClientKey;
use crate::ledger::LedgerError;
use crate::operations::account::{EndError, EndedBy};

pub(super) const ENDPOINT: &str = "/account/applications";

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
        Ok(form) => take_back(&visit, &form).await,
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
    Ok(ApplicationsPage {
        presentation: visit.origin.presentation,
        account: &live.account(app).await?,
        applications: &app.operations.applications(live.login.subject).await?,
        token: Purpose::Account(live.id).token(app, ENDPOINT),
        notice,
    }
    .into_response())
}

/// Takes back what an application was allowed. One that was allowed nothing is left as it is.
async fn take_back(visit: &Visit<'_>, form: &Form) -> Result<Response, Rejection<PageError>> {
    let app = visit.app;
    let Some(live) = session::live(app, &visit.anonymous(), visit.headers).await? else {
        return visit.over().await;
    };
    let context = visit.acting_as(&live);
    if !Purpose::Account(live.id).verify(app, ENDPOINT, form.get(csrf::FIELD)) {
        visit
            .record(&context, PageError::ForgedForm, RefusalReason::FormTokenWrong)
            .await;
        return Ok(page(visit, &live, Some(PageError::ForgedForm)).await?);
    }
    if let Some(client) = form.get("client").and_then(|text| Uuid::try_parse(text).ok()) {
        let operations = &app.operations;
        let ended =
            operations.end_application(&context, (live.login.subject, ClientKey(client)), EndedBy::User);
        match ended.await {
            Ok(_) => {}
            Err(EndError::Behind) => {
                return Ok(page(visit, &live, Some(PageError::TemporarilyUnavailable)).await?);
            }
            Err(EndError::Ledger(error)) => return Err(error.into()),
        }
    }
    Ok(see_other("applications"))
}
