//! The pages of the device authorization (RFC 8628 §3.3): enter the code, look at who asks for what, done.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::asked::{
    Account, account, actions, cautions, details, image_origin, links, logo, resources, scopes,
};
use super::{Forms, Page, PageError, hidden, isolated, notice};
use crate::domain::authorization_detail::ShownDetail;
use crate::domain::client::ClientMetadata;
use crate::domain::scope::Definition;
use crate::domain::value::Digest;
use crate::ids::SessionId;

/// Where the code is entered.
pub struct DeviceCodePage<'a> {
    /// What was typed before.
    pub typed: &'a str,
    /// What was wrong with it.
    pub notice: Option<PageError>,
}

impl IntoResponse for DeviceCodePage<'_> {
    fn into_response(self) -> Response {
        let invalid = self.notice.map(|_| "true");
        let body = html! {
            h1 { "Connect a device" }
            p.lead { "Enter the code that your device shows." }
            (notice(self.notice))
            // The same address that a link with the code has; entering it decides nothing.
            form method="get" action="device" {
                label for="user_code" { "Code" }
                input #user_code name="user_code" type="text" value=(self.typed) required maxlength="64"
                    autocomplete="off" autocapitalize="characters" spellcheck="false" autofocus
                    aria-describedby="code-hint" aria-invalid=[invalid];
                p.hint #code-hint { "Eight letters. Capitals and the hyphen make no difference." }
                button.primary type="submit" { "Continue" }
            }
        };
        let mut response = Page {
            status: StatusCode::OK,
            title: "Connect a device".to_owned(),
            body,
            forms: Forms::Here,
            images: None,
        }
        .into_response();
        if let Some(error) = self.notice {
            error.mark(&mut response);
        }
        response
    }
}

/// Where the user says yes or no.
pub struct DeviceAnswerPage<'a> {
    /// The application on the device.
    pub client: &'a ClientMetadata,
    /// What it asks for.
    pub scopes: &'a [Definition],
    /// The resource servers that it names (RFC 8707).
    pub resources: &'a [String],
    /// What it asks for besides (RFC 9396).
    pub details: &'a [ShownDetail],
    /// Whether it registered itself.
    pub is_self_registered: bool,
    /// Who is asked.
    pub account: &'a Account,
    /// The code that the device must show, too.
    pub user_code: &'a str,
    /// The page's query, which the form carries on.
    pub query: &'a str,
    /// The session that the form was made for, and the proof that it was.
    pub session: (SessionId, Digest),
    /// What went wrong before.
    pub notice: Option<PageError>,
}

impl IntoResponse for DeviceAnswerPage<'_> {
    fn into_response(self) -> Response {
        let client_name = self.client.client_name.as_str();
        let (session, token) = &self.session;
        let image = self.client.logo_url.as_deref().and_then(image_origin);
        let body = html! {
            (logo(self.client, image.is_some()))
            h1 { bdi { (client_name) } " on another device asks for access" }
            (notice(self.notice))
            (cautions(self.client, self.is_self_registered))
            p #code-label { "Your device must show this code:" }
            p.user-code aria-labelledby="code-label" { (self.user_code) }
            p.notice {
                "Approve only if you have just started this yourself, on a device that you have before you. If somebody sent you the code or a link with it, deny: whoever holds that device would get into your account."
            }
            form method="post" action={ "?" (self.query) } {
                (hidden("answer", token))
                input type="hidden" name="session" value=(session);
                (account(self.account))
                (scopes(&can(client_name), self.scopes))
                (details(&may(client_name), self.details))
                (resources(self.resources))
                (actions())
            }
            (links(self.client))
        };
        let mut response = Page {
            status: StatusCode::OK,
            title: format!("{} on another device asks for access", isolated(client_name)),
            body,
            forms: Forms::Here,
            images: image,
        }
        .into_response();
        if let Some(error) = self.notice {
            error.mark(&mut response);
        }
        response
    }
}

fn can(client_name: &str) -> Markup {
    html! { "If you approve, " bdi { (client_name) } " on that device can:" }
}

fn may(client_name: &str) -> Markup {
    html! { "If you approve, you allow " bdi { (client_name) } " on that device this:" }
}

/// Says that the answer is given.
#[must_use]
pub fn device_answered(approved: bool) -> Response {
    let (title, text) = if approved {
        (
            "The device is connected",
            "Go back to your device: it goes on by itself within a few seconds. You can close this page.",
        )
    } else {
        (
            "The device was denied",
            "It gets no access to your account. You can close this page.",
        )
    };
    let body = html! {
        h1 { (title) }
        p role="status" { (text) }
    };
    Page {
        status: StatusCode::OK,
        title: title.to_owned(),
        body,
        forms: Forms::None,
        images: None,
    }
    .into_response()
}
