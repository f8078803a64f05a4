//! The pages of the user's own account: what there is, the applications that have access, the browser logins.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::asked::{one_claim, one_detail};
use super::{Account, Forms, Page, PageError, hidden, isolated, notice};
use crate::clock::Timestamp;
use crate::domain::value::{Digest, steers};
use crate::ids::SessionId;
use crate::operations::account::{Application, BrowserLogin};

/// The most characters of a user agent that are shown.
const MAX_AGENT: usize = 160;

/// What there is of an account.
#[must_use]
pub fn account(account: &Account) -> Response {
    let body = html! {
        h1 { "Your account" }
        (whose(account))
        ul.scopes role="list" {
            li { a href="account/applications" { "Applications with access to your account" } }
            li { a href="account/sessions" { "Where you are logged in" } }
            li { a href="account/password" { "Change your password" } }
            li { a href="logout" { "Log out" } }
        }
    };
    answer("Your account", body, Forms::None, None)
}

/// The applications that have access.
pub struct ApplicationsPage<'a> {
    /// Whose account.
    pub account: &'a Account,
    /// What has access.
    pub applications: &'a [Application],
    /// Proves that the forms are ours.
    pub token: Digest,
    /// What went wrong before.
    pub notice: Option<PageError>,
}

impl IntoResponse for ApplicationsPage<'_> {
    fn into_response(self) -> Response {
        let body = html! {
            h1 { "Applications with access to your account" }
            (whose(self.account))
            (notice(self.notice))
            @if self.applications.is_empty() {
                p { "No application has access to your account." }
            }
            @for application in self.applications { (one(application, &self.token)) }
            (back())
        };
        answer(
            "Applications with access to your account",
            body,
            Forms::Here,
            self.notice,
        )
    }
}

fn one(application: &Application, token: &Digest) -> Markup {
    let metadata = &application.registration.metadata;
    let name = metadata.client_name.as_str();
    html! {
        section {
            h2 { bdi { (name) } }
            ul.scopes role="list" aria-label={ "What " (isolated(name)) " can do" } {
                @for scope in &application.scopes {
                    li { span { bdi { (scope.description) } } " " code { (scope.name) } }
                }
                @for claim in &application.claims { li { (one_claim(*claim)) } }
                @for detail in &application.details { li { (one_detail(detail)) } }
            }
            dl {
                dt { "Access since" } dd { (moment(application.since)) }
                dt { "Last used" } dd {
                    @match application.last_used {
                        Some(at) => (moment(at)),
                        None => "never",
                    }
                }
            }
            form method="post" {
                (hidden("remove", token))
                input type="hidden" name="client" value=(application.key);
                button type="submit" aria-label={ "Remove the access of " (isolated(name)) } { "Remove access" }
            }
        }
    }
}

/// The browser logins.
pub struct SessionsPage<'a> {
    /// Whose account.
    pub account: &'a Account,
    /// The login that looks.
    pub this: SessionId,
    /// All that hold.
    pub logins: &'a [BrowserLogin],
    /// Proves that the forms are ours.
    pub token: Digest,
    /// What went wrong before.
    pub notice: Option<PageError>,
}

impl IntoResponse for SessionsPage<'_> {
    fn into_response(self) -> Response {
        let body = html! {
            h1 { "Where you are logged in" }
            (whose(self.account))
            (notice(self.notice))
            @for login in self.logins { (self.login(login)) }
            @if self.logins.len() > 1 {
                form method="post" {
                    (hidden("others", &self.token))
                    button.primary type="submit" { "Log out everywhere else" }
                }
            }
            p.note { "Applications keep the access that you gave them: " a href="applications" { "see which" } "." }
            (back())
        };
        answer("Where you are logged in", body, Forms::Here, self.notice)
    }
}

impl SessionsPage<'_> {
    fn login(&self, login: &BrowserLogin) -> Markup {
        let is_this = login.id == self.this;
        let caller = login.caller.as_ref();
        let agent = caller.and_then(|caller| caller.agent.as_deref()).map(shown);
        let address = caller.and_then(|caller| caller.address);
        html! {
            section {
                h2 {
                    @match &agent {
                        Some(agent) => bdi { (agent) },
                        None => "Unknown browser",
                    }
                    @if is_this { " (this one)" }
                }
                dl {
                    @if let Some(address) = address { dt { "Address" } dd { (address) } }
                    dt { "Since" } dd { (moment(login.started_at)) }
                    dt { "Last confirmed" } dd { (moment(login.login.authenticated_at)) }
                    dt { "Ends" } dd { (moment(login.login.expires_at)) }
                }
                form method="post" {
                    (hidden("end", &self.token))
                    input type="hidden" name="session" value=(login.id);
                    button type="submit" { @if is_this { "Log out here" } @else { "Log out there" } }
                }
            }
        }
    }
}

/// What a browser said of itself, without what steers the page.
fn shown(agent: &str) -> String {
    agent.chars().filter(|c| !steers(*c)).take(MAX_AGENT).collect()
}

fn whose(account: &Account) -> Markup {
    html! { p.lead { "Logged in as " strong { bdi { (account.username) } } } }
}

fn back() -> Markup {
    html! { p.note { a href="../account" { "Your account" } } }
}

fn moment(at: Timestamp) -> Markup {
    html! {
        time datetime=(at.format("%Y-%m-%dT%H:%M:%SZ")) { (at.format("%-d %B %Y, %H:%M UTC")) }
    }
}

fn answer(title: &str, body: Markup, forms: Forms, error: Option<PageError>) -> Response {
    let mut response = Page {
        status: StatusCode::OK,
        title: title.to_owned(),
        body,
        forms,
        images: None,
    }
    .into_response();
    if let Some(error) = error {
        error.mark(&mut response);
    }
    response
}
