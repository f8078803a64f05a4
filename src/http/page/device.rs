//! The pages of the device authorization (RFC 8628 §3.3): enter the code, look at who asks for what, done.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::asked::{
    Account, account, actions, cautions, details, image_origin, links, logo, resources, scopes,
};
use super::{Forms, Page, PageError, Presentation, hidden, isolated, notice};
use crate::domain::authorization_detail::ShownDetail;
use crate::domain::client::ClientMetadata;
use crate::domain::scope::Definition;
use crate::domain::value::Digest;
use crate::ids::SessionId;

/// Where the code is entered.
pub struct DeviceCodePage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
    /// What was typed before.
    pub typed: &'a str,
    /// What was wrong with it.
    pub notice: Option<PageError>,
}

impl IntoResponse for DeviceCodePage<'_> {
    fn into_response(self) -> Response {
        let all = self.presentation.texts();
        let texts = &all.device;
        let invalid = self.notice.map(|_| "true");
        let body = html! {
            h1 { (texts.title) }
            p.lead { (texts.lead) }
            (notice(all, self.notice))
            // The same address that a link with the code has; entering it decides nothing.
            form method="get" action="device" {
                label for="user_code" { (texts.code) }
                input #user_code name="user_code" type="text" value=(self.typed) required maxlength="64"
                    autocomplete="off" autocapitalize="characters" spellcheck="false" autofocus
                    aria-describedby="code-hint" aria-invalid=[invalid];
                p.hint #code-hint { (texts.hint) }
                button.primary type="submit" { (all.common.go_on) }
            }
        };
        let mut response = Page {
            presentation: self.presentation,
            status: StatusCode::OK,
            title: all.common.titled(texts.title, self.notice.is_some()),
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
    /// How it is shown.
    pub presentation: Presentation,
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
        let all = self.presentation.texts();
        let (texts, asked) = (&all.device, &all.asked);
        let name = html! { bdi { (client_name) } };
        let (session, token) = &self.session;
        let image = self.client.logo_url.as_deref().and_then(image_origin);
        let body = html! {
            (logo(self.client, image.is_some()))
            h1 { (texts.asks.around(&name)) }
            (notice(all, self.notice))
            (cautions(asked, self.client, self.is_self_registered))
            p #code-label { (texts.must_show) }
            p.user-code aria-labelledby="code-label" { (self.user_code) }
            p.notice { (texts.caution) }
            form method="post" action={ "?" (self.query) } {
                (hidden("answer", token))
                input type="hidden" name="session" value=(session);
                (account(all, self.account))
                (scopes(&texts.can.around(&name), self.scopes))
                (details(asked, &texts.may.around(&name), self.details))
                (resources(asked, self.resources))
                (actions(asked))
            }
            (links(asked, self.client))
        };
        let mut response = Page {
            presentation: self.presentation,
            status: StatusCode::OK,
            title: all
                .common
                .titled(&texts.asks.with(&isolated(client_name)), self.notice.is_some()),
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

/// Says that the answer is given.
#[must_use]
pub fn device_answered(presentation: Presentation, approved: bool) -> Response {
    let texts = &presentation.texts().device;
    let (title, text) = if approved {
        (texts.connected, texts.connected_text)
    } else {
        (texts.denied, texts.denied_text)
    };
    let body = html! {
        h1 { (title) }
        p role="status" { (text) }
    };
    Page {
        presentation,
        status: StatusCode::OK,
        title: title.to_owned(),
        body,
        forms: Forms::None,
        images: None,
    }
    .into_response()
}
