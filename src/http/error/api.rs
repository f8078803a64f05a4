//! Errors of the resource and the administration API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{ErrorAnswer, WireError, no_store};
use crate::ids::RequestId;

/// Errors of the resource API, with RFC 6750's challenge beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// No token, or another scheme.
    Unauthenticated,
    /// The token's time is over.
    TokenExpired,
    /// Malformed, forged or revoked.
    TokenInvalid,
    /// It is a client's own, where only a user's will do, whatever its scope.
    NoUser,
    /// The DPoP proof is missing or not good (RFC 9449 §7.1).
    InvalidDpopProof,
    /// The DPoP proof needs the nonce that the answer gives (RFC 9449 §9).
    UseDpopNonce,
    /// The token lacks this scope.
    InsufficientScope(&'static str),
    /// The client is not approved for this restricted scope (any more).
    UnapprovedScope(&'static str),
    /// The token's owner may not, whatever its scope.
    PermissionDenied,
    /// The request is malformed. Says how, in fixed words.
    ValidationError(&'static str),
    /// The state of what is there does not allow it. Says why, in fixed words.
    Conflict(&'static str),
    /// There is no such resource. Says which, in fixed words.
    ResourceNotFound(&'static str),
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
    request_id: RequestId,
}

impl ApiError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::ValidationError(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated
            | Self::TokenExpired
            | Self::TokenInvalid
            | Self::NoUser
            | Self::InvalidDpopProof
            | Self::UseDpopNonce => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) | Self::UnapprovedScope(_) | Self::PermissionDenied => {
                StatusCode::FORBIDDEN
            }
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::ResourceNotFound(_) => StatusCode::NOT_FOUND,
            Self::RateLimitExceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Unauthenticated => {
                "No access token was provided, or the authentication scheme is neither Bearer nor DPoP."
            }
            Self::TokenExpired => "The access token has expired.",
            Self::TokenInvalid => {
                "The access token is invalid, malformed, revoked, or bound to a key that the request did not prove to hold."
            }
            Self::NoUser => "The access token stands for no user: it is a client's own.",
            Self::InvalidDpopProof => "The DPoP proof is missing, or is not good for this request and token.",
            Self::UseDpopNonce => "The resource server requires a nonce in the DPoP proof.",
            Self::InsufficientScope(_) => {
                "The access token does not have the scope that this resource needs."
            }
            Self::UnapprovedScope(_) => "The client is not approved for the scope that this resource needs.",
            Self::PermissionDenied => "The token's owner may not access this resource.",
            Self::ValidationError(what) | Self::Conflict(what) | Self::ResourceNotFound(what) => what,
            Self::RateLimitExceeded(_) => "Too many requests in a short time.",
            Self::ServerError => "Something went wrong on the server.",
            Self::ServiceUnavailable => "The service is temporarily unavailable.",
        }
    }

    /// The seconds after which it is worth coming back.
    fn retry_after(self) -> Option<u32> {
        match self {
            Self::RateLimitExceeded(seconds) => Some(seconds),
            Self::ServiceUnavailable => Some(1),
            Self::Unauthenticated
            | Self::TokenExpired
            | Self::TokenInvalid
            | Self::NoUser
            | Self::InvalidDpopProof
            | Self::UseDpopNonce
            | Self::InsufficientScope(_)
            | Self::UnapprovedScope(_)
            | Self::PermissionDenied
            | Self::ValidationError(_)
            | Self::Conflict(_)
            | Self::ResourceNotFound(_)
            | Self::ServerError => None,
        }
    }

    /// The code of its challenge: one of RFC 6750 §3.1 or RFC 9449 §7.1, where one of them fits.
    pub(super) fn challenge_code(self) -> Option<&'static str> {
        match self {
            Self::TokenExpired | Self::TokenInvalid | Self::NoUser => Some("invalid_token"),
            Self::InvalidDpopProof => Some("invalid_dpop_proof"),
            Self::UseDpopNonce => Some("use_dpop_nonce"),
            Self::InsufficientScope(_) | Self::UnapprovedScope(_) => Some("insufficient_scope"),
            Self::ValidationError(_) => Some("invalid_request"),
            Self::Unauthenticated
            | Self::PermissionDenied
            | Self::Conflict(_)
            | Self::ResourceNotFound(_)
            | Self::RateLimitExceeded(_)
            | Self::ServerError
            | Self::ServiceUnavailable => None,
        }
    }

    /// The challenge (RFC 6750 §3, RFC 9449 §7.1). Without a token there is no error to tell, and for a token that does not
    /// open this resource to whom it stands for there is no code.
    fn challenge(self) -> Option<String> {
        if matches!(self, Self::Unauthenticated | Self::PermissionDenied) {
            return Some(r#"Bearer realm="grantlog""#.to_owned());
        }
        let code = self.challenge_code()?;
        let of_proof = matches!(self, Self::InvalidDpopProof | Self::UseDpopNonce);
        let scheme = if of_proof { "DPoP" } else { "Bearer" };
        let what = self.message();
        let told = format!(r#"{scheme} realm="grantlog", error="{code}", error_description="{what}""#);
        if let Self::InsufficientScope(scope) | Self::UnapprovedScope(scope) = self {
            return Some(format!(r#"{told}, scope="{scope}""#));
        }
        Some(told)
    }

    /// An answer with what stands beside its body.
    pub(super) fn in_headers(self, mut response: Response) -> Response {
        no_store(&mut response);
        let headers = response.headers_mut();
        let challenge = self.challenge();
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl WireError for ApiError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::TokenExpired => "token_expired",
            Self::TokenInvalid | Self::NoUser => "token_invalid",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::UnapprovedScope(_) => "unapproved_scope",
            Self::PermissionDenied => "permission_denied",
            Self::ValidationError(_) => "validation_error",
            Self::Conflict(_) => "conflict",
            Self::ResourceNotFound(_) => "resource_not_found",
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

impl ErrorAnswer for ApiError {
    fn respond(self, request: RequestId) -> Response {
        let body = ApiErrorBody {
            error: self.code(),
            message: self.message(),
            request_id: request,
        };
        self.in_headers((self.status(), Json(body)).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_each_thing_once_in_the_characters_that_are_allowed() {
        for error in [
            ApiError::Unauthenticated,
            ApiError::TokenExpired,
            ApiError::TokenInvalid,
            ApiError::NoUser,
            ApiError::InvalidDpopProof,
            ApiError::UseDpopNonce,
            ApiError::InsufficientScope("detail-user"),
            ApiError::UnapprovedScope("detail-user"),
            ApiError::PermissionDenied,
            ApiError::ValidationError("The id in the path is not a UUID."),
        ] {
            let challenge = error.challenge().unwrap();
            let (scheme, attributes) = challenge.split_once(' ').unwrap();
            assert!(["Bearer", "DPoP"].contains(&scheme), "{challenge}");
            // Quotes stand around values only, so every second part is one.
            let parts: Vec<&str> = attributes.split('"').collect();
            let (mut names, values): (Vec<&str>, Vec<&str>) = parts
                .chunks_exact(2)
                .map(|pair| (pair[0].trim_start_matches(", ").trim_end_matches('='), pair[1]))
                .unzip();
            for value in &values {
                let allowed = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
                assert!(!value.is_empty() && value.chars().all(allowed), "{challenge}");
            }
            assert_eq!((names[0], parts.last()), ("realm", Some(&"")), "{challenge}");
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{challenge}");
            let known = ["realm", "error", "error_description", "scope"];
            assert!(names.iter().all(|name| known.contains(name)), "{challenge}");
        }
    }
}
