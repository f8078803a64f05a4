//! The consent page: who asks, for what, of which account.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::asked::{
    Account, account, actions, cautions, claims, details, image_origin, links, logo, one_claim, one_detail,
    one_scope, resources, scopes,
};
use super::text;
use super::{Destination, Forms, Page, PageError, Presentation, hidden, isolated, notice};
use crate::domain::authorization_detail::ShownDetail;
use crate::domain::client::ClientMetadata;
use crate::domain::openid::Claim;
use crate::domain::scope::Definition;
use crate::domain::value::Digest;
use crate::ids::SessionId;

/// What the consent page shows.
pub struct ConsentPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
    /// The application that asks.
    pub client: &'a ClientMetadata,
    /// Where the answer goes.
    pub destination: &'a Destination,
    /// What it asks for.
    pub scopes: &'a [Definition],
    /// The claims of the user that it asks for one by one.
    pub claims: &'a BTreeSet<Claim>,
    /// The resource servers that it names (RFC 8707).
    pub resources: &'a [String],
    /// What it asks for besides (RFC 9396).
    pub details: &'a [ShownDetail],
    /// What ends by it, where it takes the place of what was granted before.
    pub lost: Option<&'a Lost>,
    /// Whether it registered itself.
    pub is_self_registered: bool,
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

/// What a user takes back by approving a request that takes the place of what was granted before.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// The scopes that it does not have.
    pub scopes: Vec<Definition>,
    /// The claims of the user that it does not have.
    pub claims: BTreeSet<Claim>,
    /// The authorization details that it does not have.
    pub details: Vec<ShownDetail>,
}

impl IntoResponse for ConsentPage<'_> {
    fn into_response(self) -> Response {
        let client_name = self.client.client_name.as_str();
        let all = self.presentation.texts();
        let (texts, asked) = (&all.consent, &all.asked);
        let name = html! { bdi { (client_name) } };
        let destination = self.destination.words(asked);
        let (session, token) = &self.session;
        let image = self.client.logo_url.as_deref().and_then(image_origin);
        let body = html! {
            (logo(self.client, image.is_some()))
            h1 { (texts.title.around(&name)) }
            (notice(all, self.notice))
            (cautions(asked, self.client, self.is_self_registered))
            form method="post" action={ "?" (self.query) } {
                (hidden("consent", &format!("{token}.{}", self.shown)))
                input type="hidden" name="session" value=(session);
                (account(all, self.account))
                (scopes(&texts.can.around(&name), self.scopes))
                (claims(&all.claims, &texts.learns.around(&name), self.claims))
                (details(asked, &texts.may.around(&name), self.details))
                (resources(asked, self.resources))
                @if let Some(lost) = self.lost { (replacing(all, &name, lost)) }
                p.note { (texts.returns.around(&html! { strong { bdi { (destination) } } })) }
                (actions(asked))
            }
            (links(asked, self.client))
        };
        let mut response = Page {
            presentation: self.presentation,
            status: StatusCode::OK,
            title: all
                .common
                .titled(&texts.title.with(&isolated(client_name)), self.notice.is_some()),
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

/// That a grant takes another's place, and what that one had more than it.
fn replacing(all: &text::Texts, name: &Markup, lost: &Lost) -> Markup {
    let texts = &all.consent;
    html! {
        h2 #replaces { (texts.replaces.around(name)) }
        @if lost.scopes.is_empty() && lost.claims.is_empty() && lost.details.is_empty() {
            p.note { (texts.nothing_lost) }
        } @else {
            p.note { (texts.no_longer) }
            ul.scopes role="list" aria-labelledby="replaces" {
                @for scope in &lost.scopes { li { (one_scope(scope)) } }
                @for claim in &lost.claims { li { (one_claim(&all.claims, *claim)) } }
                @for detail in &lost.details { li { (one_detail(&all.asked, detail)) } }
            }
        }
    }
}
