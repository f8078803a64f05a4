//! Authorization endpoint, RFC 6749 §3.1 and §4.1, with the rules of RFC 9700, RFC 7636 (PKCE), RFC 9207 (`iss`)
//! and the `prompt` parameter of OpenID Connect Core.
//!
//! `GET` checks the request and shows the login or the consent page, or answers at once. Both forms are posted
//! to the same address, whose query carries the request through: nothing is kept between the steps, and each
//! step checks all of it again. A client may post its request too; the browser is then sent to the same by `GET`.

mod advertised;
mod authentication;
mod claims;
mod code;
mod consent;
mod dpop_jkt;
mod error;
mod jarm;
mod login;
mod management;
mod parameters;
mod redirect;
mod request;
pub(super) mod request_object;
mod response_mode;
mod shown;
mod signed;
mod unvouched;
mod visit;

pub(super) use advertised::AuthorizationMetadata;
pub use error::AuthorizeError;
pub use redirect::{ReturnAddress, see_other, with_query};
pub use response_mode::ResponseMode;
pub(in crate::http) use visit::destination;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use url::form_urlencoded;

use self::error::Failure;
use self::parameters::Parameters;
use self::request::{AuthorizationRequest, Target};
use self::visit::{Typed, Visit, refuse};
use crate::app::App;
use crate::domain::authorization_detail::covers;
use crate::domain::consent::Consent;
use crate::domain::redirect_uri;
use crate::domain::refusal::RefusalReason;
use crate::http::context::Origin;
use crate::http::error::{Rejection, TokenError};
use crate::http::form::{Form, FormError, check_content_type};
use crate::http::oauth::{authorization_details, par, rounds};
use crate::http::other_methods;
use crate::http::page::{PageError, Problem};
use crate::http::session::{self, LiveSession};
use crate::ids::SubjectId;
use crate::ledger::{Actor, LedgerError, UnitOfWork};

/// The path, as the trail names it.
pub(in crate::http) const ENDPOINT: &str = "/oauth/authorize";

/// The authorization endpoint.
pub fn routes() -> Router<App> {
    // `HEAD` (RFC 9110 §9.3.2) says what `GET` would answer, which cannot be known without issuing the code.
    Router::new().route(ENDPOINT, get(show).post(submit).head(other_methods))
}

/// What the login form carries on of a query; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn query_in(query: &str) -> Option<String> {
    let parameters = Parameters::parse(query).ok()?;
    Some(parameters.after_login())
}

/// The parameters of a text that has the form of a request object; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn parameters_in_object(text: &str) -> Option<String> {
    request_object::parameters_in(text)
}

/// An authorization request.
async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let visit = match Visit::begin(&app, &origin, &headers, &query.unwrap_or_default()).await {
        Ok(visit) => visit,
        Err(failure) => return refuse_begun(&app, &origin, failure).await,
    };
    let mut unit = app.ledger.unit_of_work(&visit.context);
    match rounds!(unit, answer(&visit, &mut unit)) {
        Ok(response) => response,
        Err(failure) => visit.refuse(failure).await,
    }
}

/// One of our own forms; or, without a query, a request that a client had posted.
async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let read = match query.as_deref().unwrap_or_default() {
        "" => posted_request("authorize", (&headers, body)).map(Posted::Request),
        _ => read_form(&headers, body).map(Posted::Form),
    };
    let form = match read {
        Ok(Posted::Form(form)) => form,
        Ok(Posted::Request(location)) => return see_other(&location),
        Err(rejection) => return refuse_page(&app, &origin, rejection).await,
    };
    let visit = match Visit::begin(&app, &origin, &headers, &query.unwrap_or_default()).await {
        Ok(visit) => visit,
        Err(failure) => return refuse_begun(&app, &origin, failure).await,
    };
    match form.get("step") {
        Some("consent") => consent::submit(&visit, &form).await,
        _ => login::submit(&visit, &form).await,
    }
}

/// What came in a body.
enum Posted {
    Form(Form),
    /// Where the same request goes by `GET`.
    Request(String),
}

/// A request that was posted (RFC 6749 §3.1, OpenID Connect Core §3.1.2.1). It is answered as a link would be, so any
/// site may send it: the login that it meets is the one that a `GET` brings.
pub(in crate::http) fn posted_request(
    page: &str,
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
) -> Result<String, Rejection<PageError>> {
    check_is_form(headers)?;
    let body = read_body(body)?;
    if !body.iter().all(u8::is_ascii_graphic) {
        return Err(Rejection::new(PageError::Malformed, RefusalReason::MalformedBody));
    }
    let mut location = format!("{page}?");
    for byte in &body {
        // What form-encoding leaves can stand in an address (RFC 3986 §3.4); what it would not have left is encoded.
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(byte) {
            location.push((*byte).into());
        } else {
            location.extend(form_urlencoded::byte_serialize(std::slice::from_ref(byte)));
        }
    }
    Ok(location)
}

