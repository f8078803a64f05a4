//! Errors of the endpoints that clients call: token, introspection, revocation.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{ErrorAnswer, Rejection, WireError, no_store};
use crate::domain::grant::GrantRefusal;
use crate::domain::refusal::RefusalReason;
use crate::http::limits::TooMany;
use crate::ids::RequestId;

/// Errors of the token, introspection and revocation endpoints (RFC 6749 §5.2, RFC 7009 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Malformed, or a parameter is missing or doubled.
    InvalidRequest,
    /// The body is too large.
    TooLarge,
    /// Client authentication failed.
    InvalidClient {
        /// Whether the client had tried HTTP Basic, and so gets a challenge.
        challenge: bool,
    },
    /// The code, refresh token or password is not good.
    InvalidGrant,
    /// This client may not use this grant type.
    UnauthorizedClient,
    /// Nobody may.
    UnsupportedGrantType,
    /// The scope is malformed, unknown or too wide.
    InvalidScope,
    /// A `resource` is malformed, or not one of the client's or the grant's (RFC 8707 §2).
    InvalidTarget,
    /// The authorization details are malformed, unknown, not the client's, or more than was granted (RFC 9396 §5).
    InvalidAuthorizationDetails,
    /// The DPoP proof is not good (RFC 9449 §5).
    InvalidDpopProof,
    /// The DPoP proof needs the nonce that the answer gives (RFC 9449 §8).
    UseDpopNonce,
    /// Another `response_type` than `code` was pushed (RFC 9126 §2.3).
    UnsupportedResponseType,
    /// A pushed request that the authorization endpoint would refuse, with its code and in its words (RFC 9126 §2.3).
    Pushed(&'static str, &'static str),
    /// Nobody has answered the device yet (RFC 8628 §3.5, as the next three).
    AuthorizationPending,
    /// The same, and the device must poll more slowly.
    SlowDown,
    /// The user denied the device.
    AccessDenied,
    /// The device code's time is over.
    ExpiredToken,
    /// Too many failures: come back after so many seconds.
    TooMany(u32),
    /// Something is broken here.
    ServerError,
    /// The database cannot be reached.
    TemporarilyUnavailable,
}

#[derive(Serialize)]
struct TokenErrorBody {
    error: &'static str,
    error_description: &'static str,
    message: &'static str,
    hint: &'static str,
    request_id: RequestId,
}

impl TokenError {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::UnsupportedResponseType
            | Self::AuthorizationPending
            | Self::SlowDown
            | Self::AccessDenied
            | Self::ExpiredToken
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::InvalidAuthorizationDetails
            | Self::InvalidDpopProof
            | Self::Pushed(..)
            | Self::UseDpopNonce => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidClient { .. } => StatusCode::UNAUTHORIZED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Description, message, hint.
    #[expect(clippy::too_many_lines, reason = "a table: one entry per code")]
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                "The request is missing a required parameter, includes a parameter more than once, or is otherwise malformed.",
                "The request is malformed.",
                "Check that every required parameter is there, once, in a POST body of a content type that the client may send.",
            ),
            Self::TooLarge => (
                "The request body is larger than the server accepts.",
                "The request is too large.",
                "A token request needs a few kilobytes at most.",
            ),
            Self::InvalidClient { .. } => (
                "Client authentication failed.",
                "The client could not be authenticated.",
                "Check the client_id, that the client uses the authentication method it is registered for, and its secret or assertion. An assertion is signed with a registered key, has the client_id as iss and sub, the issuer as aud, an exp within the hour, and a new jti each time.",
            ),
            Self::InvalidGrant => (
                "The provided authorization grant or refresh token is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.",
                "The provided authorization grant is invalid or expired.",
                "Check the code or refresh token; if it may have been used before or expired, start the authorization again.",
            ),
            Self::UnauthorizedClient => (
                "The client is not authorized to use this grant type.",
                "This client may not use this grant type.",
                "Check the grant types that the client is registered for.",
            ),
            Self::UnsupportedGrantType => (
                "The authorization grant type is not supported by this server.",
                "The grant type is not supported.",
                "The server's metadata document lists the supported grant types.",
            ),
            Self::InvalidScope => (
                "The requested scope is invalid, unknown, malformed, or exceeds what was granted.",
                "The requested scope is not acceptable.",
                "Check the spelling of the scopes, that the client may use them, and that restricted ones are approved.",
            ),
            Self::InvalidTarget => (
                "The requested resource is malformed, unknown, or not one that the client or the grant has.",
                "The requested resource is not acceptable.",
                "Check that each resource is an absolute URI without a fragment, and one of the client's audience.",
            ),
            Self::InvalidAuthorizationDetails => (
                "The authorization_details are malformed, of a type that is unknown or not the client's, do not conform to their type, or exceed what was granted.",
                "The authorization details are not acceptable.",
                "Check that they are a JSON array of objects with a type that the client is registered for, that each conforms to its type, and that a token request asks for no more than was granted.",
            ),
            Self::InvalidDpopProof => (
                "The DPoP proof is missing a claim, malformed, for another request, out of its time, not signed with its key, or was used before.",
                "The DPoP proof is not acceptable.",
                "Sign a new proof for each request: with typ dpop+jwt, the public key, this method and address, and a fresh jti and iat.",
            ),
            Self::UseDpopNonce => (
                "The authorization server requires a nonce in the DPoP proof.",
                "The DPoP proof needs a nonce.",
                "Repeat the request with a new proof that has the value of the DPoP-Nonce header as its nonce.",
            ),
            Self::UnsupportedResponseType => (
                "The only response_type that is supported is code.",
                "The response_type is not supported.",
                "Use response_type=code.",
            ),
            Self::Pushed(_, what) => (
                what,
                "The authorization request is not acceptable.",
                "Correct the parameter that error_description names, and push the request again.",
            ),
            Self::AuthorizationPending => (
                "The user has not answered the device's request yet.",
                "The user has not answered yet.",
                "Poll again after the interval that the device authorization named.",
            ),
            Self::SlowDown => (
                "The user has not answered yet, and the device polls too often.",
                "The device polls too often.",
                "Wait five seconds more than before between polls, from now on.",
            ),
            Self::AccessDenied => (
                "The user denied the device's request.",
                "The user said no.",
                "Stop polling; begin again only if the user wants to.",
            ),
            Self::ExpiredToken => (
                "The device code has expired.",
                "The code has expired.",
                "Stop polling; begin again and show the user the new code.",
            ),
            Self::TooMany(_) => (
                "Too many failed attempts.",
                "Too many failed attempts.",
                "Wait for the seconds that the Retry-After header names.",
            ),
            Self::ServerError => (
                "The server met an unexpected condition.",
                "Something went wrong on the server.",
                "Give the request_id of this answer to the operator.",
            ),
            Self::TemporarilyUnavailable => (
                "The server is temporarily unable to handle the request.",
                "The server is temporarily unavailable.",
                "Try again after a short while, with increasing pauses.",
            ),
        }
    }
}

