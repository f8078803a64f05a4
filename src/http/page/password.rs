//! The page on which a user sets another password.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::text;
use super::{Account, Forms, Page, PageError, Presentation, hidden, notice};
use crate::domain::value::Digest;
use crate::operations::user::UnfitPassword;

/// What the password page shows.
pub struct PasswordPage<'a> {
    /// How it is shown.
    pub presentation: Presentation,
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
    fn text(self, texts: &text::Password) -> &'static str {
        match self {
            Self::Incomplete => texts.incomplete,
            Self::WrongCurrent => texts.wrong_current,
            Self::NotRepeated => texts.not_repeated,
            Self::Unfit(UnfitPassword::Length) => texts.length,
            Self::Unfit(UnfitPassword::Username) => texts.is_username,
            Self::Unfit(UnfitPassword::Current) => texts.is_current,
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
    fn words(self, texts: &text::Password) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Current => ("current", texts.current, "current-password"),
            Self::New => ("new", texts.new, "new-password"),
            Self::Again => ("again", texts.again, "new-password"),
        }
    }
}

/// A field; the first that is to be filled in otherwise has the focus.
fn field(texts: &text::Password, field: Field, problem: Option<PasswordProblem>) -> Markup {
    let (name, label, autocomplete) = field.words(texts);
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
            p.hint #password-hint { (texts.hint) }
        }
    }
}

impl IntoResponse for PasswordPage<'_> {
    fn into_response(self) -> Response {
        let all = self.presentation.texts();
        let (texts, common) = (&all.password, &all.common);
        let body = html! {
            h1 { (common.change_password) }
            p.lead { (common.logged_in_as.around(&html! { strong { bdi { (self.account.username) } } })) }
            (notice(all, self.notice))
            form method="post" {
                (hidden("password", &self.token))
                // For password managers: whose password it is.
                input type="hidden" name="username" value=(self.account.username) autocomplete="username";
                @if let Some(problem) = self.problem {
                    p.problem #password-problem role="alert" { (problem.text(texts)) }
                }
                (field(texts, Field::Current, self.problem))
                (field(texts, Field::New, self.problem))
                (field(texts, Field::Again, self.problem))
                p.note { (texts.note) }
                button.primary type="submit" { (texts.button) }
            }
        };
        let failed = self.problem.is_some() || self.notice.is_some();
        let title = common.titled(common.change_password, failed);
        let mut response = Page {
            presentation: self.presentation,
            status: self.problem.map_or(StatusCode::OK, PasswordProblem::status),
            title,
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
pub fn password_changed(presentation: Presentation) -> Response {
    let texts = &presentation.texts().password;
    let body = html! {
        h1 { (texts.changed) }
        p role="status" { (texts.changed_text) }
        p.note { (texts.changed_note) }
    };
    Page {
        presentation,
        status: StatusCode::OK,
        title: texts.changed.to_owned(),
        body,
        forms: Forms::None,
        images: None,
    }
    .into_response()
}
