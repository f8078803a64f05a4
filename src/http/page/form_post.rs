//! The page that carries an answer to the client in a form (OAuth 2.0 Form Post Response Mode).

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use super::{Forms, Page, Presentation};
use crate::domain::value::Digest;

/// Presses the button. The only script of all pages; allowed by its hash.
const SCRIPT: &str = "document.forms[0].submit()";

static SCRIPT_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Digest::of(SCRIPT.as_bytes()).0);
    format!("; script-src 'sha256-{hash}'")
});

/// What the page posts, and where to.
pub struct FormPostPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
    /// The client's redirect URI.
    pub redirect_uri: &'a str,
    /// The answer's parameters.
    pub parameters: &'a [(&'a str, &'a str)],
}

impl IntoResponse for FormPostPage<'_> {
    fn into_response(self) -> Response {
        let all = self.presentation.texts();
        let texts = &all.form_post;
        let body = html! {
            h1 { (texts.title) }
            form method="post" action=(self.redirect_uri) {
                (fields(self.parameters.iter().copied()))
                p.lead { (texts.lead) }
                button.primary type="submit" { (all.common.go_on) }
            }
            script { (PreEscaped(SCRIPT)) }
        };
        let mut response = Page {
            presentation: self.presentation,
            status: StatusCode::OK,
            title: texts.title.to_owned(),
            body,
            forms: Forms::ToClient,
            images: None,
        }
        .into_response();
        let headers = response.headers_mut();
        let policy = headers.get(header::CONTENT_SECURITY_POLICY);
        let policy = policy.and_then(|policy| policy.to_str().ok()).unwrap_or_default();
        if let Ok(policy) = HeaderValue::from_str(&format!("{policy}{}", SCRIPT_POLICY.as_str())) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        say_origin(&mut response);
        response
    }
}

/// The parameters of an answer in a form.
pub(super) fn fields<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    html! {
        @for (name, value) in parameters {
            input type="hidden" name=(name) value=(value);
        }
    }
}

/// Under `same-origin` the browser would post with `Origin: null`, which a client may well refuse. This tells it the
/// issuer's origin, which the answer names anyway.
pub(super) fn say_origin(response: &mut Response) {
    let referrer = HeaderValue::from_static("strict-origin");
    response.headers_mut().insert(header::REFERRER_POLICY, referrer);
}
