//! Errors on the wire: one type per format, one mapping each. Texts are fixed, so that nothing can be learned
//! from their wording; the precise reason goes into the refusal's event.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::grant::GrantRefusal;
use crate::domain::refusal::RefusalReason;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{LedgerError, Refused};

/// A refused request: what its caller is told, and what the ledger is told.
#[derive(Clone, Debug)]
pub struct Rejection<E> {
    /// What the caller is told.
    pub error: E,
    /// The precise reason.
    pub reason: RefusalReason,
    /// The client, claimed or authenticated.
    pub client: Option<ClientKey>,
    /// The user.
    pub subject: Option<SubjectId>,
    /// The grant, where a credential's digest matched.
    pub grant: Option<GrantId>,
}

/// A wire format's error.
pub trait WireError: Sized {
    /// The registered code.
    fn code(&self) -> &'static str;
    /// What says that the database cannot be reached.
    fn unavailable() -> Self;
    /// What says that something is broken here.
    fn broken() -> Self;
    /// Whether it is the server's trouble and not the request's: not recorded as a refusal.
    fn is_ours(&self) -> bool;
}

impl<E: WireError> Rejection<E> {
    /// A rejection of which nothing more is known.
    #[must_use]
    pub fn new(error: E, reason: RefusalReason) -> Self {
        Self {
            error,
            reason,
            client: None,
            subject: None,
            grant: None,
        }
    }

    /// Names the client.
    #[must_use]
    pub fn client(mut self, client: ClientKey) -> Self {
        self.client = Some(client);
        self
    }

    /// Names the grant and its user.
    #[must_use]
    pub fn grant(mut self, grant: GrantId, subject: Option<SubjectId>) -> Self {
        self.grant = Some(grant);
        self.subject = subject;
        self
    }

    /// What the ledger records; nothing where the trouble is ours.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        (!self.error.is_ours()).then(|| Refused {
            error: self.error.code(),
            reason: self.reason,
            client: self.client,
            subject: self.subject,
            grant: self.grant,
        })
    }
}

impl<E: WireError> From<LedgerError> for Rejection<E> {
    fn from(error: LedgerError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the ledger failed a request"
        );
        match error {
            LedgerError::Unavailable | LedgerError::Read(_) | LedgerError::Vault(_) => {
                Self::new(E::unavailable(), RefusalReason::LedgerUnavailable)
            }
            LedgerError::NameTaken(_)
            | LedgerError::Refused(_)
            | LedgerError::TooLarge(_)
            | LedgerError::NotCanonical(_)
            | LedgerError::UnknownEvent(_)
            | LedgerError::Crypto(_)
            | LedgerError::Randomness(_) => Self::new(E::broken(), RefusalReason::LedgerError),
        }
    }
}

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
    /// RFC 7009 §2.2.1.
    UnsupportedTokenType,
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
}

