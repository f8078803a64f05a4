//! `GET` and `POST /account/password`: a user who is logged in sets another password, once the current one is given
//! again. That ends every session of the user, this one too, and every token that applications hold.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::session::Session;
use crate::domain::user::{Account, UserCommand};
use crate::domain::value::Sealed;
use crate::http::context::Origin;
use crate::http::csrf::{self, BrowserMark, FORM_COOKIE, Purpose};
use crate::http::error::{Rejection, WireError};
use crate::http::form::Form;
use crate::http::login::{self, Refusal};
use crate::http::oauth::authorize::{read_form, see_other};
use crate::http::page::{
    self, ErrorPage, Forms, LoginPage, PageError, PasswordPage, PasswordProblem, Problem, password_changed,
};
use crate::http::session::{self, LiveSession, Presented, SESSION_COOKIE, Verified};
use crate::ledger::{Actor, Context, LedgerError, Refused};
use crate::operations::OperationError;
use crate::operations::user::{UnfitPassword, check_password};

pub(super) const ENDPOINT: &str = "/account/password";

/// What a browser brought.
struct Visit<'a> {
    app: &'a App,
    origin: &'a Origin,
    headers: &'a HeaderMap,
}

/// The page, or the login page before it.
pub(super) async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers);
    let context = visit.anonymous();
    let shown = match session::live(&app, &context, &headers).await {
        Ok(Some(live)) => visit.page(&live, (None, None)).await,
        Ok(None) => visit.login_page("", (None, None)),
        Err(error) => Err(error),
    };
    visit
        .answer(&context, shown.map_err(Rejection::<PageError>::from))
        .await
}

/// That the password is changed.
pub(super) async fn changed() -> Response {
    password_changed()
}

/// One of our own forms.
pub(super) async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let visit = Visit::new(&app, &origin, &headers);
    let result = match read_form(body) {
        Ok(form) if form.get("step") == Some("login") => visit.log_in(&form).await,
        Ok(form) => visit.change(&form).await,
        Err(rejection) => Err(rejection),
    };
    visit.answer(&visit.anonymous(), result).await
}

impl<'a> Visit<'a> {
    fn new(app: &'a App, origin: &'a Origin, headers: &'a HeaderMap) -> Self {
        Self { app, origin, headers }
    }

    fn anonymous(&self) -> Context {
        self.origin.context(ENDPOINT, Actor::Anonymous)
    }

    /// The answer, or the refusal as a page, once it is recorded.
    async fn answer(&self, context: &Context, result: Result<Response, Rejection<PageError>>) -> Response {
        let rejection = match result {
            Ok(response) => return response,
            Err(rejection) => rejection,
        };
        if let Some(refused) = rejection.refused() {
            self.app.ledger.record_refusal(context, refused).await;
        }
        ErrorPage {
            error: rejection.error,
            request: context.request,
        }
        .into_response()
    }

    async fn page(
        &self,
        live: &LiveSession,
        (problem, notice): (Option<PasswordProblem>, Option<PageError>),
    ) -> Result<Response, LedgerError> {
        Ok(PasswordPage {
            account: &live.account(self.app).await?,
            token: Purpose::Password(live.id).token(self.app, ENDPOINT),
            problem,
            notice,
        }
        .into_response())
    }

    fn login_page(
        &self,
        username: &str,
        (problem, notice): (Option<Problem>, Option<PageError>),
    ) -> Result<Response, LedgerError> {
        let known = BrowserMark::read(self.app, self.headers);
        let mark = match &known {
            Some(mark) => mark.clone(),
            None => BrowserMark::fresh(self.app)?,
        };
        let mut response = LoginPage {
            client_name: None,
            query: "",
            token: Purpose::Login(&mark).token(self.app, ENDPOINT),
            username,
            problem,
            notice,
            forms: Forms::Here,
        }
        .into_response();
        if known.is_none() {
            page::set_cookie(&mut response, FORM_COOKIE.set(&self.app.settings, mark.as_str()));
        }
        Ok(response)
    }

    async fn record(&self, context: &Context, error: PageError, reason: RefusalReason) {
        let refused = Refused {
            error: error.code(),
            reason,
            client: None,
            subject: context.subject,
            grant: None,
        };
        self.app.ledger.record_refusal(context, refused).await;
    }

