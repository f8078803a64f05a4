//! Device authorization, RFC 8628: a device without a browser asks ([`authorize_device`]), its user enters a short code
//! in a browser elsewhere and answers (this page), and the device polls the token endpoint until then.
//!
//! A code is looked up only for a user who is logged in, so that whoever guesses has an account to lose, and within
//! limits: wrong codes per user and per address, look-ups per code. A link that holds the code
//! (`verification_uri_complete`) saves typing and nothing else.

mod answer;
mod authorization;
mod user_code;
mod waiting;

pub use authorization::authorize_device;
pub(super) use waiting::polls_too_fast;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::user_code::UserCode;
use self::waiting::Found;
use super::authorize::{read_form, see_other};
use super::{authorization_details, rounds, standing};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::authorization_detail::Detail;
use crate::domain::client::{Client, GrantType, Registration, Standing};
use crate::domain::grant::{Grant, GrantRefusal};
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::{Definition, Scope};
use crate::http::context::Origin;
use crate::http::csrf::Purpose;
use crate::http::error::Rejection;
use crate::http::form::Form;
use crate::http::limits::{Counted, counted_address};
use crate::http::login_form::{LoginForm, Submitted};
use crate::http::network_throttles;
use crate::http::page::{self, DeviceAnswerPage, DeviceCodePage, ErrorPage, PageError, device_answered};
use crate::http::session::{self, LiveSession, Presented};
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Actor, Context, Loaded, UnitOfWork};

/// The page's path: the `verification_uri`.
const PATH: &str = "/oauth/device";

/// The pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route(PATH, get(show).post(submit))
        .route(
            "/oauth/device/approved",
            get(async |Extension(origin): Extension<Origin>| device_answered(origin.presentation, true)),
        )
        .route(
            "/oauth/device/denied",
            get(async |Extension(origin): Extension<Origin>| device_answered(origin.presentation, false)),
        )
}

/// The page, empty or with a code.
async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let (typed, result) = match Visit::begin(&app, &origin, &headers, &query).await {
        Ok((visit, typed)) => (typed.clone(), visit.shown(&typed).await),
        Err(rejection) => (String::new(), Err(rejection)),
    };
    finish((&app, &origin), &typed, result).await
}

/// One of our own forms.
async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let query = query.unwrap_or_default();
    let (typed, result) = match Visit::begin(&app, &origin, &headers, &query).await {
        Ok((visit, typed)) => (typed.clone(), visit.submitted(&typed, body).await),
        Err(rejection) => (String::new(), Err(rejection)),
    };
    finish((&app, &origin), &typed, result).await
}

/// The answer, or the refusal once it is recorded: with the form for the code, where another code may do.
async fn finish(
    (app, origin): (&App, &Origin),
    typed: &str,
    result: Result<Response, Rejection<PageError>>,
) -> Response {
    let rejection = match result {
        Ok(response) => return response,
        Err(rejection) => rejection,
    };
    let context = match rejection.subject {
        Some(subject) => acting(origin, subject),
        None => origin.context(PATH, Actor::Anonymous),
    };
    if let Some(refused) = rejection.refused() {
        app.ledger.record_refusal(&context, refused).await;
    }
    let error = if rejection.error == PageError::Malformed {
        PageError::DeviceMalformed
    } else {
        rejection.error
    };
    if matches!(error, PageError::UserCodeUnknown | PageError::TooMany(_)) {
        return DeviceCodePage {
            presentation: origin.presentation,
            typed,
            notice: Some(error),
        }
        .into_response();
    }
    ErrorPage {
        presentation: origin.presentation,
        error,
        request: context.request,
    }
    .into_response()
}

fn acting(origin: &Origin, subject: SubjectId) -> Context {
    Context {
        subject: Some(subject),
        ..origin.context(PATH, Actor::User(subject))
    }
}

/// A user code as people are shown it, of what somebody typed; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn user_code_in(typed: &str) -> Option<String> {
    UserCode::parse(typed).map(|code| code.to_string())
}

/// The page's query with a code.
fn query(code: &UserCode) -> String {
    format!("user_code={code}")
}

/// What a browser brought.
struct Visit<'a> {
    app: &'a App,
    origin: &'a Origin,
    headers: &'a HeaderMap,
    /// With the user of the session cookie as actor, where there is one.
    context: Context,
    session: Option<Presented>,
}

