//! What the pages have in common that ask a user: who asks, as whom, for what.

use std::collections::BTreeSet;

use maud::{Markup, html};
use url::{Host, Url};

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

/// What the user should know of the application before anything else.
pub(super) fn cautions(client: &ClientMetadata, is_self_registered: bool) -> Markup {
    html! {
        @if !client.is_live {
            p.notice.development {
                "This application is in development. It works for you only, because you own it."
            }
        }
        @if is_self_registered {
            p.notice.development {
                "This application registered itself: nobody at this server has checked what it is."
            }
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
pub(super) fn claims(heading: &Markup, claims: &BTreeSet<Claim>) -> Markup {
    html! {
        @if !claims.is_empty() {
            h2 #claims { (heading) }
            ul.scopes role="list" aria-labelledby="claims" {
                @for claim in claims { li { (one_claim(*claim)) } }
            }
        }
    }
}

pub(super) fn one_claim(claim: Claim) -> Markup {
    html! { span { (claim_words(claim)) } " " code { (claim.name()) } }
}

/// What a claim tells of the user, to whom the page speaks.
fn claim_words(claim: Claim) -> &'static str {
    match claim {
        Claim::Name => "Your name",
        Claim::GivenName => "Your given name",
        Claim::FamilyName => "Your family name",
        Claim::MiddleName => "Your middle name",
        Claim::Nickname => "Your nickname",
        Claim::PreferredUsername => "Your user name",
        Claim::Profile => "The address of your profile page",
        Claim::Picture => "Your picture",
        Claim::Website => "The address of your website",
        Claim::Gender => "Your gender",
        Claim::Birthdate => "Your date of birth",
        Claim::Zoneinfo => "Your time zone",
        Claim::Locale => "Your language",
        Claim::UpdatedAt => "When this information last changed",
        Claim::Email => "Your e-mail address",
        Claim::EmailVerified => "Whether your e-mail address was verified",
        Claim::Address => "Your postal address",
        Claim::PhoneNumber => "Your telephone number",
        Claim::PhoneNumberVerified => "Whether your telephone number was verified",
    }
}

/// Authorization details (RFC 9396 §3) under a heading of their own.
pub(super) fn details(heading: &Markup, details: &[ShownDetail]) -> Markup {
    html! {
        @if !details.is_empty() {
            h2 #details { (heading) }
            ul.scopes role="list" aria-labelledby="details" {
                @for detail in details { li { (one_detail(detail)) } }
            }
        }
    }
}

/// In the sentence of its type, with all that it says below; or that alone.
pub(super) fn one_detail(detail: &ShownDetail) -> Markup {
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
                    summary { "All that is asked for " code { (detail.type_name) } }
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
pub(super) fn resources(resources: &[String]) -> Markup {
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

pub(super) fn actions() -> Markup {
    html! {
        div.actions {
            button.primary type="submit" name="decision" value="approve" { "Approve" }
            button type="submit" name="decision" value="deny" { "Deny" }
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
