//! Errors of HTTP itself: what no endpoint has seen. They are not recorded as refusals, since they say nothing
//! about a client, and anybody can make any number of them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::no_store;
use crate::ids::RequestId;

/// A request that came to no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// Not exactly one Host (RFC 9112 §3.2).
    Host,
    /// There is nothing at this path.
    NotFound,
    /// The path takes other methods, which the answer's Allow header names.
    MethodNotAllowed,
    /// The answer has one media type, and it is not among those that the request accepts.
    NotAcceptable,
    /// A status list of an earlier time is not kept (draft-ietf-oauth-status-list §8.4).
    NoHistoricalStatus,
    /// The request took too long.
    Timeout,
    /// The head is larger than the server accepts, or has too many fields.
    HeadTooLarge,
    /// The ledger is not the one that the evidence log has signed.
    LedgerNotWhole,
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: &'static str,
    message: &'static str,
    request_id: RequestId,
}

impl ProtocolError {
    /// Status, code, and what is wrong.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Host => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The request needs exactly one Host header.",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "resource_not_found",
                "There is nothing at this path.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path does not take this method; the Allow header names those that it takes.",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "What is at this path has no media type that the Accept header names.",
            ),
            Self::NoHistoricalStatus => (
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "Status lists of earlier times are not kept: there is none for the parameter time.",
            ),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The request was not complete in time.",
            ),
            Self::LedgerNotWhole => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The server's ledger is not the one that was signed; its operator must look into it.",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "The request's address and headers are larger than the server accepts.",
            ),
        }
    }

    /// The answer.
    #[must_use]
    pub fn respond(self, request: RequestId) -> Response {
        let (status, error, what) = self.parts();
        let body = Body {
            error,
            error_description: what,
            message: what,
            request_id: request,
        };
        let mut response = (status, Json(body)).into_response();
        no_store(&mut response);
        response
    }
}
