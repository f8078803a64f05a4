//! The pages of the user's own account: what there is, the applications that have access, the browser logins.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::asked::{one_claim, one_detail};
use super::text::{self, Texts};
use super::{Account, Forms, Language, Page, PageError, Presentation, hidden, isolated, notice};
use crate::clock::Timestamp;
use crate::domain::value::{Digest, steers};
use crate::ids::SessionId;
use crate::operations::account::{Application, BrowserLogin};

/// The most characters of a user agent that are shown.
const MAX_AGENT: usize = 160;

/// What there is of an account.
#[must_use]
pub fn account(presentation: Presentation, account: &Account) -> Response {
    let all = presentation.texts();
    let (texts, common) = (&all.account, &all.common);
    let body = html! {
        h1 { (common.your_account) }
        (whose(all, account))
        ul.scopes role="list" {
            li { a href="account/applications" { (texts.applications) } }
            li { a href="account/sessions" { (texts.sessions) } }
            li { a href="account/password" { (common.change_password) } }
            li { a href="logout" { (common.log_out) } }
        }
    };
    answer((presentation, common.your_account), body, Forms::None, None)
}

/// The applications that have access.
pub struct ApplicationsPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
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
        let all = self.presentation.texts();
        let texts = &all.account;
        let body = html! {
            h1 { (texts.applications) }
            (whose(all, self.account))
            (notice(all, self.notice))
            @if self.applications.is_empty() {
                p { (texts.no_application) }
            }
            @for application in self.applications {
                (one(self.presentation, application, &self.token))
            }
            (back(all))
        };
        let title = (self.presentation, texts.applications);
        answer(title, body, Forms::Here, self.notice)
    }
}

fn one(presentation: Presentation, application: &Application, token: &Digest) -> Markup {
    let (all, language) = (presentation.texts(), presentation.language);
    let texts = &all.account;
    let metadata = &application.registration.metadata;
    let name = metadata.client_name.as_str();
    html! {
        section {
            h2 { bdi { (name) } }
            ul.scopes role="list" aria-label=(texts.what_it_can.with(&isolated(name))) {
                @for scope in &application.scopes {
                    li {
                        span { bdi { (scope.description) } } " " code { (scope.name) }
                        @if let Some(resources) = application.only_for.get(&scope.name) {
                            p.note { (all.asked.resources) @for one in resources { " " code { (one) } } }
                        }
                    }
                }
                @for claim in &application.claims { li { (one_claim(&all.claims, *claim)) } }
                @for detail in &application.details { li { (one_detail(&all.asked, detail)) } }
            }
            dl {
                dt { (texts.access_since) } dd { (moment(language, application.since)) }
                dt { (texts.last_used) } dd {
                    @match application.last_used {
                        Some(at) => (moment(language, at)),
                        None => (texts.never),
                    }
                }
            }
            form method="post" {
                (hidden("remove", token))
                input type="hidden" name="client" value=(application.key);
                button type="submit" aria-label=(texts.remove_of.with(&isolated(name))) { (texts.remove) }
            }
        }
    }
}

/// The browser logins.
pub struct SessionsPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
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
        let all = self.presentation.texts();
        let texts = &all.account;
        let which = html! { a href="applications" { (texts.see_which) } };
        let body = html! {
            h1 { (texts.sessions) }
            (whose(all, self.account))
            (notice(all, self.notice))
            @for login in self.logins { (self.login(texts, login)) }
            @if self.logins.len() > 1 {
                form method="post" {
                    (hidden("others", &self.token))
                    button.primary type="submit" { (texts.log_out_others) }
                }
            }
            p.note { (texts.keep_access.around(&which)) }
            (back(all))
        };
        let title = (self.presentation, texts.sessions);
        answer(title, body, Forms::Here, self.notice)
    }
}

impl SessionsPage<'_> {
    fn login(&self, texts: &text::Account, login: &BrowserLogin) -> Markup {
        let language = self.presentation.language;
        let is_this = login.id == self.this;
        let caller = login.caller.as_ref();
        let agent = caller.and_then(|caller| caller.agent.as_deref()).map(shown);
        let address = caller.and_then(|caller| caller.address);
        let browser = html! {
            @match &agent {
                Some(agent) => bdi { (agent) },
                None => (texts.unknown_browser),
            }
        };
        html! {
            section {
                h2 { @if is_this { (texts.this_one.around(&browser)) } @else { (browser) } }
                dl {
                    @if let Some(address) = address { dt { (texts.address) } dd { (address) } }
                    dt { (texts.since) } dd { (moment(language, login.started_at)) }
                    dt { (texts.confirmed) } dd { (moment(language, login.login.authenticated_at)) }
                    dt { (texts.ends) } dd { (moment(language, login.login.expires_at)) }
                }
                form method="post" {
                    (hidden("end", &self.token))
                    input type="hidden" name="session" value=(login.id);
                    button type="submit" { @if is_this { (texts.log_out_here) } @else { (texts.log_out_there) } }
                }
            }
        }
    }
}

/// What a browser said of itself, without what steers the page.
fn shown(agent: &str) -> String {
    agent.chars().filter(|c| !steers(*c)).take(MAX_AGENT).collect()
}

fn whose(texts: &Texts, account: &Account) -> Markup {
    let who = html! { strong { bdi { (account.username) } } };
    html! { p.lead { (texts.common.logged_in_as.around(&who)) } }
}

fn back(texts: &Texts) -> Markup {
    html! { p.note { a href="../account" { (texts.common.your_account) } } }
}

fn moment(language: Language, at: Timestamp) -> Markup {
    html! {
        time datetime=(at.format("%Y-%m-%dT%H:%M:%SZ")) { (language.moment(at)) }
    }
}

fn answer(
    (presentation, title): (Presentation, &str),
    body: Markup,
    forms: Forms,
    error: Option<PageError>,
) -> Response {
    let mut response = Page {
        presentation,
        status: StatusCode::OK,
        title: presentation.texts().common.titled(title, error.is_some()),
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
