//! The page in place of a redirect to an application that nobody has vouched for (RFC 9700 §4.11.2).

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::form_post::{fields, say_origin};
use super::{Destination, Forms, Page, Presentation};
use crate::ids::RequestId;

/// Where the reader may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// By a link.
    Link(String),
    /// By a form that is posted.
    Form {
        /// Where to.
        redirect_uri: String,
        /// What is in it.
        parameters: Vec<(String, String)>,
    },
}

/// What went wrong, and a link or a button that leads where the reader would have been sent.
pub struct GoBackPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
    /// To the application, with the error.
    pub way: &'a WayBack,
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
        let go = texts.go.around(&html! { bdi { (destination) } });
        let body = html! {
            h1 { (title) }
            p { (why) " " (texts.unvouched) }
            p { (texts.wants.around(&html! { strong { bdi { (destination) } } })) }
            @match self.way {
                WayBack::Link(location) => p { a href=(location) rel="noreferrer noopener" { (go) } },
                WayBack::Form { redirect_uri, parameters } => form method="post" action=(redirect_uri) {
                    (fields(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
                    button type="submit" { (go) }
                },
            }
            dl {
                @if let Some((code, description)) = self.error {
                    dt { (common.error) } dd { code { (code) } }
                    dt { (common.description) } dd lang=[self.presentation.english()] { (description) }
                }
                dt { (common.request) } dd { code { (self.request) } }
            }
        };
        let posts = matches!(self.way, WayBack::Form { .. });
        let mut response = Page {
            presentation: self.presentation,
            status,
            title: title.to_owned(),
            body,
            forms: if posts { Forms::ToClient } else { Forms::None },
            images: None,
        }
        .into_response();
        if posts {
            say_origin(&mut response);
        }
        response
    }
}
