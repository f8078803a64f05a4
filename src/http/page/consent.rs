//! The consent page: who asks, for what, of which account.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::{Forms, Page, PageError, hidden, monogram, notice};
use crate::domain::client::ClientMetadata;
use crate::domain::scope::Definition;
use crate::domain::value::Digest;
use crate::ids::SessionId;

/// The account that is logged in, in words that its owner knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
}

/// What the consent page shows.
pub struct ConsentPage<'a> {
    /// The application that asks.
    pub client: &'a ClientMetadata,
    /// Where the answer goes: a host, or a scheme of the user's own machine.
    pub destination: &'a str,
    /// What it asks for.
    pub scopes: &'a [Definition],
    /// Who is asked.
    pub account: &'a Account,
    /// The authorization request's query, which the form carries on.
    pub query: &'a str,
    /// The session that the form was made for, and the proof that it was.
    pub session: (SessionId, Digest),
    /// What went wrong before.
    pub notice: Option<PageError>,
}

impl IntoResponse for ConsentPage<'_> {
    fn into_response(self) -> Response {
        let client_name = self.client.client_name.as_str();
        let (session, token) = &self.session;
        let body = html! {
            (monogram(client_name))
            h1 { bdi { (client_name) } " asks for access" }
            (notice(self.notice))
            form method="post" action={ "?" (self.query) } {
                (hidden("consent", token))
                input type="hidden" name="session" value=(session);
                (account(self.account))
                h2 #scopes { "If you approve, " bdi { (client_name) } " can:" }
                ul.scopes role="list" aria-labelledby="scopes" {
                    @for scope in self.scopes {
                        li { span { (scope.description) } " " code { (scope.name) } }
                    }
                }
                p.note { "You then return to " strong { bdi { (self.destination) } } "." }
                div.actions {
                    button.primary type="submit" name="decision" value="approve" { "Approve" }
                    button type="submit" name="decision" value="deny" { "Deny" }
                }
            }
            (links(self.client))
        };
        let mut response = Page {
            status: StatusCode::OK,
            title: format!("{client_name} asks for access"),
            body,
            forms: Forms::ToClient,
        }
        .into_response();
        if let Some(error) = self.notice {
            error.mark(&mut response);
        }
        response
    }
}

fn account(account: &Account) -> Markup {
    html! {
        div.account {
            p {
                "Logged in as "
                strong { bdi { (account.username) } }
                @if let Some(name) = &account.name { " (" bdi { (name) } ")" }
            }
            p {
                "Not you? "
                button.link type="submit" name="decision" value="switch" { "Use another account" }
            }
        }
    }
}

/// Registration lets only http and https URLs in, so none of these can be a script.
fn links(client: &ClientMetadata) -> Markup {
    let links = [
        ("Home page", &client.home_page_url),
        ("Privacy policy", &client.privacy_policy_url),
    ];
    html! {
        @if links.iter().any(|(_, url)| url.is_some()) {
            ul.links role="list" aria-label={ "About " (client.client_name) } {
                @for (label, url) in links {
                    @if let Some(url) = url {
                        li { a href=(url) target="_blank" rel="noreferrer noopener" { (label) " (opens a new tab)" } }
                    }
                }
            }
        }
    }
}