/// What a device asks for, as a round of a unit of work sees it.
struct Asked {
    grant: Loaded<Grant>,
    client: ClientKey,
    registration: Arc<Registration>,
    scopes: Vec<Definition>,
    /// The resource servers that it names (RFC 8707).
    resources: Vec<String>,
    /// What it asks for besides (RFC 9396).
    details: Vec<Detail>,
}

impl Asked {
    /// Whether the login is recent enough for the client (`default_max_age`).
    fn accepts(&self, live: &LiveSession, at: Timestamp) -> bool {
        let most = self.registration.metadata.default_max_age();
        most.is_none_or(|most| at - live.login.authenticated_at <= most)
    }
}

impl<'a> Visit<'a> {
    /// The visit, and what was typed.
    async fn begin(
        app: &'a App,
        origin: &'a Origin,
        headers: &'a HeaderMap,
        query: &str,
    ) -> Result<(Self, String), Rejection<PageError>> {
        let malformed = |_| Rejection::new(PageError::Malformed, RefusalReason::MalformedQuery);
        let query = Form::parse(query).map_err(malformed)?;
        let mut context = origin.context(PATH, Actor::Anonymous);
        let session = Presented::read(app, headers);
        if let Some(presented) = &session
            && let Some(subject) = presented.subject(app, &context).await?
        {
            context = acting(origin, subject);
        }
        let visit = Self {
            app,
            origin,
            headers,
            context,
            session,
        };
        Ok((visit, query.get("user_code").unwrap_or_default().to_owned()))
    }

    async fn shown(&self, typed: &str) -> Result<Response, Rejection<PageError>> {
        let Some(code) = UserCode::parse(typed) else {
            return Ok(DeviceCodePage {
                presentation: self.origin.presentation,
                typed,
                notice: (!typed.is_empty()).then_some(PageError::UserCodeUnknown),
            }
            .into_response());
        };
        self.asked_page(&code, None).await
    }

