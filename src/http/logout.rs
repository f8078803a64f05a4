//! Logging out. A link or a form elsewhere cannot do it: the page asks, and its form proves where it came from.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::context::Origin;
use super::csrf::{self, Purpose};
use super::error::{Rejection, WireError};
use super::form::Form;
use super::oauth::authorize::{read_form, see_other};
use super::page::{self, ErrorPage, PageError, Presentation};
use super::session::{self, LiveSession, SESSION_COOKIE};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::ledger::{Actor, Context, LedgerError, Refused};

const ENDPOINT: &str = "/logout";

/// The page that logs out.
pub fn routes() -> Router<App> {
    Router::new().route(ENDPOINT, get(ask).post(submit))
}

async fn ask(State(app): State<App>, Extension(origin): Extension<Origin>, headers: HeaderMap) -> Response {
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    let asked = Asked::by_nobody(origin.presentation);
    let shown = match session::live(&app, &context, &headers).await {
        Ok(Some(live)) => confirmation(&app, &live, &asked, None).await,
        Ok(None) => Ok(page::logged_out(origin.presentation)),
        Err(error) => Err(error),
    };
    shown.unwrap_or_else(|error| failed((&context, origin.presentation), Rejection::from(error).error))
}

async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    let asked = Asked::by_nobody(origin.presentation);
    match log_out(&app, &context, (&headers, body), &asked).await {
        Ok(response) => response,
        Err(rejection) => {
            if let Some(refused) = rejection.refused() {
                app.ledger.record_refusal(&context, refused).await;
            }
            failed((&context, origin.presentation), rejection.error)
        }
    }
}

async fn log_out(
    app: &App,
    context: &Context,
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
    asked: &Asked<'_>,
) -> Result<Response, Rejection<PageError>> {
    let form = read_form(headers, body)?;
    if let Some(live) = session::live(app, context, headers).await? {
        if let Some(again) = unproven(app, context, &live, (asked, &form)).await? {
            return Ok(again);
        }
        end(app, context, &live, "logout").await?;
    }
    // To this same page, which then finds nobody logged in.
    let mut response = see_other("logout");
    page::set_cookie(&mut response, SESSION_COOKIE.clear(&app.settings));
    Ok(response)
}

/// Who asks for the logout: nobody else than the user, or an application by a request of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// How the user is asked.
    pub(super) presentation: Presentation,
    /// The request that the form answers, which stands in the page's address.
    pub(super) query: &'a str,
    /// The application's name.
    pub(super) by: Option<&'a str>,
}

impl Asked<'_> {
    fn by_nobody(presentation: Presentation) -> Self {
        Self {
            presentation,
            query: "",
            by: None,
        }
    }
}

/// The page to show where the form did not come from a page that was made for this login and request.
pub(super) async fn unproven(
    app: &App,
    context: &Context,
    live: &LiveSession,
    (asked, form): (&Asked<'_>, &Form),
) -> Result<Option<Response>, LedgerError> {
    if Purpose::Logout(live.id).verify(app, asked.query, form.get(csrf::FIELD)) {
        return Ok(None);
    }
    let refused = Refused {
        error: PageError::ForgedForm.code(),
        reason: RefusalReason::FormTokenWrong,
        client: None,
        subject: Some(live.login.subject),
        grant: None,
    };
    app.ledger.record_refusal(context, refused).await;
    let page = confirmation(app, live, asked, Some(PageError::ForgedForm)).await?;
    Ok(Some(page))
}

/// Ends the browser's login, as its user.
pub(super) async fn end(
    app: &App,
    context: &Context,
    live: &LiveSession,
    reason: &str,
) -> Result<(), LedgerError> {
    let context = Context {
        actor: Actor::User(live.login.subject),
        subject: Some(live.login.subject),
        ..context.clone()
    };
    session::finish(app, &context, live.id, reason).await
}

/// Asks the user.
pub(super) async fn confirmation(
    app: &App,
    live: &LiveSession,
    asked: &Asked<'_>,
    error: Option<PageError>,
) -> Result<Response, LedgerError> {
    let account = live.account(app).await?;
    let token = Purpose::Logout(live.id).token(app, asked.query);
    Ok(page::logout(
        asked.presentation,
        &account,
        &token,
        (asked.by, error),
    ))
}

/// The page that says why not.
pub(super) fn failed((context, presentation): (&Context, Presentation), error: PageError) -> Response {
    ErrorPage {
        presentation,
        error,
        request: context.request,
    }
    .into_response()
}
