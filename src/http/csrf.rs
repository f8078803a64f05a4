//! Forms that only a page of ours can have sent (cross-site request forgery, RFC 6749 §10.12): each carries a
//! digest, keyed with the master key, of what it is for, whose browser it was made for and which request it
//! answers. Nothing is stored.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cookie::Cookie;
use crate::app::App;
use crate::domain::value::Digest;
use crate::ids::SessionId;
use crate::ledger::LedgerError;

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
}

impl Purpose<'_> {
    /// The token of a form that answers the request `query`.
    #[must_use]
    pub fn token(self, app: &App, query: &str) -> Digest {
        let (label, whose): (&[u8], &[u8]) = match &self {
            Self::Login(mark) => (b"login form", mark.0.as_bytes()),
            Self::Consent(session) => (b"consent form", session.0.as_bytes()),
            Self::Logout(session) => (b"logout form", session.0.as_bytes()),
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