    async fn submitted(
        &self,
        typed: &str,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Response, Rejection<PageError>> {
        let form = read_form(self.headers, body)?;
        let Some(code) = UserCode::parse(typed) else {
            return Ok(see_other("device"));
        };
        if form.get("step") != Some("login") {
            return answer::submit(self, &code, &form).await;
        }
        Ok(match self.login_form(&query(&code)).submit(&form).await? {
            Submitted::Again(response) => response,
            Submitted::LoggedIn(cookie) => {
                let mut response = back(&code);
                page::set_cookie(&mut response, Some(cookie));
                response
            }
        })
    }

    fn login_form<'f>(&'f self, query: &'f str) -> LoginForm<'f> {
        LoginForm {
            app: self.app,
            origin: self.origin,
            headers: self.headers,
            endpoint: PATH,
            query,
        }
    }

    /// The page that shows who asks for what; or the login page before it.
    async fn asked_page(
        &self,
        code: &UserCode,
        notice: Option<PageError>,
    ) -> Result<Response, Rejection<PageError>> {
        let Some(live) = session::live(self.app, &self.context, self.headers).await? else {
            return Ok(self.login_form(&query(code)).page()?);
        };
        let grant = self.find(code, live.login.subject).await?;
        let mut unit = self.app.ledger.unit_of_work(&self.context);
        let page = rounds!(unit, self.asked_round(&mut unit, grant, (code, notice)));
        self.found(page, live.login.subject)
    }

    async fn asked_round(
        &self,
        unit: &mut UnitOfWork<'_>,
        grant: GrantId,
        (code, notice): (&UserCode, Option<PageError>),
    ) -> Result<Option<Response>, Rejection<PageError>> {
        let Some(live) = session::find(self.session.as_ref(), unit).await? else {
            return Ok(Some(back(code)));
        };
        let asked = asked(self.app, unit, grant, &live).await?;
        let query = query(code);
        if !asked.accepts(&live, unit.at()) {
            let page = self.login_form(&query).page()?;
            return Ok(unit.confirm().await?.then_some(page));
        }
        let token = Purpose::Device(live.id).token(self.app, &query);
        let page = DeviceAnswerPage {
            presentation: self.origin.presentation,
            client: &asked.registration.metadata,
            scopes: &asked.scopes,
            resources: &asked.resources,
            details: &self.app.operations.show_details(&asked.details).await?,
            is_self_registered: asked.registration.registration_access_token.is_some(),
            account: &live.account(self.app).await?,
            user_code: &code.to_string(),
            query: &query,
            session: (live.id, token),
            notice,
        }
        .into_response();
        Ok(unit.confirm().await?.then_some(page))
    }

    /// Looks a code up. It counts as a wrong one until [`Self::found`] says otherwise.
    async fn find(&self, code: &UserCode, subject: SubjectId) -> Result<GrantId, Rejection<PageError>> {
        let app = self.app;
        let refused = |error, reason| {
            let mut rejection = Rejection::new(error, reason);
            rejection.subject = Some(subject);
            rejection
        };
        if let Err(wait) = network_throttles::check(app, &self.context) {
            let error = PageError::TooMany(wait.retry_after);
            return Err(refused(error, RefusalReason::NetworkThrottled));
        }
        let most = app.settings.failures_per_minute;
        let now = app.ledger.clock().now();
        if let Err(wait) = app.limits.check_and_count(&self.counted(subject), most, now) {
            let error = PageError::TooMany(wait.retry_after);
            return Err(refused(error, RefusalReason::TooManyUserCodes));
        }
        let unknown = |reason| Err(refused(PageError::UserCodeUnknown, reason));
        match waiting::find(app, code).await? {
            Found::Grant(grant) => Ok(grant),
            Found::Overused => unknown(RefusalReason::UserCodeOverused),
            Found::Nothing => unknown(RefusalReason::UserCodeUnknown),
        }
    }

    /// A code that led to a device which waits, whatever came of it, was no guess.
    fn found<T>(
        &self,
        result: Result<T, Rejection<PageError>>,
        subject: SubjectId,
    ) -> Result<T, Rejection<PageError>> {
        let wrong = matches!(&result, Err(rejection) if rejection.error == PageError::UserCodeUnknown);
        if !wrong {
            let now = self.app.ledger.clock().now();
            self.app.limits.forgive(&self.counted(subject), now);
        }
        result
    }

    fn counted(&self, subject: SubjectId) -> Vec<Counted> {
        let address = self.context.address.map(counted_address);
        let address = address.map(Counted::UserCodesFrom);
        address
            .into_iter()
            .chain([Counted::UserCodesOf(subject)])
            .collect()
    }
}

/// To the page of a code (post, redirect, get).
fn back(code: &UserCode) -> Response {
    see_other(&format!("device?{}", query(code)))
}

/// What the device asks for, where it still waits and its client may have all of that from this user. A code that is
/// over is to the visitor what one is that never was.
async fn asked(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    id: GrantId,
    live: &LiveSession,
) -> Result<Asked, Rejection<PageError>> {
    let subject = live.login.subject;
    let grant = unit.load::<Grant>(id.0).await?;
    let family = grant.awaits_answer(unit.at()).map_err(|refusal| {
        let reason = if refusal == GrantRefusal::Unknown {
            RefusalReason::UserCodeUnknown
        } else {
            refusal.reason()
        };
        Rejection::new(PageError::UserCodeUnknown, reason).grant(id, Some(subject))
    })?;
    let refused = |reason| {
        let rejection = Rejection::new(PageError::DeviceRefused, reason);
        Err(rejection.client(family.client).grant(id, Some(subject)))
    };
    let client = unit.load::<Client>(family.client.0).await?;
    let Some(registration) = client.registration.clone() else {
        return refused(RefusalReason::UnknownClient);
    };
    match registration.standing {
        Standing::Active => {}
        Standing::Suspended => return refused(RefusalReason::ClientSuspended),
        Standing::Revoked => return refused(RefusalReason::ClientRevoked),
    }
    if !registration.metadata.allows(GrantType::DeviceCode) {
        return refused(RefusalReason::GrantTypeNotAllowed);
    }
    if !registration.metadata.serves(subject) {
        return refused(RefusalReason::ClientNotLive);
    }
    if standing::allowed_scope(unit, &registration, &family.scope).await? != family.scope {
        return refused(RefusalReason::ScopeNoLongerAllowed);
    }
    let details = app.operations.details_of(id, family).await?;
    let allowed = authorization_details::usable(unit, (&registration, family), &details, None).await?;
    if allowed != details {
        return refused(RefusalReason::DetailsNoLongerAllowed);
    }
    let mut scopes = Vec::new();
    for name in family.scope.iter() {
        let scope = unit.load::<Scope>(Scope::id(name)).await?;
        scopes.extend(scope.grantable().cloned());
    }
    let device = family.device.as_ref();
    Ok(Asked {
        client: family.client,
        resources: device.map(|device| device.resources.clone()).unwrap_or_default(),
        details,
        registration,
        scopes,
        grant,
    })
}
