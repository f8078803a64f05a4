//! Errors of the client registration and configuration endpoints (RFC 7591 §3.2.2, RFC 7592 §2).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{ErrorAnswer, Rejection, WireError, no_store};
use crate::crypto::software_statement::StatementRefusal;
use crate::domain::client::ClientRefusal;
use crate::domain::initial_access_token::InitialAccessTokenRefusal;
use crate::domain::refusal::RefusalReason;
use crate::http::limits::TooMany;
use crate::ids::RequestId;
use crate::operations::{OperationError, self_registration};

/// The most characters of a description.
const MAX_DESCRIPTION: usize = 500;

/// Errors of client registration. What is wrong with the metadata is told: it is the caller's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationError {
    /// A redirect URI is not acceptable. Says why.
    InvalidRedirectUri(String),
    /// Another member is not acceptable. Says which and why.
    InvalidClientMetadata(String),
    /// The software statement is not good.
    InvalidSoftwareStatement,
    /// The software statement is missing, or of somebody who is not trusted.
    UnapprovedSoftwareStatement,
    /// The body is too large.
    TooLarge,
    /// The initial or registration access token is missing.
    Unauthenticated,
    /// The initial or registration access token is not good.
    InvalidToken,
    /// The client is suspended.
    AccessDenied,
    /// Too many registrations or failures: come back after so many seconds.
    TooMany(u32),
    /// Something is broken here.
    ServerError,
    /// The database cannot be reached.
    TemporarilyUnavailable,
}

#[derive(Serialize)]
struct RegistrationErrorBody {
    error: &'static str,
    error_description: String,
    request_id: RequestId,
}

impl RegistrationError {
    /// Whether nobody knows if the request was done: the trouble is this server's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::ServerError | Self::TemporarilyUnavailable)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::InvalidRedirectUri(_)
            | Self::InvalidClientMetadata(_)
            | Self::InvalidSoftwareStatement
            | Self::UnapprovedSoftwareStatement => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthenticated | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::AccessDenied => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn description(&self) -> String {
        let fixed = match self {
            Self::InvalidRedirectUri(what) | Self::InvalidClientMetadata(what) => return described(what),
            Self::InvalidSoftwareStatement => {
                "The software statement is malformed, not signed by its issuer, for another server, or over."
            }
            Self::UnapprovedSoftwareStatement => {
                "A software statement of an issuer that is trusted here is needed."
            }
            Self::TooLarge => "The request body is larger than the server accepts.",
            Self::Unauthenticated => "An access token for registration is needed.",
            Self::InvalidToken => "The access token is not good for this registration.",
            Self::AccessDenied => "The client is suspended.",
            Self::TooMany(_) => "Too many requests in a short time.",
            Self::ServerError => "The server met an unexpected condition.",
            Self::TemporarilyUnavailable => "The server is temporarily unable to handle the request.",
        };
        fixed.to_owned()
    }

    /// Metadata that is not acceptable.
    #[must_use]
    pub fn metadata(field: &str, problem: &str) -> Rejection<Self> {
        let what = format!("{}: {problem}", self_registration::wire_name(field));
        match field {
            "redirect_uris" => Rejection::new(
                Self::InvalidRedirectUri(what),
                RefusalReason::RegistrationRedirectUri,
            ),
            // Not why its document could not be read: that would say what is inside.
            "sector_identifier_uri" => Rejection::new(
                Self::InvalidClientMetadata(format!(
                    "{field}: its https document cannot be read, is not a JSON list, or lacks a redirect URI"
                )),
                RefusalReason::RegistrationSector,
            ),
            _ => Rejection::new(
                Self::InvalidClientMetadata(what),
                RefusalReason::RegistrationMetadata,
            ),
        }
    }
}

/// RFC 6749 §5.2: printable ASCII without quote and backslash.
fn described(what: &str) -> String {
    let what = what.replace('§', "section ");
    let text = what.chars().take(MAX_DESCRIPTION).map(|c| match c {
        '"' | '`' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    });
    text.collect()
}

impl WireError for RegistrationError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidRedirectUri(_) => "invalid_redirect_uri",
            Self::InvalidClientMetadata(_) | Self::TooLarge => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::Unauthenticated | Self::InvalidToken => "invalid_token",
            Self::AccessDenied => "access_denied",
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

impl From<OperationError> for Rejection<RegistrationError> {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Invalid { field, problem } => RegistrationError::metadata(field, &problem),
            OperationError::Client(refusal) => refusal.into(),
            OperationError::InitialAccessToken(refusal) => refusal.into(),
            OperationError::Ledger(error) => error.into(),
            OperationError::Password(error) => error.into(),
            OperationError::User(_)
            | OperationError::Scope(_)
            | OperationError::Key(_)
            | OperationError::LogKey(_)
            | OperationError::TrustedIssuer(_)
            | OperationError::Policy(_)
            | OperationError::AuthorizationDetailType(_)
            | OperationError::Alert(_)
            | OperationError::Stream(_)
            | OperationError::SignalStream(_)
            | OperationError::Network(_)
            | OperationError::Grant(_) => {
                Self::new(RegistrationError::ServerError, RefusalReason::UnexpectedOutcome)
            }
        }
    }
}

