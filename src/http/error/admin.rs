//! Errors of the administration API: those of the resource API, which may say in detail what is wrong. Whoever reads them
//! administers this server.

use axum::Json;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::api::ApiError;
use super::{ErrorAnswer, Rejection, WireError};
use crate::domain::alert::AlertRefusal;
use crate::domain::authorization_detail::AuthorizationDetailTypeRefusal;
use crate::domain::client::ClientRefusal;
use crate::domain::initial_access_token::InitialAccessTokenRefusal;
use crate::domain::policy::PolicyRefusal;
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::ScopeRefusal;
use crate::domain::signing_key::SigningKeyRefusal;
use crate::domain::ssf_stream::SsfStreamRefusal;
use crate::domain::stream::StreamRefusal;
use crate::domain::trusted_issuer::TrustedIssuerRefusal as Issuer;
use crate::domain::user::UserRefusal;
use crate::ids::RequestId;
use crate::ledger::LedgerError;
use crate::operations::OperationError;

/// An error of the administration API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminError {
    error: ApiError,
    /// What is wrong, instead of the error's own words.
    detail: Option<String>,
}

/// A refused call's answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct AdminErrorBody {
    /// The error code: `unauthenticated`, `token_expired`, `token_invalid`, `invalid_dpop_proof`, `use_dpop_nonce`,
    /// `insufficient_scope`, `unapproved_scope`, `permission_denied`, `validation_error`, `conflict`,
    /// `resource_not_found`, `rate_limit_exceeded`, `server_error` or `service_unavailable`.
    error: &'static str,
    /// What is wrong, in words for people.
    message: String,
    /// What to quote: the trail has the precise reason under it.
    request_id: RequestId,
}

impl AdminError {
    /// The request is not acceptable (400).
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self {
            error: ApiError::ValidationError("The request is not acceptable."),
            detail: Some(detail.into()),
        }
    }

    /// The state of what is there does not allow it (409).
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self {
            error: ApiError::Conflict("The state of what is there does not allow it."),
            detail: Some(detail.into()),
        }
    }

    /// There is no such resource (404).
    #[must_use]
    pub fn missing(detail: impl Into<String>) -> Self {
        Self {
            error: ApiError::ResourceNotFound("There is no such resource."),
            detail: Some(detail.into()),
        }
    }
}

impl From<ApiError> for AdminError {
    fn from(error: ApiError) -> Self {
        Self { error, detail: None }
    }
}

impl From<Rejection<ApiError>> for Rejection<AdminError> {
    fn from(rejection: Rejection<ApiError>) -> Self {
        Self {
            error: rejection.error.into(),
            reason: rejection.reason,
            client: rejection.client,
            subject: rejection.subject,
            grant: rejection.grant,
            authentication: rejection.authentication,
            origins: rejection.origins,
        }
    }
}

impl WireError for AdminError {
    fn code(&self) -> &'static str {
        self.error.code()
    }

    fn unavailable() -> Self {
        ApiError::unavailable().into()
    }

    fn broken() -> Self {
        ApiError::broken().into()
    }

    fn is_ours(&self) -> bool {
        self.error.is_ours()
    }
}

impl ErrorAnswer for AdminError {
    fn respond(self, request: RequestId) -> Response {
        let Some(message) = self.detail else {
            return self.error.respond(request);
        };
        let body = AdminErrorBody {
            error: self.error.code(),
            message,
            request_id: request,
        };
        // The headers are the plain error's: what is detailed may have characters that no header takes.
        let (mut parts, _) = self.error.respond(request).into_parts();
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
        let body = Json(body).into_response().into_body();
        Response::from_parts(parts, body)
    }
}

/// An operation was not done.
impl From<OperationError> for Rejection<AdminError> {
    fn from(error: OperationError) -> Self {
        let detail = error.to_string();
        match error {
            OperationError::Ledger(LedgerError::NameTaken(_)) => Self::new(
                AdminError::conflict(detail),
                RefusalReason::AdministrationConflict,
            ),
            OperationError::Ledger(error) => error.into(),
            OperationError::Password(error) => error.into(),
            OperationError::Client(ClientRefusal::Unknown)
            | OperationError::User(UserRefusal::Unknown)
            | OperationError::Scope(ScopeRefusal::Unknown)
            | OperationError::Key(SigningKeyRefusal::Unknown)
            | OperationError::Policy(PolicyRefusal::Unknown)
            | OperationError::Alert(AlertRefusal::Unknown)
            | OperationError::Stream(StreamRefusal::Unknown)
            | OperationError::SignalStream(SsfStreamRefusal::Unknown)
            | OperationError::AuthorizationDetailType(AuthorizationDetailTypeRefusal::Unknown)
            | OperationError::TrustedIssuer(Issuer::Unknown)
            | OperationError::InitialAccessToken(InitialAccessTokenRefusal::Unknown)
            | OperationError::Grant(_) => {
                Self::new(AdminError::missing(detail), RefusalReason::NoSuchResource)
            }
            OperationError::Invalid { .. }
            | OperationError::Client(
                ClientRefusal::ScopeNotAllowed(_)
                | ClientRefusal::NativeSecret
                | ClientRefusal::ReasonMissing
                | ClientRefusal::ExchangeAudienceMissing,
            )
            | OperationError::Policy(
                PolicyRefusal::MalformedName | PolicyRefusal::Measure | PolicyRefusal::TooLong,
            )
            | OperationError::Stream(
                StreamRefusal::MalformedName | StreamRefusal::Measure | StreamRefusal::OtherServer,
            )
            | OperationError::TrustedIssuer(_)
            | OperationError::AuthorizationDetailType(
                AuthorizationDetailTypeRefusal::MalformedName
                | AuthorizationDetailTypeRefusal::MalformedResources
                | AuthorizationDetailTypeRefusal::Schema(_)
                | AuthorizationDetailTypeRefusal::Template(_),
            )
            | OperationError::Scope(ScopeRefusal::MalformedName | ScopeRefusal::MalformedDescription) => {
                Self::new(AdminError::invalid(detail), RefusalReason::AdministrationInvalid)
            }
            OperationError::Client(_)
            | OperationError::User(_)
            | OperationError::Key(_)
            | OperationError::InitialAccessToken(_)
            | OperationError::LogKey(_)
            | OperationError::Alert(_)
            | OperationError::Network(_)
            | OperationError::SignalStream(_)
            | OperationError::Stream(_) => Self::new(
                AdminError::conflict(detail),
                RefusalReason::AdministrationConflict,
            ),
        }
    }
}
