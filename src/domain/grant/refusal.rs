//! Why a command on a grant was refused.

use crate::domain::pkce::PkceRefusal;

/// Why a command on a grant was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefusal {
    /// No such code or token.
    #[error("no such code or token")]
    Unknown,
    /// It was issued to another client.
    #[error("it was issued to another client")]
    OtherClient,
    /// The code was redeemed before.
    #[error("the code was redeemed before")]
    CodeReplayed,
    /// The code is too old.
    #[error("the code has expired")]
    CodeExpired,
    /// Not the redirect URI that the code was sent to.
    #[error("the redirect_uri is not the one that the code was sent to")]
    RedirectUriChanged,
    /// The PKCE check failed.
    #[error("PKCE: {0}")]
    Pkce(#[from] PkceRefusal),
    /// The grant was revoked.
    #[error("the grant was revoked")]
    Revoked,
    /// A refresh token that is over was presented.
    #[error("a refresh token that had been used before was presented")]
    RefreshReplayed,
    /// The refresh token is too old.
    #[error("the refresh token has expired")]
    RefreshExpired,
    /// The grant's own lifetime is over.
    #[error("the grant has reached its maximum lifetime")]
    GrantExpired,
    /// More scope than was granted.
    #[error("the scope exceeds what was granted")]
    ScopeExceeded,
    /// Nothing of the granted scope is still allowed to the client.
    #[error("the client may no longer have any of the granted scope")]
    ScopeNoLongerAllowed,
    /// The user is disabled or erased.
    #[error("the user may not act")]
    UserDisabled,
    /// The user's password changed, or the user was disabled, since.
    #[error("the user's password changed since the grant was given")]
    PasswordChanged,
    /// The user withdrew the consent.
    #[error("the user withdrew the consent that the grant rests on")]
    ConsentWithdrawn,
    /// The id is in use.
    #[error("this grant exists already")]
    Exists,
}

impl GrantRefusal {
    /// The reason in a word, for the refusal's event.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_credential",
            Self::OtherClient => "other_client",
            Self::CodeReplayed => "code_replayed",
            Self::CodeExpired => "code_expired",
            Self::RedirectUriChanged => "redirect_uri_changed",
            Self::Pkce(PkceRefusal::VerifierMissing) => "pkce_verifier_missing",
            Self::Pkce(PkceRefusal::VerifierUnexpected) => "pkce_verifier_unexpected",
            Self::Pkce(PkceRefusal::Malformed) => "pkce_malformed",
            Self::Pkce(PkceRefusal::Mismatch) => "pkce_mismatch",
            Self::Revoked => "grant_revoked",
            Self::RefreshReplayed => "refresh_replayed",
            Self::RefreshExpired => "refresh_expired",
            Self::GrantExpired => "grant_expired",
            Self::ScopeExceeded => "scope_exceeded",
            Self::ScopeNoLongerAllowed => "scope_no_longer_allowed",
            Self::UserDisabled => "user_disabled",
            Self::PasswordChanged => "password_changed",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::Exists => "grant_exists",
        }
    }
}