/// A form's body.
pub(in crate::http) fn read_form(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Form, Rejection<PageError>> {
    check_is_form(headers)?;
    let bytes = read_body(body)?;
    Form::parse_bytes(&bytes)
        .map_err(|_| Rejection::new(PageError::FormMalformed, RefusalReason::MalformedBody))
}

fn check_is_form(headers: &HeaderMap) -> Result<(), Rejection<PageError>> {
    check_content_type(headers).map_err(|error| {
        let reason = match error {
            FormError::Charset => RefusalReason::WrongCharset,
            FormError::ContentType
            | FormError::Duplicate(_)
            | FormError::NotUtf8
            | FormError::Nul
            | FormError::TooMany
            | FormError::NotFlatJson => RefusalReason::WrongContentType,
        };
        Rejection::new(PageError::NotAForm, reason)
    })
}

fn read_body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Rejection<PageError>> {
    body.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Rejection::new(PageError::TooLarge, RefusalReason::BodyTooLarge)
        } else {
            Rejection::new(PageError::Malformed, RefusalReason::MalformedBody)
        }
    })
}

async fn refuse_page(app: &App, origin: &Origin, rejection: Rejection<PageError>) -> Response {
    refuse_begun(app, origin, rejection.into()).await
}

/// Refuses what did not come to a visit.
async fn refuse_begun(app: &App, origin: &Origin, failure: Failure) -> Response {
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    refuse(app, (&context, origin.presentation), failure).await
}

/// Checks a request that is pushed as if a browser had brought it (RFC 9126 §2.1).
pub(super) async fn check_pushed(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &str,
) -> Result<(), Rejection<TokenError>> {
    let parameters = Parameters::parse(parameters).map_err(|rejection| par::retold(&rejection))?;
    let target = request::target(app, unit, &parameters)
        .await
        .map_err(|rejection| par::retold(&rejection))?;
    request::check(app, unit, &parameters, &target)
        .await
        .map(|_| ())
        .map_err(|rejection| par::retold(&rejection))
}

/// One round: the request is checked, then answered as far as it can be without asking.
async fn answer(visit: &Visit, unit: &mut UnitOfWork<'_>) -> Result<Option<Response>, Failure> {
    let (target, request) = visit.checked(unit).await?;
    proceed(visit, unit, &target, &request)
        .await
        .map_err(|rejection| Failure::redirect(&target.back, (target.key, visit.context.subject), rejection))
}

/// A login, a consent, a code: whichever is next. What a page says is confirmed like all else.
async fn proceed(
    visit: &Visit,
    unit: &mut UnitOfWork<'_>,
    target: &Target,
    request: &AuthorizationRequest,
) -> Result<Option<Response>, Rejection<AuthorizeError>> {
    let live = session::find(visit.session.as_ref(), unit).await?;
    // Whoever has just logged in as somebody else is told why the page is there again.
    let other = live
        .as_ref()
        .is_some_and(|live| request.openid.asks_for_another(&visit.app, &live.login));
    let Some(live) = live.filter(|live| !visit.must_log_in(request, live, unit.at())) else {
        if request.prompt.none {
            return Err(Rejection::new(
                AuthorizeError::LoginRequired,
                RefusalReason::LoginRequired,
            ));
        }
        let typed = Typed {
            problem: other.then_some(Problem::OtherAccount),
            ..Typed::default()
        };
        let page = visit.login_page(target, typed)?;
        return Ok(unit.confirm().await?.then_some(page));
    };
    may_use(target, &live)?;
    let consent = unit
        .load::<Consent>(Consent::id(live.login.subject, target.key))
        .await?;
    let subject = live.login.subject;
    if !must_ask(target, request, &consent) && remembers(visit, (target, request), subject, &consent).await? {
        let granting = code::Granting {
            target,
            request,
            live: &live,
            consent: &consent,
            consents_now: false,
        };
        return code::issue(visit, unit, granting).await;
    }
    if request.prompt.none {
        return Err(Rejection::new(
            AuthorizeError::ConsentRequired,
            RefusalReason::ConsentRequired,
        ));
    }
    let page = visit.consent_page((target, request), &live, None).await?;
    Ok(unit.confirm().await?.then_some(page))
}

/// A client in development works for its owner only.
fn may_use(target: &Target, live: &LiveSession) -> Result<(), Rejection<AuthorizeError>> {
    if target.registration.metadata.serves(live.login.subject) {
        return Ok(());
    }
    Err(Rejection::new(
        AuthorizeError::ClientNotLive,
        RefusalReason::ClientNotLive,
    ))
}

/// Whether the user has allowed this client these authorization details before, or more.
async fn remembers(
    visit: &Visit,
    (target, request): (&Target, &AuthorizationRequest),
    subject: SubjectId,
    consent: &Consent,
) -> Result<bool, LedgerError> {
    if request.details.is_empty() {
        return Ok(true);
    }
    if request.details.iter().any(|asked| asked.each_time) {
        return Ok(false);
    }
    let operations = &visit.app.operations;
    let allowed = operations.consented_details(subject, target.key, consent).await?;
    Ok(covers(
        &allowed,
        &authorization_details::details(&request.details),
    ))
}

/// Whether the user must be asked although logged in. A public client on the user's own machine cannot be told
/// from another program that pretends to be it, so its user is always asked (RFC 8252 §8.6).
fn must_ask(target: &Target, request: &AuthorizationRequest, consent: &Consent) -> bool {
    let cannot_be_known =
        target.registration.metadata.is_public() && redirect_uri::is_native(&target.back.redirect_uri);
    let asked = request.prompt.consent || request.prompt.select_account;
    asked || cannot_be_known || !consent.allows(&request.terms(target))
}
