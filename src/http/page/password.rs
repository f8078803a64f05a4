//! The page on which a user sets another password.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::{Account, Forms, Page, PageError, hidden, notice};
use crate::domain::value::Digest;
use crate::operations::user::UnfitPassword;

/// What the password page shows.
pub struct PasswordPage<'a> {
    /// Who is logged in.
    pub account: &'a Account,
    /// Proves that the form is ours.
    pub token: Digest,
    /// What was wrong with what was typed.
    pub problem: Option<PasswordProblem>,
    /// What went wrong otherwise.
    pub notice: Option<PageError>,
}

/// What is wrong with what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordProblem {
    /// A field is empty.
    Incomplete,
    /// Not the current password.
    WrongCurrent,
    /// The new one was not typed the same twice.
    NotRepeated,
    /// The new one may not be a password of this account.
    Unfit(UnfitPassword),
}

/// A field of the form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Current,
    New,
    Again,
}

impl PasswordProblem {
    fn text(self) -> &'static str {
        match self {
            Self::Incomplete => "Fill in all three fields.",
            Self::WrongCurrent => "That is not your current password. Check it and try again.",
            Self::NotRepeated => "The two new passwords are not the same. Type the new one twice.",
            Self::Unfit(UnfitPassword::Length) => "The new password needs 8 to 1024 characters.",
            Self::Unfit(UnfitPassword::Username) => "The new password must not be your user name.",
            Self::Unfit(UnfitPassword::Current) => "The new password must not be your current one.",
        }
    }

    /// As on the login page: RFC 9110 §15.5.4 where a credential was given and does not suffice.
    fn status(self) -> StatusCode {
        match self {
            Self::WrongCurrent => StatusCode::FORBIDDEN,
            Self::Incomplete | Self::NotRepeated | Self::Unfit(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The fields that are to be filled in otherwise.
    fn concerns(self, field: Field) -> bool {
        match self {
            Self::Incomplete => true,
            Self::WrongCurrent => field == Field::Current,
            Self::NotRepeated => field == Field::Again,
            Self::Unfit(_) => field == Field::New,
        }
    }
}

impl Field {
    /// Name, label, what a password manager fills in.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Current => ("current", "Current password", "current-password"),
            Self::New => ("new", "New password", "new-password"),
            Self::Again => ("again", "New password again", "new-password"),
        }
    }
}

/// A field; the first that is to be filled in otherwise has the focus.
fn field(field: Field, problem: Option<PasswordProblem>) -> Markup {
    let (name, label, autocomplete) = field.words();
    let concerned = problem.is_some_and(|problem| problem.concerns(field));
    let hint = field == Field::New;
    let described = match (concerned, hint) {
        (true, true) => Some("password-problem password-hint"),
        (true, false) => Some("password-problem"),
        (false, true) => Some("password-hint"),
        (false, false) => None,
    };
    let focus = match problem {
        None | Some(PasswordProblem::Incomplete) => field == Field::Current,
        Some(_) => concerned,
    };
    html! {
        label for=(name) { (label) }
        input id=(name) name=(name) type="password" required autocomplete=(autocomplete) autofocus[focus]
            aria-describedby=[described] aria-invalid=[concerned.then_some("true")];
        @if hint {
            p.hint #password-hint { "8 characters or more, and not your user name." }
        }
    }
}

impl IntoResponse for PasswordPage<'_> {
    fn into_response(self) -> Response {
        let body = html! {
            h1 { "Change your password" }
            p.lead { "Logged in as " strong { bdi { (self.account.username) } } }
            (notice(self.notice))
            form method="post" {
                (hidden("password", &self.token))
                // For password managers: whose password it is.
                input type="hidden" name="username" value=(self.account.username) autocomplete="username";
                @if let Some(problem) = self.problem {
                    p.problem #password-problem role="alert" { (problem.text()) }
                }
                (field(Field::Current, self.problem))
                (field(Field::New, self.problem))
                (field(Field::Again, self.problem))
                p.note {
                    "You will be logged out everywhere, here too, and applications that use your account will have to ask you again."
                }
                button.primary type="submit" { "Change password" }
            }
        };
        let title = match self.problem {
            Some(_) => "Error: Change your password",
            None => "Change your password",
        };
        let mut response = Page {
            status: self.problem.map_or(StatusCode::OK, PasswordProblem::status),
            title: title.to_owned(),
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

/// Says that the password is another one now.
#[must_use]
pub fn password_changed() -> Response {
    let body = html! {
        h1 { "Your password is changed" }
        p role="status" { "You are logged out everywhere. Log in again with the new password." }
        p.note { "Applications that were using your account have lost their access; they will ask you again." }
    };
    Page {
        status: StatusCode::OK,
        title: "Your password is changed".to_owned(),
        body,
        forms: Forms::None,
        images: None,
    }
    .into_response()
}
