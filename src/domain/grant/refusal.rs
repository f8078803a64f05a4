//! Why a command on a grant was refused.

use crate::domain::authorization_detail::DetailsRefusal;
use crate::domain::pkce::PkceRefusal;
use crate::domain::refusal::RefusalReason;

/// Why a command on a grant was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefusal {
    /// No such code or token.
    #[error("no such code or token")]
    Unknown,
    /// It was issued to another client.
    #[error("it was issued to another client")]
    OtherClient,
    /// It is bound to a key that the request did not prove to hold.
    #[error("it is bound to another key")]
    OtherKey,
    /// The code was redeemed before.
    #[error("the code was redeemed before")]
    CodeReplayed,
    /// The code is too old.
    #[error("the code has expired")]
    CodeExpired,
    /// The device code was redeemed before.
    #[error("the device code was redeemed before")]
    DeviceCodeReplayed,
    /// The device code is too old.
    #[error("the device code has expired")]
    DeviceCodeExpired,
    /// Nobody has answered the device yet.
    #[error("nobody has approved or denied the device yet")]
    DevicePending,
    /// The user denied the device.
    #[error("the user denied the device")]
    DeviceDenied,
    /// The device was answered before.
    #[error("the device was approved or denied before")]
    DeviceAnswered,
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
    /// A resource that the grant is not for.
    #[error("the resource is not one that was granted")]
    ResourceExceeded,
    /// A resource that the client has lost, or none is left of those that were granted.
    #[error("the client may no longer have tokens for the resource")]
    ResourceNoLongerAllowed,
    /// Authorization details that are not within the granted ones.
    #[error("the authorization details exceed what was granted")]
    DetailsExceeded,
    /// Authorization details that the client has lost, or that are not for the token's resource servers.
    #[error("the client may no longer have the authorization details, or not at these resource servers")]
    DetailsNoLongerAllowed,
    /// The client has given up the redirect URI that the code was sent to.
    #[error("the redirect_uri that the code was sent to is no longer registered")]
    RedirectUriRemoved,
    /// Nothing of the granted scope is still allowed to the client.
    #[error("the client may no longer have any of the granted scope")]
    ScopeNoLongerAllowed,
    /// The user is disabled or erased.
    #[error("the user may not act")]
    UserDisabled,
    /// The client is in development, and the user is not its owner.
    #[error("the client is in development and works for its owner only")]
    ClientNotLive,
    /// The user's password changed, or the user was disabled, since.
    #[error("the user's password changed since the grant was given")]
    PasswordChanged,
    /// The user withdrew the consent.
    #[error("the user withdrew the consent that the grant rests on")]
    ConsentWithdrawn,
    /// The login that it was given in is over, and the grant with it.
    #[error("the login that the grant was given in is over")]
    SessionEnded,
    /// The client may not refresh such grants (any more).
    #[error("the client may not refresh grants of this flow")]
    NotRefreshable,
    /// The subject token says who may act, and it is somebody else.
    #[error("the subject token lets somebody else act")]
    ActorNotAllowed,
    /// Tokens can be exchanged for ever otherwise.
    #[error("the tokens were exchanged too often already")]
    TooManyExchanges,
    /// The id is in use.
    #[error("this grant exists already")]
    Exists,
}

impl From<DetailsRefusal> for GrantRefusal {
    fn from(refusal: DetailsRefusal) -> Self {
        match refusal {
            DetailsRefusal::Exceeded => Self::DetailsExceeded,
            DetailsRefusal::NoLongerAllowed => Self::DetailsNoLongerAllowed,
        }
    }
}

impl GrantRefusal {
    /// The reason, for the refusal's event.
    #[must_use]
    pub fn reason(self) -> RefusalReason {
        match self {
            Self::Unknown => RefusalReason::UnknownCredential,
            Self::OtherClient => RefusalReason::OtherClient,
            Self::OtherKey => RefusalReason::OtherKey,
            Self::CodeReplayed => RefusalReason::CodeReplayed,
            Self::CodeExpired => RefusalReason::CodeExpired,
            Self::DeviceCodeReplayed => RefusalReason::DeviceCodeReplayed,
            Self::DeviceCodeExpired => RefusalReason::DeviceCodeExpired,
            Self::DevicePending => RefusalReason::DevicePending,
            Self::DeviceDenied => RefusalReason::UserDenied,
            Self::DeviceAnswered => RefusalReason::UserCodeAnswered,
            Self::RedirectUriChanged => RefusalReason::RedirectUriChanged,
            Self::Pkce(PkceRefusal::VerifierMissing) => RefusalReason::PkceVerifierMissing,
            Self::Pkce(PkceRefusal::VerifierUnexpected) => RefusalReason::PkceVerifierUnexpected,
            Self::Pkce(PkceRefusal::Malformed) => RefusalReason::PkceMalformed,
            Self::Pkce(PkceRefusal::Mismatch) => RefusalReason::PkceMismatch,
            Self::Revoked => RefusalReason::GrantRevoked,
            Self::RefreshReplayed => RefusalReason::RefreshReplayed,
            Self::RefreshExpired => RefusalReason::RefreshExpired,
            Self::GrantExpired => RefusalReason::GrantExpired,
            Self::ScopeExceeded => RefusalReason::ScopeExceeded,
            Self::ResourceExceeded => RefusalReason::ResourceExceeded,
            Self::ResourceNoLongerAllowed => RefusalReason::ResourceNoLongerAllowed,
            Self::DetailsExceeded => RefusalReason::DetailsExceeded,
            Self::DetailsNoLongerAllowed => RefusalReason::DetailsNoLongerAllowed,
            Self::RedirectUriRemoved => RefusalReason::RedirectUriNotRegistered,
            Self::ScopeNoLongerAllowed => RefusalReason::ScopeNoLongerAllowed,
            Self::UserDisabled => RefusalReason::UserDisabled,
            Self::ClientNotLive => RefusalReason::ClientNotLive,
            Self::PasswordChanged => RefusalReason::PasswordChanged,
            Self::ConsentWithdrawn => RefusalReason::ConsentWithdrawn,
            Self::SessionEnded => RefusalReason::SessionEnded,
            Self::NotRefreshable => RefusalReason::NotRefreshable,
            Self::ActorNotAllowed => RefusalReason::ActorNotAllowed,
            Self::TooManyExchanges => RefusalReason::TooManyExchanges,
            Self::Exists => RefusalReason::GrantExists,
        }
    }
}
