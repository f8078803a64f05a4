//! The login page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::text;
use super::{Forms, Page, PageError, Presentation, hidden, notice};
use crate::domain::value::Digest;

/// What the login page shows.
pub struct LoginPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
    /// The application that asks; none where the user wants its own account.
    pub client_name: Option<&'a str>,
    /// The authorization request's query, which the form carries on.
    pub query: &'a str,
    /// Proves that the form is ours.
    pub token: Digest,
    /// What was typed before.
    pub username: &'a str,
    /// What was wrong with it.
    pub problem: Option<Problem>,
    /// What went wrong otherwise.
    pub notice: Option<PageError>,
    /// Where the form may lead.
    pub forms: Forms,
}

/// What is wrong with what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A field is empty.
    Incomplete,
    /// No such user, another password, or the user may not log in: which of these is nobody's business.
    Wrong,
    /// The application asks for another account than the one that is logged in.
    OtherAccount,
}

impl Problem {
    fn text(self, texts: &text::Login) -> &'static str {
        match self {
            Self::Incomplete => texts.incomplete,
            Self::Wrong => texts.wrong,
            Self::OtherAccount => texts.other_account,
        }
    }

    /// RFC 9110 §15.5.4: credentials were given and do not suffice. (401 would call for an HTTP challenge.)
    fn status(self) -> StatusCode {
        match self {
            Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::Wrong => StatusCode::FORBIDDEN,
            Self::OtherAccount => StatusCode::OK,
        }
    }
}

impl IntoResponse for LoginPage<'_> {
    fn into_response(self) -> Response {
        let all = self.presentation.texts();
        let texts = &all.login;
        let described = self.problem.map(|_| "login-problem");
        let invalid = self.problem.map(|_| "true");
        // The first field that is still to be filled in.
        let (at_username, at_password) = (self.username.is_empty(), !self.username.is_empty());
        let body = html! {
            h1 { (texts.title) }
            p.lead {
                @match self.client_name {
                    Some(name) => (texts.to_application.around(&html! { strong { bdi { (name) } } })),
                    None => (texts.to_account),
                }
            }
            (notice(all, self.notice))
            form method="post" action={ "?" (self.query) } {
                (hidden("login", &self.token))
                @if let Some(problem) = self.problem {
                    p.problem #login-problem role="alert" { (problem.text(texts)) }
                }
                label for="username" { (texts.username) }
                input #username name="username" type="text" value=(self.username) required autocomplete="username"
                    autocapitalize="none" spellcheck="false" autofocus[at_username]
                    aria-describedby=[described] aria-invalid=[invalid];
                label for="password" { (texts.password) }
                input #password name="password" type="password" required autocomplete="current-password"
                    autofocus[at_password] aria-describedby=[described] aria-invalid=[invalid];
                button.primary type="submit" { (texts.title) }
            }
        };
        let status = self.problem.map_or(StatusCode::OK, Problem::status);
        let failed = self.problem.is_some() || self.notice.is_some();
        let title = all.common.titled(texts.title, failed);
        let mut response = Page {
            presentation: self.presentation,
            status,
            title,
            body,
            forms: self.forms,
            images: None,
        }
        .into_response();
        if let Some(error) = self.notice {
            error.mark(&mut response);
        }
        response
    }
}
