//! Keys and what is done with them.

pub mod certificate;
pub mod client_secret;
pub mod defuse;
pub mod generate;
pub mod jwt;
pub mod master;
pub mod password;
pub mod signing;
pub mod software_statement;
pub mod vault;

/// A cryptographic operation failed: damaged data, a wrong key, or the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cryptographic operation failed")]
pub struct CryptoError;

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}
