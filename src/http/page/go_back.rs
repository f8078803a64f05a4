//! The page in place of a redirect to an application that nobody has vouched for (RFC 9700 §4.11.2).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{Forms, Page};
use crate::ids::RequestId;

/// What went wrong, and a link that leads where a redirect would have led.
pub struct GoBackPage<'a> {
    /// The application's address, with the error in it.
    pub location: &'a str,
    /// The same in words.
    pub destination: &'a str,
    /// The error's code and description; none where somebody who is not logged in asked to be logged out.
    pub error: Option<(&'a str, &'a str)>,
    /// Which request.
    pub request: RequestId,
}

impl IntoResponse for GoBackPage<'_> {
    fn into_response(self) -> Response {
        let (status, title, why) = match self.error {
            Some(_) => (
                StatusCode::BAD_REQUEST,
                "This login link does not work",
                "The application that sent you here asked for something that it cannot have.",
            ),
            None => (
                StatusCode::OK,
                "You are logged out",
                "You are not logged in here.",
            ),
        };
        let body = html! {
            h1 { (title) }
            p { (why) " The application that sent you here registered itself: nobody at this server has checked what it is." }
            p { "It wants you to go to " strong { bdi { (self.destination) } } ". Do so only if you know it." }
            p { a href=(self.location) rel="noreferrer noopener" { "Go to " bdi { (self.destination) } } }
            dl {
                @if let Some((code, description)) = self.error {
                    dt { "Error" } dd { code { (code) } }
                    dt { "Description" } dd { (description) }
                }
                dt { "Request" } dd { code { (self.request) } }
            }
        };
        Page {
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
