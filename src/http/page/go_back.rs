//! The page in place of a redirect to an application that nobody has vouched for (RFC 9700 §4.11.2).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{Destination, Forms, Page, Presentation};
use crate::ids::RequestId;

/// What went wrong, and a link that leads where a redirect would have led.
pub struct GoBackPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
    /// The application's address, with the error in it.
    pub location: &'a str,
    /// The same in words.
    pub destination: &'a Destination,
    /// The error's code and description; none where somebody who is not logged in asked to be logged out.
    pub error: Option<(&'a str, &'a str)>,
    /// Which request.
    pub request: RequestId,
}

impl IntoResponse for GoBackPage<'_> {
    fn into_response(self) -> Response {
        let all = self.presentation.texts();
        let (texts, common) = (&all.go_back, &all.common);
        let destination = self.destination.words(&all.asked);
        let (status, title, why) = match self.error {
            Some(_) => (
                StatusCode::BAD_REQUEST,
                all.error_titles.login_link,
                texts.cannot_have,
            ),
            None => (StatusCode::OK, common.logged_out, texts.not_logged_in),
        };
        let body = html! {
            h1 { (title) }
            p { (why) " " (texts.unvouched) }
            p { (texts.wants.around(&html! { strong { bdi { (destination) } } })) }
            p { a href=(self.location) rel="noreferrer noopener" { (texts.go.around(&html! { bdi { (destination) } })) } }
            dl {
                @if let Some((code, description)) = self.error {
                    dt { (common.error) } dd { code { (code) } }
                    dt { (common.description) } dd lang=[self.presentation.english()] { (description) }
                }
                dt { (common.request) } dd { code { (self.request) } }
            }
        };
        Page {
            presentation: self.presentation,
            status,
            title: title.to_owned(),
            body,
            forms: Forms::None,
            images: None,
        }
        .into_response()
    }
}

/// Takes from a page that posts itself the permission to: its reader presses the button, or does not.
pub fn without_script(response: &mut Response) {
    let headers = response.headers_mut();
    let policy = headers.get(header::CONTENT_SECURITY_POLICY);
    let policy = policy.and_then(|policy| policy.to_str().ok()).unwrap_or_default();
    let kept: Vec<&str> = policy
        .split("; ")
        .filter(|directive| !directive.starts_with("script-src"))
        .collect();
    if let Ok(policy) = HeaderValue::from_str(&kept.join("; ")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}