impl From<ClientRefusal> for Rejection<RegistrationError> {
    fn from(refusal: ClientRefusal) -> Self {
        let of_member = |member: &str| {
            let error = RegistrationError::InvalidClientMetadata(format!("{member}: {refusal}"));
            (error, RefusalReason::RegistrationMetadata)
        };
        let (error, reason) = match refusal {
            ClientRefusal::Suspended => (RegistrationError::AccessDenied, RefusalReason::ClientSuspended),
            ClientRefusal::Unknown | ClientRefusal::Revoked => (
                RegistrationError::InvalidToken,
                RefusalReason::RegistrationTokenWrong,
            ),
            ClientRefusal::StatementMissing => (
                RegistrationError::UnapprovedSoftwareStatement,
                RefusalReason::SoftwareStatementUnapproved,
            ),
            ClientRefusal::BecomesPublic => of_member("token_endpoint_auth_method"),
            ClientRefusal::ChangesSector => of_member("subject_type"),
            ClientRefusal::Exists
            | ClientRefusal::Public
            | ClientRefusal::Keyed
            | ClientRefusal::NativeSecret
            | ClientRefusal::ScopeNotAllowed(_)
            | ClientRefusal::NotApproved(_)
            | ClientRefusal::NotRequested(_)
            | ClientRefusal::AlreadyApproved(_)
            | ClientRefusal::PublicExchange
            | ClientRefusal::ExchangeAudienceMissing
            | ClientRefusal::TooManyExchangeRules
            | ClientRefusal::ExchangeNotAllowed
            | ClientRefusal::ReasonMissing => {
                (RegistrationError::ServerError, RefusalReason::UnexpectedOutcome)
            }
        };
        Self::new(error, reason)
    }
}

impl From<InitialAccessTokenRefusal> for Rejection<RegistrationError> {
    fn from(refusal: InitialAccessTokenRefusal) -> Self {
        let reason = match refusal {
            InitialAccessTokenRefusal::Unknown | InitialAccessTokenRefusal::Exists => {
                RefusalReason::InitialTokenUnknown
            }
            InitialAccessTokenRefusal::Revoked => RefusalReason::InitialTokenRevoked,
            InitialAccessTokenRefusal::Expired => RefusalReason::InitialTokenExpired,
            InitialAccessTokenRefusal::Spent => RefusalReason::InitialTokenSpent,
        };
        Self::new(RegistrationError::InvalidToken, reason)
    }
}

impl From<StatementRefusal> for Rejection<RegistrationError> {
    fn from(refusal: StatementRefusal) -> Self {
        match refusal {
            StatementRefusal::Invalid => Self::new(
                RegistrationError::InvalidSoftwareStatement,
                RefusalReason::SoftwareStatementInvalid,
            ),
            StatementRefusal::Unapproved => Self::new(
                RegistrationError::UnapprovedSoftwareStatement,
                RefusalReason::SoftwareStatementUnapproved,
            ),
        }
    }
}

impl From<TooMany> for Rejection<RegistrationError> {
    fn from(wait: TooMany) -> Self {
        Self::new(
            RegistrationError::TooMany(wait.retry_after),
            RefusalReason::TooManyFailures,
        )
    }
}

impl ErrorAnswer for RegistrationError {
    fn respond(self, request: RequestId) -> Response {
        let body = RegistrationErrorBody {
            error: self.code(),
            error_description: self.description(),
            request_id: request,
        };
        let mut response = (self.status(), Json(body)).into_response();
        no_store(&mut response);
        let headers = response.headers_mut();
        match self {
            // RFC 6750 §3.1: without a token there is no error to tell.
            Self::Unauthenticated => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="grantlog""#);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::InvalidToken => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="grantlog", error="invalid_token""#);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::TooMany(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::TemporarilyUnavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(1));
            }
            Self::InvalidRedirectUri(_)
            | Self::InvalidClientMetadata(_)
            | Self::InvalidSoftwareStatement
            | Self::UnapprovedSoftwareStatement
            | Self::TooLarge
            | Self::AccessDenied
            | Self::ServerError => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_printable_ascii_without_quote_and_backslash() {
        assert_eq!(described("a\"b\\c\u{e4}\n`d`"), "a'b/c??'d'");
        assert_eq!(described("RFC 7518 §6.3"), "RFC 7518 section 6.3");
        assert_eq!(described(&"x".repeat(1000)).len(), MAX_DESCRIPTION);
    }
}
