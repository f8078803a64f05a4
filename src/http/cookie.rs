//! Cookies (RFC 6265): reading them, and the attributes that ours have.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::config::Settings;

/// One of our cookies, by its name without prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub &'static str);

impl Cookie {
    /// The name that browsers see. `__Host-` makes them refuse one that a subdomain or plain HTTP set; it needs
    /// `Secure`, which a server without TLS cannot have.
    #[must_use]
    pub fn name(self, settings: &Settings) -> String {
        let Self(name) = self;
        if is_secure(settings) {
            format!("__Host-{name}")
        } else {
            name.to_owned()
        }
    }

    /// The value that a request brought.
    #[must_use]
    pub fn read<'a>(self, settings: &Settings, headers: &'a HeaderMap) -> Option<&'a str> {
        let wanted = self.name(settings);
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == wanted).then_some(value))
    }

    /// A `Set-Cookie` that lasts until the browser is closed; when a login ends is decided here, not there.
    /// None where `value` has characters that a cookie cannot have.
    #[must_use]
    pub fn set(self, settings: &Settings, value: &str) -> Option<HeaderValue> {
        self.header(settings, value, "")
    }

    /// A `Set-Cookie` that removes it.
    #[must_use]
    pub fn clear(self, settings: &Settings) -> Option<HeaderValue> {
        self.header(settings, "", "; Max-Age=0")
    }

    /// `SameSite=Lax`: an authorization request is a navigation from another site, which must find the login;
    /// a form that another site posts here brings no cookie.
    fn header(self, settings: &Settings, value: &str, lifetime: &str) -> Option<HeaderValue> {
        let secure = if is_secure(settings) { "; Secure" } else { "" };
        let name = self.name(settings);
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{lifetime}"
        ))
        .ok()
    }
}

fn is_secure(settings: &Settings) -> bool {
    settings.issuer.starts_with("https://")
}
