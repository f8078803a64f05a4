//! Errors on the wire: one type per format, one mapping each. Texts are fixed, so that nothing can be learned
//! from their wording; the precise reason goes into the refusal's event.

mod admin;
mod api;
mod bearer;
mod protocol;
mod registration;
mod token;

pub use admin::{AdminError, AdminErrorBody};
pub use api::ApiError;
pub use bearer::BearerError;
pub use protocol::ProtocolError;
pub use registration::RegistrationError;
pub use token::TokenError;

use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::cors::OriginsOf;
use crate::crypto::password::PasswordError;
use crate::domain::refusal::RefusalReason;
use crate::ids::{ClientKey, GrantId, RequestId, SubjectId};
use crate::ledger::{ClientAuthentication, LedgerError, Refused};

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
    /// How the client had authenticated, where it had.
    pub authentication: Option<Box<ClientAuthentication>>,
    /// The client, once it was authenticated: pages of other clients may not read the answer.
    pub origins: Option<OriginsOf>,
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
    /// Whether it is recorded as a refusal.
    fn is_recorded(&self) -> bool {
        !self.is_ours()
    }

    /// What is wrong with the request, in fixed words that may be told at another endpoint too.
    fn what(&self) -> Option<&'static str> {
        None
    }
}

/// A wire error that is a whole answer.
pub trait ErrorAnswer: WireError {
    /// The answer, which names the request for whoever is asked about it.
    fn respond(self, request: RequestId) -> Response;
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
            authentication: None,
            origins: None,
        }
    }

    /// The same rejection, told in the words of another format.
    #[must_use]
    pub fn tell<T>(self, words: impl FnOnce(E) -> T) -> Rejection<T> {
        Rejection {
            error: words(self.error),
            reason: self.reason,
            client: self.client,
            subject: self.subject,
            grant: self.grant,
            authentication: self.authentication,
            origins: self.origins,
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

    /// What the ledger records; nothing where the trouble is ours, or nothing has come to an end.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.error.is_recorded().then(|| Refused {
            error: self.error.code(),
            reason: self.reason,
            client: self.client,
            subject: self.subject,
            grant: self.grant,
        })
    }
}

/// A password, or another costly secret, could not be compared.
impl<E: WireError> From<PasswordError> for Rejection<E> {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => Self::new(E::unavailable(), RefusalReason::HashingOverloaded),
            PasswordError::Crypto(_) => Self::new(E::broken(), RefusalReason::HashingFailed),
        }
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

/// Nothing on the way may keep this answer (RFC 6749 §5.1).
pub fn no_store(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}
