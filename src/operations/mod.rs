//! Administration: what the command line does to clients, users, scopes and keys. Each operation is a command
//! on the ledger like any other.

pub mod account;
pub mod address_retention;
pub mod alert;
pub mod approval;
pub mod authorization_detail;
pub mod authorization_detail_shown;
pub mod client;
pub mod client_shown;
pub mod describe;
pub mod erasure;
pub mod erasure_export;
mod erasure_names;
pub mod exchange;
pub mod grant;
pub mod grant_list;
pub mod initial_access_token;
pub mod key;
pub mod legal_hold;
pub mod list;
pub mod log_key;
pub mod network;
pub mod policy;
pub mod profile;
pub mod reading;
pub mod recovery;
pub mod refusal;
pub mod registration;
pub mod retention;
pub mod scope;
pub mod sector;
mod security_profile;
pub mod self_registration;
pub mod signal;
pub mod stream;
pub mod stream_shown;
pub mod subject;
pub mod token_use;
pub mod trust;
mod urls;
pub mod user;
pub mod user_access;
pub mod user_shown;

use crate::crypto::password::{Hasher, PasswordError};
use crate::domain::alert::AlertRefusal;
use crate::domain::authorization_detail::AuthorizationDetailTypeRefusal;
use crate::domain::client::ClientRefusal;
use crate::domain::grant::GrantRefusal;
use crate::domain::initial_access_token::InitialAccessTokenRefusal;
use crate::domain::network::NetworkRefusal;
use crate::domain::policy::PolicyRefusal;
use crate::domain::scope::ScopeRefusal;
use crate::domain::signing_key::SigningKeyRefusal;
use crate::domain::ssf_stream::SsfStreamRefusal;
use crate::domain::stream::StreamRefusal;
use crate::domain::trail::TrailRefusal;
use crate::domain::trusted_issuer::TrustedIssuerRefusal;
use crate::domain::user::UserRefusal;
use crate::ledger::{Ledger, LedgerError};
use crate::outbound::Fetcher;

/// What operations work with.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is what a setting says")]
pub struct Operations {
    /// The ledger.
    pub ledger: Ledger,
    /// The password hasher.
    pub hasher: Hasher,
    /// Whether clients may be registered for access tokens under HS256.
    pub allow_hs256: bool,
    /// Reads the documents of sectors.
    pub sectors: Fetcher,
    /// Whether clients may be registered for `client_secret_jwt`.
    pub allow_client_secret_jwt: bool,
    /// Whether clients may be registered for certificates (RFC 8705): otherwise none of theirs would ever arrive.
    pub serves_client_certificates: bool,
    /// Whether clients may be registered for `tls_client_auth`.
    pub serves_authorities: bool,
}

/// Why an operation was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// An input is not acceptable.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which input.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The client's state does not allow it.
    #[error(transparent)]
    Client(#[from] ClientRefusal),
    /// The user's state does not allow it.
    #[error(transparent)]
    User(#[from] UserRefusal),
    /// The scope's state does not allow it.
    #[error(transparent)]
    Scope(#[from] ScopeRefusal),
    /// The key's state does not allow it.
    #[error(transparent)]
    Key(#[from] SigningKeyRefusal),
    /// The grant's state does not allow it.
    #[error(transparent)]
    Grant(#[from] GrantRefusal),
    /// The initial access token's state does not allow it.
    #[error(transparent)]
    InitialAccessToken(#[from] InitialAccessTokenRefusal),
    /// The state of a key of the evidence log does not allow it.
    #[error(transparent)]
    LogKey(#[from] TrailRefusal),
    /// The trust's state does not allow it.
    #[error(transparent)]
    TrustedIssuer(#[from] TrustedIssuerRefusal),
    /// The policy's state does not allow it.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The alert's state does not allow it.
    #[error(transparent)]
    Alert(#[from] AlertRefusal),
    /// The state of the type of authorization details does not allow it.
    #[error(transparent)]
    AuthorizationDetailType(#[from] AuthorizationDetailTypeRefusal),
    /// The network's state does not allow it.
    #[error(transparent)]
    Network(#[from] NetworkRefusal),
    /// The stream's state does not allow it.
    #[error(transparent)]
    Stream(#[from] StreamRefusal),
    /// An event stream of shared signals says no.
    #[error(transparent)]
    SignalStream(#[from] SsfStreamRefusal),
    /// The ledger did not take it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A password was not hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl OperationError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    /// The server's setting does not allow what an input asks for.
    fn hs256_is_off(field: &'static str) -> Self {
        Self::invalid(
            field,
            "HS256 access tokens are off on this server (allow_hs256_access_tokens)",
        )
    }
}

/// Runs one command on one aggregate until it is durable: load, decide, append.
macro_rules! run {
    ($operations:expr, $context:expr, $Aggregate:ty, $id:expr, $command:expr) => {{
        let mut unit = $operations.ledger.unit_of_work($context);
        let command = $command;
        loop {
            let aggregate = unit.load::<$Aggregate>($id).await?;
            let decision = aggregate.decide(command);
            if let Some(concluded) = unit.conclude(&aggregate, decision).await? {
                break concluded;
            }
        }
    }};
}
pub(crate) use run;
