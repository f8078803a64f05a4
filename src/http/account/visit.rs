//! What the pages of the account have in common: who asks, the login page before them, and how a refusal is answered.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::http::context::Origin;
use crate::http::csrf::{self, BrowserMark, FORM_COOKIE, Purpose};
use crate::http::error::{Rejection, WireError};
use crate::http::form::Form;
use crate::http::login::{self, Refusal};
use crate::http::oauth::authorize::see_other;
use crate::http::page::{self, ErrorPage, Forms, LoginPage, PageError, Problem};
use crate::http::session::{LiveSession, Presented, Verified};
use crate::ledger::{Actor, Context, LedgerError, Refused};

/// What a browser brought to a page.
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    origin: &'a Origin,
    pub(super) headers: &'a HeaderMap,
    /// The page's path.
    pub(super) endpoint: &'static str,
}

impl<'a> Visit<'a> {
    pub(super) fn new(
        app: &'a App,
        origin: &'a Origin,
        headers: &'a HeaderMap,
        endpoint: &'static str,
    ) -> Self {
        Self {
            app,
            origin,
            headers,
            endpoint,
        }
    }

    /// The context of what the user of this session does.
    pub(super) fn acting_as(&self, live: &LiveSession) -> Context {
        self.acting(&Verified {
            subject: live.login.subject,
            password_generation: live.login.password_generation,
        })
    }

    pub(super) fn anonymous(&self) -> Context {
        self.origin.context(self.endpoint, Actor::Anonymous)
    }

    /// The answer, or the refusal as a page, once it is recorded.
    pub(super) async fn answer(
        &self,
        context: &Context,
        result: Result<Response, Rejection<PageError>>,
    ) -> Response {
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

    pub(super) fn login_page(
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
            token: Purpose::Login(&mark).token(self.app, self.endpoint),
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

    pub(super) async fn record(&self, context: &Context, error: PageError, reason: RefusalReason) {
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
    pub(super) async fn log_in(&self, form: &Form) -> Result<Response, Rejection<PageError>> {
        let (app, context) = (self.app, self.anonymous());
        let username = form.get("username").unwrap_or_default();
        let is_ours = BrowserMark::read(app, self.headers)
            .is_some_and(|mark| Purpose::Login(&mark).verify(app, self.endpoint, form.get(csrf::FIELD)));
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
                        let mut response = see_other(self.endpoint.rsplit('/').next().unwrap_or_default());
                        page::set_cookie(&mut response, Some(cookie));
                        return Ok(response);
                    }
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        self.refused(&context, &refusal).await;
        Ok(self.login_page(username, (Some(Problem::Wrong), None))?)
    }

    pub(super) fn acting(&self, verified: &Verified) -> Context {
        Context {
            subject: Some(verified.subject),
            ..self.origin.context(self.endpoint, Actor::User(verified.subject))
        }
    }

    pub(super) async fn refused(&self, context: &Context, refusal: &Refusal) {
        let context = Context {
            subject: refusal.subject,
            ..context.clone()
        };
        self.app.ledger.record_refusal(&context, refusal.refused()).await;
    }

    /// The session that the form was made in is over: nothing was done, and the login page says so.
    pub(super) async fn over(&self) -> Result<Response, Rejection<PageError>> {
        self.record(
            &self.anonymous(),
            PageError::ForgedForm,
            RefusalReason::SessionExpired,
        )
        .await;
        Ok(self.login_page("", (None, Some(PageError::ForgedForm)))?)
    }
}
