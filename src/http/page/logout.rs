//! The pages of the end of a login.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{Account, Forms, Page, PageError, hidden, notice};
use crate::domain::value::Digest;

/// Asks whether to log out: a link from anywhere must not do it by itself.
#[must_use]
pub fn logout(
    account: &Account,
    token: &Digest,
    (asked_by, error): (Option<&str>, Option<PageError>),
) -> Response {
    let body = html! {
        h1 { "Log out?" }
        (notice(error))
        @if let Some(application) = asked_by {
            p { strong { bdi { (application) } } " asks to log you out here." }
        }
        p { "You are logged in as " strong { bdi { (account.username) } } "." }
        // No action: the form is sent to this page's own address.
        form method="post" {
            (hidden("logout", token))
            button.primary type="submit" { "Log out" }
        }
        p.note { a href="account" { "Your account" } " · " a href="account/password" { "Change your password" } }
    };
    let mut response = Page {
        status: StatusCode::OK,
        title: "Log out?".to_owned(),
        body,
        // An application that asks may want the browser back.
        forms: if asked_by.is_some() {
            Forms::ToClient
        } else {
            Forms::Here
        },
        images: None,
    }
    .into_response();
    if let Some(error) = error {
        error.mark(&mut response);
    }
    response
}

/// Says that nobody is logged in.
#[must_use]
pub fn logged_out() -> Response {
    let body = html! {
        h1 { "You are logged out" }
        p { "Applications that may act while you are away keep that access until it ends or you take it back." }
    };
    Page {
        status: StatusCode::OK,
        title: "You are logged out".to_owned(),
        body,
        forms: Forms::None,
        images: None,
    }
    .into_response()
}
