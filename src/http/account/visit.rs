//! What the pages of the account have in common: who asks, the login page before them, and how a refusal is answered.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::http::context::Origin;
use crate::http::error::{Rejection, WireError};
use crate::http::form::Form;
use crate::http::login::Refusal;
use crate::http::login_form::{LoginForm, Submitted};
use crate::http::oauth::authorize::see_other;
use crate::http::page::{self, ErrorPage, PageError, Problem};
use crate::http::session::{LiveSession, Verified};
use crate::ledger::{Actor, Context, LedgerError, Refused};

/// What a browser brought to a page.
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    pub(super) origin: &'a Origin,
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
            presentation: self.origin.presentation,
            error: rejection.error,
            request: context.request,
        }
        .into_response()
    }

    pub(super) fn login_page(
        &self,
        username: &str,
        why: (Option<Problem>, Option<PageError>),
    ) -> Result<Response, LedgerError> {
        self.login_form().page_with(username, why)
    }

    /// The login form before the page.
    fn login_form(&self) -> LoginForm<'_> {
        LoginForm {
            app: self.app,
            origin: self.origin,
            headers: self.headers,
            endpoint: self.endpoint,
            query: "",
        }
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

    /// Takes the login form before the page.
    pub(super) async fn log_in(&self, form: &Form) -> Result<Response, Rejection<PageError>> {
        match self.login_form().submit(form).await? {
            Submitted::LoggedIn(cookie) => {
                let mut response = see_other(self.endpoint.rsplit('/').next().unwrap_or_default());
                page::set_cookie(&mut response, Some(cookie));
                Ok(response)
            }
            Submitted::Again(response) => Ok(response),
        }
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
