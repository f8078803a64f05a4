//! Forms that only a page of ours can have sent (cross-site request forgery, RFC 6749 §10.12): each carries a
//! digest, keyed with the master key, of what it is for, whose browser it was made for and which request it
//! answers. Nothing is stored.
//!
//! Before that is looked at, what the browser itself says of the form's origin ([`only_our_forms`]).

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::context::Origin;
use super::cookie::Cookie;
use super::error::Rejection;
use super::oauth::authorize;
use super::oidc::end_session;
use super::page::{ErrorPage, PageError};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ids::SessionId;
use crate::ledger::{Actor, LedgerError};

/// Marks a browser before anybody has logged in.
pub const FORM_COOKIE: Cookie = Cookie("grantlog_form");

/// The name of the form field that carries the token.
pub const FIELD: &str = "form_token";

/// The value of [`FORM_COOKIE`].
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserMark(String);

impl BrowserMark {
    /// The mark that a request brought.
    #[must_use]
    pub fn read(app: &App, headers: &HeaderMap) -> Option<Self> {
        let value = FORM_COOKIE.read(&app.settings, headers)?;
        let well_formed = URL_SAFE_NO_PAD.decode(value).is_ok_and(|bytes| bytes.len() == 32);
        well_formed.then(|| Self(value.to_owned()))
    }

    /// A new one.
    pub fn fresh(app: &App) -> Result<Self, LedgerError> {
        let random: [u8; 32] = app.ledger.random().bytes()?;
        Ok(Self(URL_SAFE_NO_PAD.encode(random)))
    }

    /// The cookie's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a form is for, and whose it is.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// To log in from the browser with this mark.
    Login(&'a BrowserMark),
    /// To answer for the user of this session.
    Consent(SessionId),
    /// To end this session.
    Logout(SessionId),
    /// To answer for a device in this session (RFC 8628 §3.3).
    Device(SessionId),
    /// To set another password in this session.
    Password(SessionId),
    /// To end something of the account that this session is of.
    Account(SessionId),
}

impl Purpose<'_> {
    /// The token of a form that answers the request `query`; whatever else it must carry unchanged is part of that.
    #[must_use]
    pub fn token(self, app: &App, query: &str) -> Digest {
        let (label, whose): (&[u8], &[u8]) = match &self {
            Self::Login(mark) => (b"login form", mark.0.as_bytes()),
            Self::Consent(session) => (b"consent form", session.0.as_bytes()),
            Self::Logout(session) => (b"logout form", session.0.as_bytes()),
            Self::Device(session) => (b"device form", session.0.as_bytes()),
            Self::Password(session) => (b"password form", session.0.as_bytes()),
            Self::Account(session) => (b"account form", session.0.as_bytes()),
        };
        let master = app.ledger.vault().master();
        master.form_token(&[label, whose, query.as_bytes()])
    }

    /// Whether `presented` is that token; compared in constant time.
    #[must_use]
    pub fn verify(self, app: &App, query: &str, presented: Option<&str>) -> bool {
        presented
            .and_then(Digest::from_hex)
            .is_some_and(|presented| presented.matches(&self.token(app, query)))
    }
}

/// Whether a client posts its authorization request (OpenID Connect Core §3.1.2.1) or its logout request (RP-Initiated
/// Logout §2): our own forms have the request in their address. It does no more than a link.
fn is_clients_request(uri: &Uri) -> bool {
    [authorize::ENDPOINT, end_session::PATH].contains(&uri.path())
        && uri.query().unwrap_or_default().is_empty()
}

/// Refuses a form that the browser says was sent by another site's page (the `Origin` header of RFC 6454, and
/// `Sec-Fetch-Site` of Fetch Metadata). A browser that says nothing is left to the form's token.
pub async fn only_our_forms(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    request: Request,
    next: Next,
) -> Response {
    let posted = request.method() == Method::POST && !is_clients_request(request.uri());
    if !posted || !is_foreign(&app.settings.issuer, request.headers()) {
        return next.run(request).await;
    }
    let context = origin.context(endpoint(request.uri().path()), Actor::Anonymous);
    let rejection = Rejection::new(PageError::ForeignForm, RefusalReason::CrossSiteForm);
    if let Some(refused) = rejection.refused() {
        app.ledger.record_refusal(&context, refused).await;
    }
    ErrorPage {
        presentation: origin.presentation,
        error: rejection.error,
        request: context.request,
    }
    .into_response()
}

/// Whether the headers name another origin. `Origin: null` is nobody's in particular: with it, the browser must say
/// that the form came from here.
fn is_foreign(issuer: &str, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text("sec-fetch-site");
    if site == Some("cross-site") {
        return true;
    }
    match text(header::ORIGIN.as_str()) {
        None => false,
        Some("null") => site != Some("same-origin"),
        Some(origin) => !is_ours(issuer, origin, text(header::HOST.as_str())),
    }
}

/// Whether an origin is the issuer's, or the one that the request was sent to: behind a name that is not the
/// issuer's (`localhost` for 127.0.0.1) our pages are still ours, and no other site's page can choose both.
fn is_ours(issuer: &str, origin: &str, host: Option<&str>) -> bool {
    let issuers = url::Url::parse(issuer).map(|url| url.origin().ascii_serialization());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    issuers.is_ok_and(|issuers| issuers == origin) || (authority.is_some() && authority == host)
}

/// The path, as the trail names it.
fn endpoint(path: &str) -> &'static str {
    [
        "/oauth/authorize",
        "/oauth/device",
        "/logout",
        end_session::PATH,
        "/account",
        "/account/applications",
        "/account/password",
        "/account/sessions",
    ]
    .into_iter()
    .find(|known| *known == path)
    .unwrap_or("page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_foreign_where_the_browser_says_so() {
        let ours = "https://id.example";
        for (origin, site, host, foreign) in [
            (None, None, None, false),
            (Some(ours), None, None, false),
            (Some(ours), Some("same-origin"), None, false),
            (Some(ours), Some("cross-site"), None, true),
            (None, Some("cross-site"), None, true),
            (None, Some("none"), None, false),
            (Some("https://evil.example"), None, Some("id.example"), true),
            (Some("https://sub.id.example"), Some("same-site"), None, true),
            (Some("http://id.example"), None, Some("other.example"), true),
            (Some("https://id.example:444"), None, Some("id.example"), true),
            (Some("http://localhost:8480"), None, Some("localhost:8480"), false),
            (Some("null"), None, None, true),
            (Some("null"), Some("same-origin"), None, false),
            (Some("null"), Some("cross-site"), None, true),
            (Some(""), None, None, true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("origin", origin), ("sec-fetch-site", site), ("host", host)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(
                is_foreign(&format!("{ours}/base"), &headers),
                foreign,
                "{headers:?}"
            );
        }
    }
}
