//! `GET` and `POST /account/password`: a user who is logged in sets another password, once the current one is given
//! again. That ends every session of the user, this one too, and every token that applications hold.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::visit::Visit;
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::session::Session;
use crate::domain::user::{Account, UserCommand};
use crate::domain::value::Sealed;
use crate::http::context::Origin;
use crate::http::csrf::{self, Purpose};
use crate::http::error::Rejection;
use crate::http::form::Form;
use crate::http::login;
use crate::http::oauth::authorize::{read_form, see_other};
use crate::http::page::{self, PageError, PasswordPage, PasswordProblem, password_changed};
use crate::http::session::{self, LiveSession, Presented, SESSION_COOKIE};
use crate::ledger::{Context, LedgerError};
use crate::operations::OperationError;
use crate::operations::user::{UnfitPassword, check_password};

pub(super) const ENDPOINT: &str = "/account/password";

/// The page, or the login page before it.
pub(super) async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers, ENDPOINT);
    let context = visit.anonymous();
    let shown = match session::live(&app, &context, &headers).await {
        Ok(Some(live)) => page(&visit, &live, (None, None)).await,
        Ok(None) => visit.login_page("", (None, None)),
        Err(error) => Err(error),
    };
    visit
        .answer(&context, shown.map_err(Rejection::<PageError>::from))
        .await
}

/// That the password is changed.
pub(super) async fn changed(Extension(origin): Extension<Origin>) -> Response {
    password_changed(origin.presentation)
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
        Ok(form) => change(&visit, &form).await,
        Err(rejection) => Err(rejection),
    };
    visit.answer(&visit.anonymous(), result).await
}

async fn page(
    visit: &Visit<'_>,
    live: &LiveSession,
    (problem, notice): (Option<PasswordProblem>, Option<PageError>),
) -> Result<Response, LedgerError> {
    Ok(PasswordPage {
        presentation: visit.origin.presentation,
        account: &live.account(visit.app).await?,
        token: Purpose::Password(live.id).token(visit.app, ENDPOINT),
        problem,
        notice,
    }
    .into_response())
}

/// The form with the current and the new password.
async fn change(visit: &Visit<'_>, form: &Form) -> Result<Response, Rejection<PageError>> {
    let app = visit.app;
    let Some(live) = session::live(app, &visit.anonymous(), visit.headers).await? else {
        return visit.over().await;
    };
    let context = visit.acting_as(&live);
    if !Purpose::Password(live.id).verify(app, ENDPOINT, form.get(csrf::FIELD)) {
        visit
            .record(&context, PageError::ForgedForm, RefusalReason::FormTokenWrong)
            .await;
        return Ok(page(visit, &live, (None, Some(PageError::ForgedForm))).await?);
    }
    let Some(account) = live.user.account.clone() else {
        return visit.over().await;
    };
    let username = live.account(app).await?.username;
    let (current, new) = match typed(form, &username) {
        Ok(typed) => typed,
        Err(problem) => return Ok(page(visit, &live, (Some(problem), None)).await?),
    };
    let counted = login::counted(&username, &context);
    if let Err(wait) = app.limits.check_failures(&counted, app.ledger.clock().now()) {
        let error = PageError::TooMany(wait.retry_after);
        visit
            .record(&context, error, RefusalReason::TooManyFailures)
            .await;
        return Ok(page(visit, &live, (None, Some(error))).await?);
    }
    if let Err(refusal) = login::recognise(app, &context, &username, current).await? {
        if let Some(wait) = refusal.wait {
            let error = PageError::TooMany(wait.retry_after);
            visit.record(&context, error, refusal.reason).await;
            return Ok(page(visit, &live, (None, Some(error))).await?);
        }
        visit.refused(&context, &refusal).await;
        let problem = Some(PasswordProblem::WrongCurrent);
        return Ok(page(visit, &live, (problem, None)).await?);
    }
    if new == current {
        let problem = Some(PasswordProblem::Unfit(UnfitPassword::Current));
        return Ok(page(visit, &live, (problem, None)).await?);
    }
    let sealed = seal(app, &live, &account, new).await?;
    conclude(visit, &context, &live, sealed).await
}

/// Appends the new password and the end of this session; the others end by it. Nothing happens where the
/// password has changed meanwhile, or the user may not act any more: the session is over then.
async fn conclude(
    visit: &Visit<'_>,
    context: &Context,
    live: &LiveSession,
    password: Sealed,
) -> Result<Response, Rejection<PageError>> {
    let app = visit.app;
    let presented = Presented {
        id: live.id,
        digest: live.login.digest,
    };
    let command = UserCommand::ChangePassword(password);
    let mut unit = app.ledger.unit_of_work(context);
    loop {
        let Some(live) = presented.find(&mut unit).await? else {
            if unit.refusal_stands()? {
                return visit.over().await;
            }
            continue;
        };
        let session = unit.load::<Session>(live.id.0).await?;
        let ended = session.decide(&session::end(app, "password_changed")).events;
        unit.also(&session, &ended)?;
        let decision = live.user.decide(&command);
        let Some(concluded) = unit.conclude(&live.user, decision).await? else {
            continue;
        };
        if concluded.outcome.is_err() {
            return visit.over().await;
        }
        let mut response = see_other("password/changed");
        page::set_cookie(&mut response, SESSION_COOKIE.clear(&app.settings));
        return Ok(response);
    }
}

/// The current and the new password, where they could be.
fn typed<'f>(form: &'f Form, username: &str) -> Result<(&'f str, &'f str), PasswordProblem> {
    let (Some(current), Some(new), Some(again)) = (form.get("current"), form.get("new"), form.get("again"))
    else {
        return Err(PasswordProblem::Incomplete);
    };
    if new != again {
        return Err(PasswordProblem::NotRepeated);
    }
    check_password(new, username).map_err(PasswordProblem::Unfit)?;
    Ok((current, new))
}

/// The new password in the event's form.
async fn seal(
    app: &App,
    live: &LiveSession,
    account: &Account,
    new: &str,
) -> Result<Sealed, Rejection<PageError>> {
    let sealed = app
        .operations
        .seal_password(live.login.subject, account, new.to_owned());
    sealed.await.map_err(|error| match error {
        OperationError::Ledger(error) => error.into(),
        OperationError::Password(error) => error.into(),
        // Erased this very moment; what a password must be was checked before.
        OperationError::User(_)
        | OperationError::Invalid { .. }
        | OperationError::Client(_)
        | OperationError::Scope(_)
        | OperationError::Key(_)
        | OperationError::LogKey(_)
        | OperationError::Grant(_)
        | OperationError::InitialAccessToken(_)
        | OperationError::TrustedIssuer(_)
        | OperationError::Policy(_)
        | OperationError::Stream(_)
        | OperationError::SignalStream(_)
        | OperationError::Network(_)
        | OperationError::AuthorizationDetailType(_)
        | OperationError::Alert(_) => Rejection::new(PageError::ForgedForm, RefusalReason::PasswordNotTaken),
    })
}
