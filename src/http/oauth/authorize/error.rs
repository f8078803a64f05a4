//! What a refused authorization request is answered with (RFC 6749 §4.1.2.1): an error that is sent back to the
//! client, or a page where nothing may be sent anywhere.

use crate::domain::grant::GrantRefusal;
use crate::domain::refusal::RefusalReason;
use crate::http::error::{Rejection, WireError};
use crate::http::page::PageError;
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::{LedgerError, Refused};

use super::redirect::ReturnAddress;

/// Errors that are sent to the client's redirection endpoint (RFC 6749 §4.1.2.1; OpenID Connect Core
/// §3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizeError {
    /// Malformed, or a parameter is missing or doubled. Says what, in fixed words.
    InvalidRequest(&'static str),
    /// This client may not use the authorization code grant.
    UnauthorizedClient,
    /// The user, or this server, says no.
    AccessDenied,
    /// The client is in development, and this user is not its owner.
    ClientNotLive,
    /// Not `code`.
    UnsupportedResponseType,
    /// The scope is malformed, unknown, or more than this client may have.
    InvalidScope,
    /// A `resource` is malformed, or not one of the client's (RFC 8707 §2).
    InvalidTarget,
    /// The authorization details are malformed, of a type that is unknown or not the client's, or do not conform to it (RFC
    /// 9396 §5). Says what, in fixed words.
    InvalidAuthorizationDetails(&'static str),
    /// The `request` parameter is not a request object that is good for this client (RFC 9101 §6). Says why, in fixed
    /// words.
    InvalidRequestObject(&'static str),
    /// A `request_uri` that is no pushed request's is not fetched (RFC 9101 §5.2).
    RequestUriNotSupported,
    /// The pushed request was answered before (RFC 9126 §4).
    InvalidRequestUri,
    /// The `registration` parameter (OpenID Connect Core §7.2.1) is not supported.
    RegistrationNotSupported,
    /// The `grant_id` is not that of a live grant of this client (Grant Management for OAuth 2.0).
    InvalidGrantId,
    /// Nobody is logged in, and no page may be shown.
    LoginRequired,
    /// The user has not consented, and no page may be shown.
    ConsentRequired,
    /// No login here is of an authentication context class that is essential to the client (OpenID Connect Core
    /// Error Code `unmet_authentication_requirements` §2).
    UnmetAuthenticationRequirements,
    /// Something is broken here.
    ServerError,
    /// The database cannot be reached.
    TemporarilyUnavailable,
}

impl AuthorizeError {
    /// The `error_description`: ASCII without quote or backslash (RFC 6749 appendix A.8).
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(what)
            | Self::InvalidRequestObject(what)
            | Self::InvalidAuthorizationDetails(what) => what,
            Self::UnauthorizedClient => "The client may not use the authorization code grant.",
            Self::AccessDenied => "The resource owner or the authorization server denied the request.",
            Self::ClientNotLive => "The client is in development: it works for the user who owns it only.",
            Self::UnsupportedResponseType => "The only response_type that is supported is code.",
            Self::InvalidScope => {
                "The scope is malformed or unknown, the client may not ask for it, or it needs an approval that the client does not have."
            }
            Self::InvalidTarget => "A resource is malformed, or not one that the client may have tokens for.",
            Self::RequestUriNotSupported => {
                "The only request_uri that is supported is one of the pushed authorization request endpoint."
            }
            Self::InvalidRequestUri => "The pushed request was answered before; push another.",
            Self::RegistrationNotSupported => "The registration parameter is not supported.",
            Self::InvalidGrantId => "The grant_id is not that of a grant that the client has.",
            Self::LoginRequired => {
                "Nobody is logged in, or not whom or as recently as asked, and prompt=none forbids to ask."
            }
            Self::ConsentRequired => "The user has not consented, and prompt=none forbids to ask.",
            Self::UnmetAuthenticationRequirements => {
                "No login at this server has the acr that the request calls essential."
            }
            Self::ServerError => "The server met an unexpected condition.",
            Self::TemporarilyUnavailable => "The server is temporarily unable to handle the request.",
        }
    }
}

impl WireError for AuthorizeError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied | Self::ClientNotLive => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails(_) => "invalid_authorization_details",
            Self::InvalidRequestObject(_) => "invalid_request_object",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidGrantId => "invalid_grant_id",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    fn unavailable() -> Self {
        Self::TemporarilyUnavailable
    }

    fn broken() -> Self {
        Self::ServerError
    }

    fn is_ours(&self) -> bool {
        matches!(self, Self::ServerError | Self::TemporarilyUnavailable)
    }

    fn what(&self) -> Option<&'static str> {
        Some(self.description())
    }
}

impl From<GrantRefusal> for Rejection<AuthorizeError> {
    fn from(refusal: GrantRefusal) -> Self {
        // A new grant under a fresh id refuses nothing but an id that is taken.
        Self::new(AuthorizeError::ServerError, refusal.reason())
    }
}

/// An invalid request, in words for the client's developer and in a word for the ledger.
#[must_use]
pub(super) fn invalid_request(what: &'static str, reason: RefusalReason) -> Rejection<AuthorizeError> {
    Rejection::new(AuthorizeError::InvalidRequest(what), reason)
}

impl Rejection<AuthorizeError> {
    /// The same for a person: a pushed request has had its one answer (RFC 9126 §4), so nothing more goes to the client.
    pub(super) fn answered_before(&self) -> Rejection<PageError> {
        Rejection {
            error: PageError::RequestUriInvalid,
            reason: RefusalReason::RequestUriUnknown,
            client: self.client,
            subject: self.subject,
            grant: self.grant,
            authentication: self.authentication.clone(),
            origins: None,
        }
    }
}

/// A refusal, and where it goes.
pub(super) enum Failure {
    /// Nothing may be sent anywhere: the client or its redirect URI is not known to be good.
    Page(Rejection<PageError>),
    /// Back to the client.
    Redirect(Box<ReturnAddress>, Rejection<AuthorizeError>),
}

impl Failure {
    /// A refusal of a request whose client and redirect URI are good.
    pub(super) fn redirect(
        back: &ReturnAddress,
        (client, subject): (ClientKey, Option<SubjectId>),
        mut rejection: Rejection<AuthorizeError>,
    ) -> Self {
        rejection.subject = rejection.subject.or(subject);
        Self::Redirect(Box::new(back.clone()), rejection.client(client))
    }

    /// What the client is told, where that will not change.
    pub(super) fn answer(&self) -> Option<&Rejection<AuthorizeError>> {
        match self {
            Self::Page(_) => None,
            Self::Redirect(_, rejection) => Some(rejection).filter(|rejection| !rejection.error.is_ours()),
        }
    }

    /// Whether it is that the login had ended when the consent form was sent.
    pub(super) fn is_session_over(&self) -> bool {
        match self {
            Self::Page(_) => false,
            Self::Redirect(_, rejection) => rejection.reason == RefusalReason::SessionExpired,
        }
    }

    /// What the ledger records.
    pub(super) fn refused(&self) -> Option<Refused> {
        match self {
            Self::Page(rejection) => rejection.refused(),
            Self::Redirect(_, rejection) => rejection.refused(),
        }
    }
}

impl From<Rejection<PageError>> for Failure {
    fn from(rejection: Rejection<PageError>) -> Self {
        Self::Page(rejection)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Page(error.into())
    }
}
