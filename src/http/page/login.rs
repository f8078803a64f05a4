//! The login page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{Forms, Page, PageError, hidden, notice};
use crate::domain::value::Digest;

/// What the login page shows.
pub struct LoginPage<'a> {
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
    fn text(self) -> &'static str {
        match self {
            Self::Incomplete => "Enter your user name and your password.",
            Self::Wrong => "That user name and password do not match. Check both and try again.",
            Self::OtherAccount => {
                "You are logged in, but the application asks for another of your accounts. Log in with that one, or go back to the application."
            }
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
        let described = self.problem.map(|_| "login-problem");
        let invalid = self.problem.map(|_| "true");
        // The first field that is still to be filled in.
        let (at_username, at_password) = (self.username.is_empty(), !self.username.is_empty());
        let body = html! {
            h1 { "Log in" }
            p.lead {
                "to continue to "
                @match self.client_name {
                    Some(name) => strong { bdi { (name) } },
                    None => "your account",
                }
            }
            (notice(self.notice))
            form method="post" action={ "?" (self.query) } {
                (hidden("login", &self.token))
                @if let Some(problem) = self.problem {
                    p.problem #login-problem role="alert" { (problem.text()) }
                }
                label for="username" { "User name" }
                input #username name="username" type="text" value=(self.username) required autocomplete="username"
                    autocapitalize="none" spellcheck="false" autofocus[at_username]
                    aria-describedby=[described] aria-invalid=[invalid];
                label for="password" { "Password" }
                input #password name="password" type="password" required autocomplete="current-password"
                    autofocus[at_password] aria-describedby=[described] aria-invalid=[invalid];
                button.primary type="submit" { "Log in" }
            }
        };
        let status = self.problem.map_or(StatusCode::OK, Problem::status);
        let title = match self.problem {
            Some(_) => "Error: Log in",
            None => "Log in",
        };
        let mut response = Page {
            status,
            title: title.to_owned(),
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