impl TokenError {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::UnsupportedTokenType
            | Self::InvalidScope => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidClient { .. } => StatusCode::UNAUTHORIZED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Description, message, hint.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                "The request is missing a required parameter, includes a parameter more than once, or is otherwise malformed.",
                "The request is malformed.",
                "Check that every required parameter is there, once, in a form-encoded POST body.",
            ),
            Self::TooLarge => (
                "The request body is larger than the server accepts.",
                "The request is too large.",
                "A token request needs a few kilobytes at most.",
            ),
            Self::InvalidClient { .. } => (
                "Client authentication failed.",
                "The client could not be authenticated.",
                "Check the client_id, the client_secret, and that the client uses the authentication method it is registered for.",
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
            Self::UnsupportedTokenType => (
                "The server does not support revoking tokens of this type.",
                "The token type is not supported.",
                "Leave token_type_hint out, or use access_token or refresh_token.",
            ),
            Self::TooMany(_) => (
                "Too many failed attempts.",
                "Too many failed attempts.",
                "Wait for the seconds that the Retry-After header names.",
            ),
            Self::ServerError => (
                "The server met an unexpected condition.",
                "Something went wrong on the server.",
                "Quote the X-Request-Id of this answer to the operator.",
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
            Self::UnsupportedTokenType => "unsupported_token_type",
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
}

impl From<GrantRefusal> for Rejection<TokenError> {
    fn from(refusal: GrantRefusal) -> Self {
        let error = match refusal {
            GrantRefusal::ScopeExceeded | GrantRefusal::ScopeNoLongerAllowed => TokenError::InvalidScope,
            GrantRefusal::Unknown
            | GrantRefusal::OtherClient
            | GrantRefusal::CodeReplayed
            | GrantRefusal::CodeExpired
            | GrantRefusal::RedirectUriChanged
            | GrantRefusal::Pkce(_)
            | GrantRefusal::Revoked
            | GrantRefusal::RefreshReplayed
            | GrantRefusal::RefreshExpired
            | GrantRefusal::GrantExpired
            | GrantRefusal::UserDisabled
            | GrantRefusal::PasswordChanged
            | GrantRefusal::ConsentWithdrawn
            | GrantRefusal::Exists => TokenError::InvalidGrant,
        };
        Self::new(error, refusal.reason())
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let (error_description, message, hint) = self.texts();
        let body = TokenErrorBody {
            error: self.code(),
            error_description,
            message,
            hint,
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
            | Self::UnsupportedTokenType
            | Self::InvalidScope
            | Self::ServerError => {}
        }
        response
    }
}

/// Errors of the resource API, with RFC 6750's challenge beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// No token, or another scheme.
    Unauthenticated,
    /// The token's time is over.
    TokenExpired,
    /// Malformed, forged or revoked.
    TokenInvalid,
    /// The token lacks this scope.
    InsufficientScope(&'static str),
    /// The client is not approved for this restricted scope (any more).
    UnapprovedScope(&'static str),
    /// A client's own token, where a user's is needed.
    PermissionDenied,
    /// The request is malformed.
    ValidationError,
    /// There is no such resource.
    ResourceNotFound,
    /// Too many requests: come back after so many seconds.
    RateLimitExceeded(u32),
    /// Something is broken here.
    ServerError,
    /// The database cannot be reached.
    ServiceUnavailable,
}

#[derive(Serialize)]
struct ApiErrorBody {
    error: &'static str,
    message: &'static str,
}

impl ApiError {
    fn status(self) -> StatusCode {
        match self {
            Self::ValidationError => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::TokenExpired | Self::TokenInvalid => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) | Self::UnapprovedScope(_) | Self::PermissionDenied => {
                StatusCode::FORBIDDEN
            }
            Self::ResourceNotFound => StatusCode::NOT_FOUND,
            Self::RateLimitExceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Unauthenticated => {
                "No access token was provided, or the authentication scheme is not Bearer."
            }
            Self::TokenExpired => "The access token has expired.",
            Self::TokenInvalid => "The access token is invalid, malformed or revoked.",
            Self::InsufficientScope(_) => {
                "The access token does not have the scope that this resource needs."
            }
            Self::UnapprovedScope(_) => "The client is not approved for the scope that this resource needs.",
            Self::PermissionDenied => "The token's owner may not access this resource.",
            Self::ValidationError => "The request is malformed.",
            Self::ResourceNotFound => "There is no such resource.",
            Self::RateLimitExceeded(_) => "Too many requests in a short time.",
            Self::ServerError => "Something went wrong on the server.",
            Self::ServiceUnavailable => "The service is temporarily unavailable.",
        }
    }

    /// RFC 6750 §3; only `invalid_token` and `insufficient_scope` are registered there.
    fn challenge(self) -> Option<String> {
        match self {
            Self::Unauthenticated => Some(r#"Bearer realm="grantlog""#.to_owned()),
            Self::TokenExpired | Self::TokenInvalid => Some(format!(
                r#"Bearer realm="grantlog", error="invalid_token", error_description="{}""#,
                self.message()
            )),
            Self::InsufficientScope(scope) | Self::UnapprovedScope(scope) => Some(format!(
                r#"Bearer realm="grantlog", error="insufficient_scope", error_description="{}", scope="{scope}""#,
                self.message()
            )),
            Self::PermissionDenied
            | Self::ValidationError
            | Self::ResourceNotFound
            | Self::RateLimitExceeded(_)
            | Self::ServerError
            | Self::ServiceUnavailable => None,
        }
    }
}

impl WireError for ApiError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::TokenExpired => "token_expired",
            Self::TokenInvalid => "token_invalid",
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::UnapprovedScope(_) => "unapproved_scope",
            Self::PermissionDenied => "permission_denied",
            Self::ValidationError => "validation_error",
            Self::ResourceNotFound => "resource_not_found",
            Self::RateLimitExceeded(_) => "rate_limit_exceeded",
            Self::ServerError => "server_error",
            Self::ServiceUnavailable => "service_unavailable",
        }
    }

    fn unavailable() -> Self {
        Self::ServiceUnavailable
    }

    fn broken() -> Self {
        Self::ServerError
    }

    fn is_ours(&self) -> bool {
        matches!(self, Self::ServerError | Self::ServiceUnavailable)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ApiErrorBody {
            error: self.code(),
            message: self.message(),
        };
        let mut response = (self.status(), Json(body)).into_response();
        no_store(&mut response);
        let headers = response.headers_mut();
        if let Some(challenge) = self
            .challenge()
            .and_then(|text| HeaderValue::from_str(&text).ok())
        {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Self::RateLimitExceeded(seconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Nothing on the way may keep this answer (RFC 6749 §5.1).
pub fn no_store(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}
