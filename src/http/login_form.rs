//! The login form of a page of ours that has to know its user: shown, checked, answered.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::context::Origin;
use super::csrf::{self, BrowserMark, FORM_COOKIE, Purpose};
use super::error::{Rejection, WireError};
use super::form::Form;
use super::login::{self, Recognised, Refusal};
use super::page::{self, Forms, LoginPage, PageError, Problem};
use super::session::{Presented, Verified};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::ledger::{Actor, Context, LedgerError, Refused};

/// Where the form stands.
pub(super) struct LoginForm<'a> {
    pub(super) app: &'a App,
    pub(super) origin: &'a Origin,
    pub(super) headers: &'a HeaderMap,
    /// The page's path, as the trail names it.
    pub(super) endpoint: &'static str,
    /// The page's query, which the form carries on.
    pub(super) query: &'a str,
}

/// What came of a form.
pub(super) enum Submitted {
    /// The user is logged in: the session's cookie.
    LoggedIn(HeaderValue),
    /// The form once more, with what is wrong.
    Again(Response),
}

impl LoginForm<'_> {
    /// The form. A browser that has no mark yet gets one, to which the form is bound.
    pub(super) fn page(&self) -> Result<Response, LedgerError> {
        self.page_with("", (None, None))
    }

    pub(super) fn page_with(
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
            presentation: self.origin.presentation,
            client_name: None,
            query: self.query,
            token: Purpose::Login(&mark).token(self.app, &self.bound_to()),
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

    /// What the form's token is made for: a form of one page is none of another's.
    fn bound_to(&self) -> String {
        format!("{}?{}", self.endpoint, self.query)
    }

    /// Takes the form.
    pub(super) async fn submit(&self, form: &Form) -> Result<Submitted, Rejection<PageError>> {
        let app = self.app;
        let context = self.origin.context(self.endpoint, Actor::Anonymous);
        let username = form.get("username").unwrap_or_default();
        let is_ours = BrowserMark::read(app, self.headers)
            .is_some_and(|mark| Purpose::Login(&mark).verify(app, &self.bound_to(), form.get(csrf::FIELD)));
        if !is_ours {
            let why = (PageError::ForgedForm, RefusalReason::FormTokenWrong);
            return self.notify(&context, username, why).await;
        }
        let Some(password) = form.get("password").filter(|_| !username.is_empty()) else {
            return self.again(username, (Some(Problem::Incomplete), None));
        };
        let counted = login::counted(username, &context);
        if let Err(wait) = app.limits.check_failures(&counted, app.ledger.clock().now()) {
            let why = (
                PageError::TooMany(wait.retry_after),
                RefusalReason::TooManyFailures,
            );
            return self.notify(&context, username, why).await;
        }
        let refusal = match login::recognise(app, &context, username, password).await? {
            Ok(recognised) => match self.start(recognised).await? {
                Ok(cookie) => return Ok(Submitted::LoggedIn(cookie)),
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        if let Some(wait) = refusal.wait {
            let why = (PageError::TooMany(wait.retry_after), refusal.reason);
            return self.notify(&context, username, why).await;
        }
        let context = Context {
            subject: refusal.subject,
            ..context
        };
        app.ledger.record_refusal(&context, refusal.refused()).await;
        self.again(username, (Some(Problem::Wrong), None))
    }

    async fn start(
        &self,
        recognised: Recognised,
    ) -> Result<Result<HeaderValue, Refusal>, Rejection<PageError>> {
        let Verified { subject, .. } = recognised.verified;
        let context = Context {
            subject: Some(subject),
            ..self.origin.context(self.endpoint, Actor::User(subject))
        };
        let previous = Presented::read(self.app, self.headers);
        login::start(self.app, &context, recognised, previous.as_ref()).await
    }

    fn again(
        &self,
        username: &str,
        why: (Option<Problem>, Option<PageError>),
    ) -> Result<Submitted, Rejection<PageError>> {
        Ok(Submitted::Again(self.page_with(username, why)?))
    }

    /// Shows the form again with what went wrong, and records it.
    async fn notify(
        &self,
        context: &Context,
        username: &str,
        (error, reason): (PageError, RefusalReason),
    ) -> Result<Submitted, Rejection<PageError>> {
        let refused = Refused {
            error: error.code(),
            reason,
            client: None,
            subject: None,
            grant: None,
        };
        self.app.ledger.record_refusal(context, refused).await;
        self.again(username, (None, Some(error)))
    }
}
