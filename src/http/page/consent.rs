//! The consent page: who asks, for what, of which account.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use url::{Host, Url};

use super::{Forms, Page, PageError, hidden, isolated, monogram, notice};
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
    /// The resource servers that it names (RFC 8707).
    pub resources: &'a [String],
    /// Who is asked.
    pub account: &'a Account,
    /// The authorization request's query, which the form carries on.
    pub query: &'a str,
    /// The session that the form was made for, and the proof that it was.
    pub session: (SessionId, Digest),
    /// The digest of what the page shows, which the form carries behind the proof.
    pub shown: Digest,
    /// What went wrong before.
    pub notice: Option<PageError>,
}

impl IntoResponse for ConsentPage<'_> {
    fn into_response(self) -> Response {
        let client_name = self.client.client_name.as_str();
        let (session, token) = &self.session;
        let image = self.client.logo_url.as_deref().and_then(image_origin);
        let body = html! {
            (logo(self.client, image.is_some()))
            h1 { bdi { (client_name) } " asks for access" }
            (notice(self.notice))
            @if !self.client.is_live {
                p.notice.development {
                    "This application is in development. It works for you only, because you own it."
                }
            }
            form method="post" action={ "?" (self.query) } {
                (hidden("consent", &format!("{token}.{}", self.shown)))
                input type="hidden" name="session" value=(session);
                (account(self.account))
                h2 #scopes { "If you approve, " bdi { (client_name) } " can:" }
                ul.scopes role="list" aria-labelledby="scopes" {
                    @for scope in self.scopes {
                        li { span { bdi { (scope.description) } } " " code { (scope.name) } }
                    }
                }
                (resources(self.resources))
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
            title: format!("{} asks for access", isolated(client_name)),
            body,
            forms: Forms::ToClient,
            images: image,
        }
        .into_response();
        if let Some(error) = self.notice {
            error.mark(&mut response);
        }
        response
    }
}

/// Where the access is good, in the request's own words: none where the request names nothing.
fn resources(resources: &[String]) -> Markup {
    html! {
        @if !resources.is_empty() {
            h2 #resources { "This access is for:" }
            ul.scopes role="list" aria-labelledby="resources" {
                @for resource in resources {
                    li { code { bdi { (resource) } } }
                }
            }
        }
    }
}

pub(super) fn account(account: &Account) -> Markup {
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

/// The client's logo, or a letter in its place. The image is fetched from where the client has it: that says no more
/// than the client knows already, which has just sent the user here and can ask with `prompt=none` whether anybody is
/// logged in. No address of ours is told, and only https is used.
pub(super) fn logo(client: &ClientMetadata, allowed: bool) -> Markup {
    html! {
        @if let Some(url) = client.logo_url.as_ref().filter(|_| allowed) {
            img.logo src=(url) alt="" width="48" height="48" referrerpolicy="no-referrer";
        } @else {
            (monogram(&client.client_name))
        }
    }
}

/// The origin that a Content Security Policy must name for an image to be shown; none for one that it cannot name or
/// that would be fetched in clear.
pub(super) fn image_origin(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "https")?;
    // Written into a policy: nothing that could end the directive, or widen it.
    let is_name = |host: &str| {
        host.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    };
    match url.host()? {
        Host::Domain(host) if !is_name(host) => None,
        Host::Domain(_) | Host::Ipv4(_) => Some(url.origin().ascii_serialization()),
        Host::Ipv6(_) => None,
    }
}

/// Registration lets only http and https URLs in, so none of these can be a script.
pub(super) fn links(client: &ClientMetadata) -> Markup {
    let links = [
        ("Home page", &client.home_page_url),
        ("Privacy policy", &client.privacy_policy_url),
        ("Terms of service", &client.tos_uri),
    ];
    html! {
        @if links.iter().any(|(_, url)| url.is_some()) {
            ul.links role="list" aria-label={ "About " (isolated(&client.client_name)) } {
                @for (label, url) in links {
                    @if let Some(url) = url {
                        li { a href=(url) target="_blank" rel="noreferrer noopener" { (label) " (opens a new tab)" } }
                    }
                }
            }
        }
    }
}