impl WireError for TokenError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge => "invalid_request",
            Self::InvalidClient { .. } => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::Pushed(code, _) => code,
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::ServerError => "server_error",
            Self::TooMany(_) | Self::TemporarilyUnavailable => "temporarily_unavailable",
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

    /// A device that is told to wait is told so every few seconds.
    fn is_recorded(&self) -> bool {
        !self.is_ours() && !matches!(self, Self::AuthorizationPending | Self::SlowDown)
    }
}

/// Too many failures came from this source, or for this account.
impl From<TooMany> for Rejection<TokenError> {
    fn from(wait: TooMany) -> Self {
        Self::new(
            TokenError::TooMany(wait.retry_after),
            RefusalReason::TooManyFailures,
        )
    }
}

impl From<GrantRefusal> for Rejection<TokenError> {
    fn from(refusal: GrantRefusal) -> Self {
        let error = match refusal {
            GrantRefusal::ScopeExceeded | GrantRefusal::ScopeNoLongerAllowed => TokenError::InvalidScope,
            GrantRefusal::ResourceExceeded | GrantRefusal::ResourceNoLongerAllowed => {
                TokenError::InvalidTarget
            }
            GrantRefusal::DetailsExceeded | GrantRefusal::DetailsNoLongerAllowed => {
                TokenError::InvalidAuthorizationDetails
            }
            GrantRefusal::DevicePending => TokenError::AuthorizationPending,
            GrantRefusal::DeviceDenied => TokenError::AccessDenied,
            GrantRefusal::DeviceCodeExpired => TokenError::ExpiredToken,
            GrantRefusal::ActorNotAllowed | GrantRefusal::TooManyExchanges => TokenError::InvalidRequest,
            GrantRefusal::Unknown
            | GrantRefusal::OtherClient
            | GrantRefusal::OtherKey
            | GrantRefusal::CodeReplayed
            | GrantRefusal::CodeExpired
            | GrantRefusal::DeviceCodeReplayed
            | GrantRefusal::DeviceAnswered
            | GrantRefusal::RedirectUriChanged
            | GrantRefusal::RedirectUriRemoved
            | GrantRefusal::Pkce(_)
            | GrantRefusal::Revoked
            | GrantRefusal::RefreshReplayed
            | GrantRefusal::RefreshExpired
            | GrantRefusal::GrantExpired
            | GrantRefusal::UserDisabled
            | GrantRefusal::ClientNotLive
            | GrantRefusal::PasswordChanged
            | GrantRefusal::ConsentWithdrawn
            | GrantRefusal::SessionEnded
            | GrantRefusal::NotRefreshable
            | GrantRefusal::Exists => TokenError::InvalidGrant,
        };
        Self::new(error, refusal.reason())
    }
}

impl ErrorAnswer for TokenError {
    fn respond(self, request: RequestId) -> Response {
        let (error_description, message, hint) = self.texts();
        let body = TokenErrorBody {
            error: self.code(),
            error_description,
            message,
            hint,
            request_id: request,
        };
        let mut response = (self.status(), Json(body)).into_response();
        no_store(&mut response);
        let headers = response.headers_mut();
        match self {
            Self::InvalidClient { challenge: true } => {
                let challenge = HeaderValue::from_static(r#"Basic realm="grantlog", charset="UTF-8""#);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::TooMany(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::TemporarilyUnavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(1));
            }
            Self::InvalidRequest
            | Self::TooLarge
            | Self::InvalidClient { challenge: false }
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::UnsupportedResponseType
            | Self::AuthorizationPending
            | Self::SlowDown
            | Self::AccessDenied
            | Self::ExpiredToken
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::InvalidAuthorizationDetails
            | Self::InvalidDpopProof
            | Self::UseDpopNonce
            | Self::Pushed(..)
            | Self::ServerError => {}
        }
        response
    }
}
