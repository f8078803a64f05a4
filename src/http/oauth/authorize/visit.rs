//! One visit of a browser: what it brought, the pages it can be shown, and how it is refused.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::ENDPOINT;
use super::authentication::login_hint;
use super::error::{AuthorizeError, Failure, invalid_request};
use super::parameters::Parameters;
use super::redirect::see_other;
use super::request::{self, AuthorizationRequest, Target};
use super::request_object;
use super::shown;
use super::signed::Signed;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::redirect_uri;
use crate::domain::refusal::RefusalReason;
use crate::http::context::Origin;
use crate::http::csrf::{BrowserMark, FORM_COOKIE, Purpose};
use crate::http::error::Rejection;
use crate::http::oauth::par::{self, PushedRequest};
use crate::http::page::{
    self, ConsentPage, Destination, ErrorPage, Forms, LoginPage, PageError, Presentation, Problem,
};
use crate::http::session::{LiveSession, Presented};
use crate::ids::SubjectId;
use crate::ledger::{Actor, Context, LedgerError, Refused, UnitOfWork};

/// What a browser brought.
pub(super) struct Visit {
    pub(super) app: App,
    /// With how the request itself, pushed or signed, wants its pages shown.
    pub(super) origin: Origin,
    /// With the user of the session cookie as actor, where there is one.
    pub(super) context: Context,
    pub(super) parameters: Parameters,
    /// Where the parameters were pushed (RFC 9126).
    pub(super) pushed: Option<PushedRequest>,
    /// Where they are of a signed request object (RFC 9101): when a browser first brought it.
    signed_at: Option<Timestamp>,
    /// Whether it says in two ways what its parameters are.
    is_ambiguous: bool,
    pub(super) session: Option<Presented>,
    pub(super) mark: Option<BrowserMark>,
}

