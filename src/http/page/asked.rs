//! What the pages have in common that ask a user: who asks, as whom, for what.

use std::collections::BTreeSet;

use maud::{Markup, html};
use url::{Host, Url};

use super::text;
use super::{isolated, monogram};
use crate::domain::authorization_detail::{Piece, ShownDetail};
use crate::domain::client::ClientMetadata;
use crate::domain::openid::Claim;
use crate::domain::scope::Definition;

/// The account that is logged in, in words that its owner knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
}

/// Where the browser goes in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A host.
    Host(String),
    /// A program on the reader's own device.
    ThisDevice,
}

impl Destination {
    /// In words that stand after what says that one goes there.
    pub(super) fn words(&self, texts: &text::Asked) -> &str {
        match self {
            Self::Host(host) => host,
            Self::ThisDevice => texts.this_device,
        }
    }
}

pub(super) fn account(texts: &text::Texts, account: &Account) -> Markup {
    let who = html! {
        strong { bdi { (account.username) } }
        @if let Some(name) = &account.name { " (" bdi { (name) } ")" }
    };
    html! {
        div.account {
            p { (texts.common.logged_in_as.around(&who)) }
            p {
                (texts.asked.not_you) " "
                button.link type="submit" name="decision" value="switch" { (texts.asked.use_another) }
            }
        }
    }
}

/// What the user should know of the application before anything else.
pub(super) fn cautions(texts: &text::Asked, client: &ClientMetadata, is_self_registered: bool) -> Markup {
    html! {
        @if !client.is_live {
            p.notice.development { (texts.in_development) }
        }
        @if is_self_registered {
            p.notice.development { (texts.self_registered) }
        }
    }
}

pub(super) fn scopes(heading: &Markup, scopes: &[Definition]) -> Markup {
    html! {
        @if !scopes.is_empty() {
            h2 #scopes { (heading) }
            ul.scopes role="list" aria-labelledby="scopes" {
                @for scope in scopes {
                    li { (one_scope(scope)) }
                }
            }
        }
    }
}

pub(super) fn one_scope(scope: &Definition) -> Markup {
    html! { span { bdi { (scope.description) } } " " code { (scope.name) } }
}

/// Claims of the user that are asked for one by one (OpenID Connect Core §5.5.1) under a heading of their own.
pub(super) fn claims(texts: &text::Claims, heading: &Markup, claims: &BTreeSet<Claim>) -> Markup {
    html! {
        @if !claims.is_empty() {
            h2 #claims { (heading) }
            ul.scopes role="list" aria-labelledby="claims" {
                @for claim in claims { li { (one_claim(texts, *claim)) } }
            }
        }
    }
}

pub(super) fn one_claim(texts: &text::Claims, claim: Claim) -> Markup {
    html! { span { (texts.of(claim)) } " " code { (claim.name()) } }
}

/// Authorization details (RFC 9396 §3) under a heading of their own.
pub(super) fn details(texts: &text::Asked, heading: &Markup, details: &[ShownDetail]) -> Markup {
    html! {
        @if !details.is_empty() {
            h2 #details { (heading) }
            ul.scopes role="list" aria-labelledby="details" {
                @for detail in details { li { (one_detail(texts, detail)) } }
            }
        }
    }
}

/// In the sentence of its type, with all that it says below; or that alone.
pub(super) fn one_detail(texts: &text::Asked, detail: &ShownDetail) -> Markup {
    html! {
        @if let Some(sentence) = &detail.sentence {
            span {
                @for piece in sentence {
                    @match piece {
                        Piece::Words(words) => (words),
                        Piece::Value(value) => strong { bdi { (value) } },
                    }
                }
            }
            @if !detail.members.is_empty() {
                details {
                    summary { (texts.all_of_detail.around(&html! { code { (detail.type_name) } })) }
                    (members(detail))
                }
            }
        } @else {
            code { (detail.type_name) }
            (members(detail))
        }
    }
}

fn members(detail: &ShownDetail) -> Markup {
    html! {
        dl {
            @for (name, value) in &detail.members {
                dt { bdi { (name) } }
                dd { bdi { (value) } }
            }
        }
    }
}

/// Where the access is good, in the request's own words: none where the request names nothing.
pub(super) fn resources(texts: &text::Asked, resources: &[String]) -> Markup {
    html! {
        @if !resources.is_empty() {
            h2 #resources { (texts.resources) }
            ul.scopes role="list" aria-labelledby="resources" {
                @for resource in resources {
                    li { code { bdi { (resource) } } }
                }
            }
        }
    }
}

pub(super) fn actions(texts: &text::Asked) -> Markup {
    html! {
        div.actions {
            button.primary type="submit" name="decision" value="approve" { (texts.approve) }
            button type="submit" name="decision" value="deny" { (texts.deny) }
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
pub(super) fn links(texts: &text::Asked, client: &ClientMetadata) -> Markup {
    let links = [
        (texts.home_page, &client.home_page_url),
        (texts.privacy_policy, &client.privacy_policy_url),
        (texts.terms_of_service, &client.tos_uri),
    ];
    html! {
        @if links.iter().any(|(_, url)| url.is_some()) {
            ul.links role="list" aria-label=(texts.about.with(&isolated(&client.client_name))) {
                @for (label, url) in links {
                    @if let Some(url) = url {
                        li { a href=(url) target="_blank" rel="noreferrer noopener" { (texts.new_tab.with(label)) } }
                    }
                }
            }
        }
    }
}