    /// The login form before the page.
    async fn log_in(&self, form: &Form) -> Result<Response, Rejection<PageError>> {
        let (app, context) = (self.app, self.anonymous());
        let username = form.get("username").unwrap_or_default();
        let is_ours = BrowserMark::read(app, self.headers)
            .is_some_and(|mark| Purpose::Login(&mark).verify(app, ENDPOINT, form.get(csrf::FIELD)));
        if !is_ours {
            self.record(&context, PageError::ForgedForm, RefusalReason::FormTokenWrong)
                .await;
            return Ok(self.login_page(username, (None, Some(PageError::ForgedForm)))?);
        }
        let Some(password) = form.get("password").filter(|_| !username.is_empty()) else {
            return Ok(self.login_page(username, (Some(Problem::Incomplete), None))?);
        };
        let counted = login::counted(username, &context);
        if let Err(wait) = app.limits.check_failures(&counted, app.ledger.clock().now()) {
            let error = PageError::TooMany(wait.retry_after);
            self.record(&context, error, RefusalReason::TooManyFailures).await;
            return Ok(self.login_page(username, (None, Some(error)))?);
        }
        let refusal = match login::recognise(app, &context, username, password).await? {
            Ok(recognised) => {
                let context = self.acting(&recognised.verified);
                let previous = Presented::read(app, self.headers);
                match login::start(app, &context, recognised, previous.as_ref()).await? {
                    Ok(cookie) => {
                        let mut response = see_other("password");
                        page::set_cookie(&mut response, Some(cookie));
                        return Ok(response);
                    }
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        if let Some(wait) = refusal.wait {
            let error = PageError::TooMany(wait.retry_after);
            self.record(&context, error, refusal.reason).await;
            return Ok(self.login_page(username, (None, Some(error)))?);
        }
        self.refused(&context, &refusal).await;
        Ok(self.login_page(username, (Some(Problem::Wrong), None))?)
    }

    fn acting(&self, verified: &Verified) -> Context {
        Context {
            subject: Some(verified.subject),
            ..self.origin.context(ENDPOINT, Actor::User(verified.subject))
        }
    }

    async fn refused(&self, context: &Context, refusal: &Refusal) {
        let context = Context {
            subject: refusal.subject,
            ..context.clone()
        };
        self.app.ledger.record_refusal(&context, refusal.refused()).await;
    }

    /// The form with the current and the new password.
    async fn change(&self, form: &Form) -> Result<Response, Rejection<PageError>> {
        let app = self.app;
        let Some(live) = session::live(app, &self.anonymous(), self.headers).await? else {
            return self.over().await;
        };
        let verified = Verified {
            subject: live.login.subject,
            password_generation: live.login.password_generation,
        };
        let context = self.acting(&verified);
        if !Purpose::Password(live.id).verify(app, ENDPOINT, form.get(csrf::FIELD)) {
            self.record(&context, PageError::ForgedForm, RefusalReason::FormTokenWrong)
                .await;
            return Ok(self.page(&live, (None, Some(PageError::ForgedForm))).await?);
        }
        let Some(account) = live.user.account.clone() else {
            return self.over().await;
        };
        let username = live.account(app).await?.username;
        let (current, new) = match typed(form, &username) {
            Ok(typed) => typed,
            Err(problem) => return Ok(self.page(&live, (Some(problem), None)).await?),
        };
        let counted = login::counted(&username, &context);
        if let Err(wait) = app.limits.check_failures(&counted, app.ledger.clock().now()) {
            let error = PageError::TooMany(wait.retry_after);
            self.record(&context, error, RefusalReason::TooManyFailures).await;
            return Ok(self.page(&live, (None, Some(error))).await?);
        }
        if let Err(refusal) = login::recognise(app, &context, &username, current).await? {
            if let Some(wait) = refusal.wait {
                let error = PageError::TooMany(wait.retry_after);
                self.record(&context, error, refusal.reason).await;
                return Ok(self.page(&live, (None, Some(error))).await?);
            }
            self.refused(&context, &refusal).await;
            let problem = Some(PasswordProblem::WrongCurrent);
            return Ok(self.page(&live, (problem, None)).await?);
        }
        if new == current {
            let problem = Some(PasswordProblem::Unfit(UnfitPassword::Current));
            return Ok(self.page(&live, (problem, None)).await?);
        }
        let sealed = seal(app, &live, &account, new).await?;
        self.conclude(&context, &live, sealed).await
    }

    /// Appends the new password and the end of this session; the others end by it. Nothing happens where the
    /// password has changed meanwhile, or the user may not act any more: the session is over then.
    async fn conclude(
        &self,
        context: &Context,
        live: &LiveSession,
        password: Sealed,
    ) -> Result<Response, Rejection<PageError>> {
        let app = self.app;
        let presented = Presented {
            id: live.id,
            digest: live.login.digest,
        };
        let command = UserCommand::ChangePassword(password);
        let mut unit = app.ledger.unit_of_work(context);
        loop {
            let Some(live) = presented.find(&mut unit).await? else {
                if unit.refusal_stands()? {
                    return self.over().await;
                }
                continue;
            };
            let session = unit.load::<Session>(live.id.0).await?;
            let ended = session.decide(&session::end("password_changed")).events;
            unit.also(&session, &ended)?;
            let decision = live.user.decide(&command);
            let Some(concluded) = unit.conclude(&live.user, decision).await? else {
                continue;
            };
            if concluded.outcome.is_err() {
                return self.over().await;
            }
            let mut response = see_other("password/changed");
            page::set_cookie(&mut response, SESSION_COOKIE.clear(&app.settings));
            return Ok(response);
        }
    }

    /// The session that the form was made in is over: nothing was done, and the login page says so.
    async fn over(&self) -> Result<Response, Rejection<PageError>> {
        self.record(
            &self.anonymous(),
            PageError::ForgedForm,
            RefusalReason::SessionExpired,
        )
        .await;
        Ok(self.login_page("", (None, Some(PageError::ForgedForm)))?)
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
        | OperationError::Grant(_) => Rejection::new(PageError::ForgedForm, RefusalReason::PasswordNotTaken),
    })
}
