//! How a page is presented to its reader: in which language, and for what kind of window (OpenID Connect Core §3.1.2.1,
//! `ui_locales` and `display`; RFC 9110 §12.5.4, `Accept-Language`).

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use url::form_urlencoded;

use super::Language;
use super::text::Texts;
use crate::app::App;
use crate::http::context::Origin;
use crate::http::oauth::authorize;
use crate::http::oidc::end_session;

/// How one page is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// Its language.
    pub language: Language,
    /// Its form.
    pub display: Display,
    /// Whether the application said nothing of the language, so that the browser was asked.
    is_browsers: bool,
}

/// The `display` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// A full window.
    #[default]
    Page,
    /// A small window of the application's.
    Popup,
    /// A device that is touched.
    Touch,
}

impl Display {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Page, Self::Popup, Self::Touch];

    /// The wire name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Popup => "popup",
            Self::Touch => "touch",
        }
    }

    /// The form of that name. One that is not known is that of a full window: the parameter is about looks, and no
    /// reason to refuse a login. So is `wap`: those telephones can show the full page, which needs no script.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|display| display.name() == name).unwrap_or_default()
    }
}

impl Presentation {
    /// For a reader of whom the browser alone speaks.
    #[must_use]
    pub fn of_browser(headers: &HeaderMap, default: Language) -> Self {
        let lines: Vec<&str> = headers
            .get_all(header::ACCEPT_LANGUAGE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .collect();
        Self {
            language: Language::accepted(&lines.join(","), default).unwrap_or(default),
            display: Display::Page,
            is_browsers: true,
        }
    }

    /// The same, with what the application asks for.
    #[must_use]
    pub fn asked(self, ui_locales: Option<&str>, display: Option<&str>) -> Self {
        let requested = ui_locales.and_then(Language::requested);
        Self {
            language: requested.unwrap_or(self.language),
            display: display.map(Display::named).unwrap_or_default(),
            is_browsers: requested.is_none(),
        }
    }

    /// Whether another browser might have got the page in another language.
    pub(super) fn varies(self) -> bool {
        self.is_browsers
    }

    /// What the page's texts are.
    pub(super) fn texts(self) -> &'static Texts {
        self.language.texts()
    }

    /// The language of what is written in English only, where the page is not.
    pub(super) fn english(self) -> Option<&'static str> {
        (self.language != Language::English).then(|| Language::English.tag())
    }
}

/// Finds out how a page is presented before anything else is known of its request, so that errors are, too. What a pushed
/// or signed request says is known once that is read.
pub async fn present(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let browser = Presentation::of_browser(request.headers(), app.settings.default_language);
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let presentation = match uri.path() {
        authorize::ENDPOINT => browser.asked(
            parameter(query, "ui_locales").as_deref(),
            parameter(query, "display").as_deref(),
        ),
        end_session::PATH => browser.asked(parameter(query, "ui_locales").as_deref(), None),
        _ => browser,
    };
    if let Some(origin) = request.extensions_mut().get_mut::<Origin>() {
        origin.presentation = presentation;
    }
    next.run(request).await
}

/// A parameter of a query that may be anything.
fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_the_application_asks_for_goes_before_what_the_browser_says() {
        let headers = |lines: &[&[u8]]| -> HeaderMap {
            let line = |bytes: &&[u8]| (header::ACCEPT_LANGUAGE, HeaderValue::from_bytes(bytes).unwrap());
            let mut headers = HeaderMap::new();
            for (name, value) in lines.iter().map(line) {
                headers.append(name, value);
            }
            headers
        };
        let french = Presentation::of_browser(&headers(&[b"nl", b"fr;q=0.5", b"\xff"]), Language::German);
        assert_eq!((french.language, french.varies()), (Language::French, true));
        let german = french.asked(Some("xx de"), Some("popup"));
        assert_eq!((german.language, german.varies()), (Language::German, false));
        assert_eq!(german.display, Display::Popup);
        // None of ours: the browser is asked after all.
        assert_eq!(french.asked(Some("xx"), Some("wap")), french);
        let unknown = Presentation::of_browser(&headers(&[b"nl"]), Language::German);
        assert_eq!((unknown.language, unknown.varies()), (Language::German, true));
    }
}
