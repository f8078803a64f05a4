//! The pages that people see: rendered here, usable without JavaScript, the same for a screen reader as for
//! everybody else, and under a policy that lets nothing else in.

mod account;
mod asked;
mod consent;
mod device;
mod error;
mod form_post;
mod go_back;
mod language;
mod login;
mod logout;
mod password;
mod presentation;
mod text;

pub use account::{ApplicationsPage, SessionsPage, account};
pub use asked::{Account, Destination};
pub use consent::{ConsentPage, Lost};
pub use device::{DeviceAnswerPage, DeviceCodePage, device_answered};
pub use error::{ErrorPage, PageError};
pub use form_post::FormPostPage;
pub use go_back::{GoBackPage, WayBack};
pub use language::Language;
pub use login::{LoginPage, Problem};
pub use logout::{logged_out, logout};
pub use password::{PasswordPage, PasswordProblem, password_changed};
pub use presentation::{Display, Presentation, present};

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::text::Texts;
use crate::domain::value::{Digest, steers};

/// The one stylesheet; in the page itself, allowed by its hash.
const STYLE: &str = include_str!("style.css");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Digest::of(STYLE.as_bytes()).0));

/// Where a page's forms may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forms {
    /// The page has none.
    None,
    /// They are answered by this server.
    Here,
    /// Their answer may be a redirect to a client.
    ///
    /// Browsers apply `form-action` to every redirect that follows a form post, also to those that the client's
    /// callback makes: naming the redirect URI's origin would break each client that goes on to another origin,
    /// and an IPv6 loopback address cannot be named at all. So these pages have no `form-action`. What it
    /// guards against, a form smuggled into the page, is left to the escaping of all that pages show.
    ToClient,
}

/// A page about to be sent.
pub struct Page {
    /// How.
    pub presentation: Presentation,
    /// The status.
    pub status: StatusCode,
    /// The title, which a screen reader says first.
    pub title: String,
    /// What is in `main`.
    pub body: Markup,
    /// Where its forms may lead.
    pub forms: Forms,
    /// The one origin, besides none, that an image may come from.
    pub images: Option<String>,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let presentation = self.presentation;
        let display = Some(presentation.display).filter(|display| *display != Display::Page);
        let markup = html! {
            (DOCTYPE)
            html lang=(presentation.language.tag()) data-display=[display.map(Display::name)] {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body { main { (self.body) } }
            }
        };
        let mut response = (self.status, Html(markup.into_string())).into_response();
        protect(&mut response);
        let language = HeaderValue::from_static(presentation.language.tag());
        response.headers_mut().insert(header::CONTENT_LANGUAGE, language);
        if presentation.varies() {
            let browser = HeaderValue::from_static("Accept-Language");
            response.headers_mut().append(header::VARY, browser);
        }
        if let Ok(policy) = HeaderValue::from_str(&policy(self.forms, self.images.as_deref())) {
            response
                .headers_mut()
                .insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

fn policy(forms: Forms, images: Option<&str>) -> String {
    let images = images
        .map(|origin| format!("; img-src {origin}"))
        .unwrap_or_default();
    let forms = match forms {
        Forms::None => "; form-action 'none'",
        Forms::Here => "; form-action 'self'",
        Forms::ToClient => "",
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'{images}; base-uri 'none'; frame-ancestors 'none'{forms}",
        STYLE_HASH.as_str()
    )
}

/// The headers that every answer to a browser has: not framed, not sniffed, not stored, and its address, which
/// carries the request's parameters, not told to the next site. (`same-origin` rather than `no-referrer`: under that
/// browsers send our own forms with `Origin: null`, which could be anybody's.)
pub fn protect(response: &mut Response) {
    crate::http::error::no_store(response);
    let headers = response.headers_mut();
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
}

/// Adds a `Set-Cookie`.
pub fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// A form's hidden fields: which form it is, and the proof that it is ours.
fn hidden(step: &str, token: &impl std::fmt::Display) -> Markup {
    html! {
        input type="hidden" name="step" value=(step);
        input type="hidden" name=(crate::http::csrf::FIELD) value=(token);
    }
}

/// What went wrong before this page, where the page itself is the way on.
fn notice(texts: &Texts, error: Option<PageError>) -> Markup {
    html! {
        @if let Some(error) = error {
            div.notice role="alert" { p { (error.text(&texts.errors)) } }
        }
    }
}

/// What others wrote, for where no element can isolate it (a title, an attribute): without the characters that steer
/// the direction of writing, and between those that isolate it.
fn isolated(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !steers(*c)).collect();
    format!("\u{2068}{plain}\u{2069}")
}

/// The first letter of a client's name, as a mark beside it.
fn monogram(name: &str) -> Markup {
    let letter = name.chars().find(|c| c.is_alphanumeric()).unwrap_or('?');
    html! { div.monogram aria-hidden="true" { (letter.to_uppercase()) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_an_earlier_build_is_shown_without_what_steers_it() {
        assert_eq!(isolated("Safe\u{202e}knaB\u{2069}\n"), "\u{2068}SafeknaB\u{2069}");
        assert_eq!(isolated("\u{5d0} Bank"), "\u{2068}\u{5d0} Bank\u{2069}");
    }
}
