//! The way back to the client: its redirect URI with our parameters appended, or in a form (RFC 6749 §4.1.2,
//! RFC 9207).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::error::AuthorizeError;
use super::jarm;
use super::response_mode::{Carrier, ResponseMode};
use crate::app::App;
use crate::domain::client::IdTokenAlgorithm;
use crate::http::error::WireError;
use crate::http::page::{self, FormPostPage, Presentation, WayBack};

/// Where answers to one request go. Made only of a redirect URI that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnAddress {
    /// The redirect URI as requested, which is as registered but for a loopback port.
    pub redirect_uri: String,
    /// The `state` parameter, returned unchanged.
    pub state: Option<String>,
    /// Who answers (RFC 9207), so that a client of several servers cannot be confused.
    pub issuer: String,
    /// How the answer gets there.
    pub mode: ResponseMode,
    /// The client: the audience of a signed answer.
    pub client_id: String,
    /// What a signed answer is signed with.
    pub algorithm: IdTokenAlgorithm,
}

impl ReturnAddress {
    /// The successful answer (RFC 6749 §4.1.2).
    #[must_use]
    pub fn code(&self, app: &App, presentation: Presentation, code: &str) -> Response {
        self.answer(app, presentation, &[("code", code)])
    }

    /// The refusal (RFC 6749 §4.1.2.1).
    #[must_use]
    pub fn error(&self, app: &App, presentation: Presentation, error: AuthorizeError) -> Response {
        self.answer(app, presentation, &in_parameters(error))
    }

    /// Where the refusal would have gone, for a page that asks first; none where it cannot be signed.
    #[must_use]
    pub fn way_of_error(&self, app: &App, error: AuthorizeError) -> Option<WayBack> {
        self.signed(app, &in_parameters(error), |parameters| {
            match self.mode.carrier() {
                Carrier::Form => WayBack::Form {
                    redirect_uri: self.redirect_uri.clone(),
                    parameters: parameters
                        .iter()
                        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                        .collect(),
                },
                Carrier::Query | Carrier::Fragment => WayBack::Link(self.location(parameters)),
            }
        })
    }

    fn answer(&self, app: &App, presentation: Presentation, parameters: &[(&str, &str)]) -> Response {
        let answer = self.signed(app, parameters, |parameters| self.carry(presentation, parameters));
        // Nothing that could be sent would be what the client asked for.
        answer.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }

    /// What goes with all parameters, or with one that is all of them signed, as the client asked; none where that fails.
    fn signed<T>(
        &self,
        app: &App,
        parameters: &[(&str, &str)],
        carry: impl FnOnce(&[(&str, &str)]) -> T,
    ) -> Option<T> {
        let all = self.with_state(parameters);
        if !self.mode.is_signed() {
            return Some(carry(&all));
        }
        let signed = jarm::sign(app, self, &all).ok()?;
        Some(carry(&[(jarm::PARAMETER, &signed)]))
    }

    fn with_state<'a>(&'a self, parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let state = self.state.as_deref().map(|state| ("state", state));
        let mut all = parameters.to_vec();
        all.extend(state);
        all.push(("iss", &self.issuer));
        all
    }

    fn carry(&self, presentation: Presentation, parameters: &[(&str, &str)]) -> Response {
        match self.mode.carrier() {
            Carrier::Form => FormPostPage {
                presentation,
                redirect_uri: &self.redirect_uri,
                parameters,
            }
            .into_response(),
            Carrier::Query | Carrier::Fragment => see_other(&self.location(parameters)),
        }
    }

    /// Appends to the text, so that nothing of the registered URI is normalised and a query that it has is kept
    /// (RFC 6749 §3.1.2).
    fn location(&self, parameters: &[(&str, &str)]) -> String {
        match self.mode.carrier() {
            // No registered redirect URI has a fragment.
            Carrier::Fragment => format!("{}#{}", self.redirect_uri, encoded(parameters)),
            Carrier::Form | Carrier::Query => with_query(&self.redirect_uri, parameters),
        }
    }
}

fn in_parameters(error: AuthorizeError) -> [(&'static str, &'static str); 2] {
    [
        ("error", error.code()),
        ("error_description", error.description()),
    ]
}

/// A URI with parameters appended to its text. One that it has already is replaced: none is there twice (RFC 6749 §3.1).
/// Such a URI is not registered any more.
#[must_use]
pub fn with_query(uri: &str, parameters: &[(&str, &str)]) -> String {
    let Some((path, existing)) = uri.split_once('?') else {
        return format!("{uri}?{}", encoded(parameters));
    };
    let is_ours = |pair: &&str| {
        let name = form_urlencoded::parse(pair.as_bytes()).next();
        name.is_some_and(|(name, _)| parameters.iter().any(|(ours, _)| *ours == name))
    };
    let kept: Vec<&str> = existing.split('&').filter(|pair| !is_ours(pair)).collect();
    let kept = kept.join("&");
    let separator = if kept.is_empty() || kept.ends_with('&') {
        ""
    } else {
        "&"
    };
    format!("{path}?{kept}{separator}{}", encoded(parameters))
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    query.finish()
}

/// 303, so that no browser repeats a password at the other end (RFC 9700 §4.12). It carries no referrer: this
/// page's address has the request's parameters.
#[must_use]
pub fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    page::protect(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(redirect_uri: &str, state: Option<&str>) -> String {
        let back = ReturnAddress {
            redirect_uri: redirect_uri.to_owned(),
            state: state.map(str::to_owned),
            issuer: "https://id.example".to_owned(),
            mode: ResponseMode::Query,
            client_id: "c".to_owned(),
            algorithm: IdTokenAlgorithm::default(),
        };
        back.carry(Presentation::default(), &back.with_state(&[("code", "c")]))
            .headers()[header::LOCATION]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_query_that_the_redirect_uri_has_is_kept() {
        let tail = "code=c&iss=https%3A%2F%2Fid.example";
        for (uri, expected) in [
            ("https://a.example/cb", format!("https://a.example/cb?{tail}")),
            ("https://a.example/cb?", format!("https://a.example/cb?{tail}")),
            (
                "https://a.example/cb?x=1",
                format!("https://a.example/cb?x=1&{tail}"),
            ),
            (
                "https://a.example/cb?x=1&",
                format!("https://a.example/cb?x=1&{tail}"),
            ),
            (
                "https://a.example/cb?%63ode=old&x=1&iss=evil",
                format!("https://a.example/cb?x=1&{tail}"),
            ),
            (
                "https://a.example/cb?iss=evil",
                format!("https://a.example/cb?{tail}"),
            ),
            ("com.example.app:/cb", format!("com.example.app:/cb?{tail}")),
        ] {
            assert_eq!(location(uri, None), expected, "{uri}");
        }
    }

    #[test]
    fn state_cannot_break_out_of_its_parameter() {
        let location = location("https://a.example/cb", Some("a&code=evil#\r\nä +"));
        assert!(
            location.contains("&state=a%26code%3Devil%23%0D%0A%C3%A4+%2B&"),
            "{location}"
        );
    }
}
