//! What a refusal may be a try at. Each class has a budget of its own, so that refusals of one cannot hide those of another.

use serde::{Deserialize, Serialize};

use super::RefusalReason as R;

/// What somebody may be trying whose requests are refused so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// Passwords of users.
    Password,
    /// Secrets and keys of clients.
    ClientCredential,
    /// User codes of devices (RFC 8628).
    UserCode,
    /// Authentic codes that somebody else was given.
    Code,
    /// Scopes.
    Scope,
    /// Nothing that a rule counts.
    #[default]
    Other,
}

impl RefusalClass {
    /// Of a refusal at an endpoint with that error code and reason, of a user who is known or not. The rules count by
    /// this, and so does the budget: whoever uses up a class has done what its rule counts.
    #[must_use]
    pub fn of((endpoint, error): (&str, &str), reason: Option<R>, is_user_known: bool) -> Self {
        if error == "invalid_scope" {
            // Anybody can write a link with a client's name in it: nobody's client is to be blocked for that.
            let is_link = endpoint == "/oauth/authorize" && !is_user_known;
            return if is_link { Self::Other } else { Self::Scope };
        }
        let Some(reason) = reason else { return Self::Other };
        if matches!(reason, R::WrongPassword | R::UnknownUser | R::UserDisabled) {
            Self::Password
        } else if matches!(reason, R::WrongClientSecret | R::AssertionSignature) {
            Self::ClientCredential
        } else if matches!(
            reason,
            R::UserCodeUnknown | R::UserCodeOverused | R::TooManyUserCodes
        ) {
            Self::UserCode
        } else if matches!(
            reason,
            R::PkceMismatch
                | R::PkceVerifierMissing
                | R::PkceVerifierUnexpected
                | R::RedirectUriChanged
                | R::OtherClient
        ) {
            Self::Code
        } else {
            Self::Other
        }
    }
}