impl Visit {
    pub(super) async fn begin(
        app: &App,
        origin: &Origin,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<Self, Failure> {
        let mut context = origin.context(ENDPOINT, Actor::Anonymous);
        let mut parameters = Parameters::parse(query)?;
        let is_ambiguous =
            parameters.get("request_uri").is_some() && parameters.get(request_object::PARAMETER).is_some();
        let pushed = match parameters.get("request_uri").filter(|uri| par::is_ours(uri)) {
            None => None,
            Some(uri) => match par::open(app, parameters.get("client_id"), uri).await {
                Ok(pushed) => Some(pushed),
                // That there are two is what is wrong, whatever either is.
                Err(_) if is_ambiguous => None,
                Err(failure) => return Err(failure.into()),
            },
        };
        let mut signed_at = None;
        if let Some(pushed) = &pushed {
            parameters = parameters.pushed(&pushed.parameters)?;
        } else if let Some(signed) = Signed::open(app, &context, &parameters).await? {
            signed_at = Some(signed.opened_at);
            let query = signed.marked(app, &parameters);
            parameters = parameters.signed(&signed.parameters, query)?;
        }
        let session = Presented::read(app, headers);
        if let Some(presented) = &session
            && let Some(subject) = presented.subject(app, &context).await?
        {
            context = acting(origin, subject);
        }
        let browser = Presentation::of_browser(headers, app.settings.default_language);
        let (ui_locales, display) = (parameters.get("ui_locales"), parameters.get("display"));
        Ok(Self {
            app: app.clone(),
            origin: origin.presented(browser.asked(ui_locales, display)),
            context,
            parameters,
            pushed,
            signed_at,
            is_ambiguous,
            session,
            mark: BrowserMark::read(app, headers),
        })
    }

    pub(super) fn query(&self) -> &str {
        &self.parameters.query
    }

    /// When a browser first brought the request, where its parameters cannot change from then on.
    fn opened_at(&self) -> Option<Timestamp> {
        self.pushed
            .as_ref()
            .map(|pushed| pushed.opened_at)
            .or(self.signed_at)
    }

    /// The query for after the login: `prompt=login` is done. Of a pushed or signed request that is seen by the time of
    /// the login ([`Self::must_log_in`]).
    pub(super) fn query_after_login(&self) -> String {
        match self.opened_at() {
            Some(_) => self.query().to_owned(),
            None => self.parameters.after_login(),
        }
    }

    /// Whether the password must be asked for although somebody is logged in (`prompt=login`, `max_age`, another
    /// user than the one that was asked for).
    pub(super) fn must_log_in(
        &self,
        request: &AuthorizationRequest,
        live: &LiveSession,
        at: Timestamp,
    ) -> bool {
        (request.prompt.login && !self.has_logged_in(live)) || !self.accepts(request, live, at)
    }

    /// Whether this login will do for what the request says of `max_age` and the user. One that was made for a
    /// pushed request is recent: its parameters cannot lose what the login has done.
    pub(super) fn accepts(&self, request: &AuthorizationRequest, live: &LiveSession, at: Timestamp) -> bool {
        let at = if self.has_logged_in(live) {
            live.login.authenticated_at
        } else {
            at
        };
        request.openid.accepts(&self.app, &live.login, at)
    }

    /// Whether this login was made after a pushed or signed request had been opened.
    fn has_logged_in(&self, live: &LiveSession) -> bool {
        self.opened_at()
            .is_some_and(|opened_at| opened_at <= live.login.authenticated_at)
    }

    /// Whether this is the one answer to the request: a pushed one has no other (RFC 9126 §4).
    pub(super) async fn is_first_answer(&self) -> Result<bool, LedgerError> {
        match &self.pushed {
            Some(pushed) => pushed.answer(&self.app).await,
            None => Ok(true),
        }
    }

    /// The request, as this round of a unit of work sees it.
    pub(super) async fn checked(
        &self,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<(Target, AuthorizationRequest), Failure> {
        let target = request::target(&self.app, unit, &self.parameters).await?;
        let checked = match self
            .check_one_source()
            .and_then(|()| self.check_pushed(&target))
            .and_then(|()| self.check_signed(&target))
        {
            Ok(()) => request::check(&self.app, unit, &self.parameters, &target).await,
            Err(rejection) => Err(rejection),
        };
        match checked {
            Ok(request) => Ok((target, request)),
            Err(rejection) => Err(Failure::redirect(
                &target.back,
                (target.key, self.context.subject),
                rejection,
            )),
        }
    }

    /// RFC 9101 §5: a `request` and a `request_uri` are not used together. Neither counts for less than the other.
    fn check_one_source(&self) -> Result<(), Rejection<AuthorizeError>> {
        if !self.is_ambiguous {
            return Ok(());
        }
        let what = "There are a request and a request_uri: use one of them.";
        Err(invalid_request(what, RefusalReason::RequestAndRequestUri))
    }

    /// Where server or client require it, a request is pushed (RFC 9126 §5, §6).
    fn check_pushed(&self, target: &Target) -> Result<(), Rejection<AuthorizeError>> {
        let required = self.app.settings.require_pushed_authorization_requests
            || target.registration.metadata.require_pushed_authorization_requests;
        if !required || self.pushed.is_some() {
            return Ok(());
        }
        let what = "The request must be pushed (RFC 9126).";
        Err(invalid_request(what, RefusalReason::NotPushed))
    }

    /// Where server or client require it, a request is a signed object (RFC 9101 §10.5), pushed or not.
    fn check_signed(&self, target: &Target) -> Result<(), Rejection<AuthorizeError>> {
        let required = request_object::is_required(&self.app.settings, &target.registration);
        let is_signed = match &self.pushed {
            Some(pushed) => pushed.is_signed,
            None => self.signed_at.is_some(),
        };
        if !required || is_signed {
            return Ok(());
        }
        let what = "The request must be a signed request object (RFC 9101).";
        Err(invalid_request(what, RefusalReason::RequestNotSigned))
    }

    /// The login page. A browser that has no mark yet gets one, to which the form is bound.
    pub(super) fn login_page(&self, target: &Target, typed: Typed<'_>) -> Result<Response, LedgerError> {
        let (mark, is_new) = match &self.mark {
            Some(mark) => (mark.clone(), false),
            None => (BrowserMark::fresh(&self.app)?, true),
        };
        let mut response = LoginPage {
            presentation: self.origin.presentation,
            client_name: Some(&target.registration.metadata.client_name),
            query: self.query(),
            token: Purpose::Login(&mark).token(&self.app, self.query()),
            username: if typed.username.is_empty() {
                login_hint(&self.parameters)
            } else {
                typed.username
            },
            problem: typed.problem,
            notice: typed.notice,
            forms: Forms::ToClient,
        }
        .into_response();
        if is_new {
            page::set_cookie(&mut response, FORM_COOKIE.set(&self.app.settings, mark.as_str()));
        }
        Ok(response)
    }

    /// The consent page.
    pub(super) async fn consent_page(
        &self,
        (target, request): (&Target, &AuthorizationRequest),
        live: &LiveSession,
        notice: Option<PageError>,
    ) -> Result<Response, LedgerError> {
        let shown = shown::digest(target, request);
        let token = Purpose::Consent(live.id).token(&self.app, &shown::bound(self.query(), &shown));
        Ok(ConsentPage {
            presentation: self.origin.presentation,
            client: &target.registration.metadata,
            destination: &destination(&target.back.redirect_uri),
            scopes: &request.scopes,
            claims: &request.openid.individual_claims.all(),
            resources: &request.resources,
            details: &request
                .details
                .iter()
                .map(|asked| asked.shown.clone())
                .collect::<Vec<_>>(),
            lost: request.lost.as_ref(),
            is_self_registered: target.registration.registration_access_token.is_some(),
            account: &live.account(&self.app).await?,
            query: self.query(),
            session: (live.id, token),
            shown,
            notice,
        }
        .into_response())
    }

    /// Records a refusal that is not the answer's whole content.
    pub(super) async fn record(&self, context: &Context, refused: Refused) {
        self.app.ledger.record_refusal(context, refused).await;
    }

    /// The answer to a refused request, once it is recorded.
    pub(super) async fn refuse(&self, failure: Failure) -> Response {
        let by = (&self.context, self.origin.presentation);
        let by_hand = match self.asks_before_going(&failure).await {
            Ok(by_hand) => by_hand,
            Err(error) => return refuse(&self.app, by, error.into()).await,
        };
        // No fault of the application's, which a page would lay at its door: the user logs in and is asked anew.
        if by_hand && failure.is_session_over() {
            self.record_all(&failure).await;
            return see_other(&format!("authorize?{}", self.query()));
        }
        // An error that is sent to the client is an answer; where the trouble is ours, another try may succeed.
        let failure = match failure.answer() {
            None => failure,
            Some(rejection) => match self.is_first_answer().await {
                Ok(true) => failure,
                Ok(false) => Failure::Page(rejection.answered_before()),
                Err(error) => error.into(),
            },
        };
        match &failure {
            Failure::Redirect(back, rejection) if by_hand => {
                self.record_all(&failure).await;
                self.by_hand(back, rejection.error)
            }
            Failure::Redirect(..) | Failure::Page(_) => refuse(&self.app, by, failure).await,
        }
    }

    async fn record_all(&self, failure: &Failure) {
        if let Some(refused) = failure.refused() {
            self.record(&self.context, refused).await;
        }
    }
}

/// What a login page repeats and says.
#[derive(Clone, Copy, Default)]
pub(super) struct Typed<'a> {
    pub(super) username: &'a str,
    pub(super) problem: Option<Problem>,
    pub(super) notice: Option<PageError>,
}

/// The context of what a user does.
pub(super) fn acting(origin: &Origin, subject: SubjectId) -> Context {
    Context {
        subject: Some(subject),
        ..origin.context(ENDPOINT, Actor::User(subject))
    }
}

/// The answer to a refused request, once it is recorded.
pub(super) async fn refuse(
    app: &App,
    (context, presentation): (&Context, Presentation),
    failure: Failure,
) -> Response {
    if let Some(refused) = failure.refused() {
        app.ledger.record_refusal(context, refused).await;
    }
    match failure {
        Failure::Page(rejection) => ErrorPage {
            presentation,
            error: rejection.error,
            request: context.request,
        }
        .into_response(),
        Failure::Redirect(back, rejection) => back.error(app, presentation, rejection.error),
    }
}

/// Where the user returns to.
pub(in crate::http) fn destination(uri: &str) -> Destination {
    if redirect_uri::is_native(uri) {
        return Destination::ThisDevice;
    }
    let parsed = Url::parse(uri).ok();
    let host = parsed.as_ref().and_then(Url::host_str);
    Destination::Host(host.unwrap_or_default().to_owned())
}
