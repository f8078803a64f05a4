//! Errors of the endpoints below `/oauth` that an access token opens (`UserInfo`, grant management): those of the API, in
//! the codes that are registered for them.

use axum::http::StatusCode;
use axum::response::Response;
use axum::{Json, response::IntoResponse};
use serde::Serialize;

use super::{ApiError, ErrorAnswer, Rejection, WireError};
use crate::ids::RequestId;

/// An error in RFC 6750's words, where it has one (§3.1), with its challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BearerError(pub ApiError);

#[derive(Serialize)]
struct BearerErrorBody {
    /// RFC 6750 §3.1: none to a request without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    error_description: &'static str,
    message: &'static str,
    request_id: RequestId,
}

impl From<Rejection<ApiError>> for Rejection<BearerError> {
    fn from(rejection: Rejection<ApiError>) -> Self {
        rejection.tell(BearerError)
    }
}

impl WireError for BearerError {
    fn code(&self) -> &'static str {
        self.0.challenge_code().unwrap_or_else(|| self.0.code())
    }

    fn unavailable() -> Self {
        Self(ApiError::unavailable())
    }

    fn broken() -> Self {
        Self(ApiError::broken())
    }

    fn is_ours(&self) -> bool {
        self.0.is_ours()
    }
}

impl ErrorAnswer for BearerError {
    fn respond(self, request: RequestId) -> Response {
        let what = self.0.message();
        let body = BearerErrorBody {
            error: (self.0 != ApiError::Unauthenticated).then(|| self.code()),
            error_description: what,
            message: what,
            request_id: request,
        };
        let status: StatusCode = self.0.status();
        self.0.in_headers((status, Json(body)).into_response())
    }
}
