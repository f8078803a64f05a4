//! The pages of the end of a login.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{Account, Forms, Page, PageError, Presentation, hidden, notice};
use crate::domain::value::Digest;

/// Asks whether to log out: a link from anywhere must not do it by itself.
#[must_use]
pub fn logout(
    presentation: Presentation,
    account: &Account,
    token: &Digest,
    (asked_by, error): (Option<&str>, Option<PageError>),
) -> Response {
    let all = presentation.texts();
    let (texts, common) = (&all.logout, &all.common);
    let body = html! {
        h1 { (texts.question) }
        (notice(all, error))
        @if let Some(application) = asked_by {
            p { (texts.asks.around(&html! { strong { bdi { (application) } } })) }
        }
        p { (texts.logged_in_as.around(&html! { strong { bdi { (account.username) } } })) }
        // No action: the form is sent to this page's own address.
        form method="post" {
            (hidden("logout", token))
            button.primary type="submit" { (common.log_out) }
        }
        p.note { a href="account" { (common.your_account) } " · " a href="account/password" { (common.change_password) } }
    };
    let mut response = Page {
        presentation,
        status: StatusCode::OK,
        title: common.titled(texts.question, error.is_some()),
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
pub fn logged_out(presentation: Presentation) -> Response {
    let texts = presentation.texts();
    let body = html! {
        h1 { (texts.common.logged_out) }
        p { (texts.logout.done_text) }
    };
    Page {
        presentation,
        status: StatusCode::OK,
        title: texts.common.logged_out.to_owned(),
        body,
        forms: Forms::None,
        images: None,
    }
    .into_response()
}
