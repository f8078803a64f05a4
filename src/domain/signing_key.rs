//! The `signing_key` aggregate: a key pair, or a symmetric key, that signs tokens. What is secret of it is not an
//! event: it lies, wrapped by the master key, in the table of keys.

use serde::{Deserialize, Serialize};

use super::{Decision, aggregate};

events! {
    /// Events of one signing key.
    pub enum SigningKeyEvent of "signing_key" {
        /// A key was made; its public half, if it has one, is published from now on.
        KeyGenerated 1 {
            /// The `kid`: the RFC 7638 thumbprint of the public key, or random where there is none.
            kid: String,
            /// The JWS algorithm (RFC 7518 §3.1).
            algorithm: String,
            /// The public key as a JWK (RFC 7517), canonical JSON; none for a symmetric key.
            public_jwk: Option<String>,
        },
        /// New tokens of its algorithm are signed with it once every copy of the JWK set has it (70 seconds later), or
        /// at once where no other key can sign.
        KeyActivated 1 {},
        /// It signs nothing more and its tokens are no longer accepted.
        KeyRetired 1 {},
    }
}

/// A signing key's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningKey {
    /// Not generated.
    #[default]
    Absent,
    /// Its tokens are accepted, and its public half, if it has one, is published. It signs where it is the newest
    /// active key of its algorithm.
    Published {
        /// The `kid`.
        kid: String,
        /// The JWS algorithm.
        algorithm: String,
        /// The public JWK; none for a symmetric key.
        public_jwk: Option<String>,
        /// Whether it was activated.
        active: bool,
    },
    /// No longer published.
    Retired,
}

/// Commands on a signing key.
#[derive(Clone, Debug)]
pub enum SigningKeyCommand {
    /// Publish a new key.
    Generate(KeyGenerated),
    /// Sign with it.
    Activate,
    /// Withdraw it.
    Retire,
}

/// Why a key command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyRefusal {
    /// The id is in use.
    #[error("this key exists already")]
    Exists,
    /// The key is not published.
    #[error("there is no such key, or it is retired")]
    Unknown,
}

impl SigningKey {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &SigningKeyCommand) -> Decision<SigningKeyEvent, (), SigningKeyRefusal> {
        match (command, self) {
            (SigningKeyCommand::Generate(key), Self::Absent) => {
                Decision::accept(vec![key.clone().into()], ())
            }
            (SigningKeyCommand::Generate(_), Self::Published { .. } | Self::Retired) => {
                Decision::refuse(SigningKeyRefusal::Exists)
            }
            (SigningKeyCommand::Activate, Self::Published { active: true, .. }) => {
                Decision::accept(Vec::new(), ())
            }
            (SigningKeyCommand::Activate, Self::Published { .. }) => {
                Decision::accept(vec![KeyActivated {}.into()], ())
            }
            (SigningKeyCommand::Retire, Self::Published { .. }) => {
                Decision::accept(vec![KeyRetired {}.into()], ())
            }
            (SigningKeyCommand::Activate | SigningKeyCommand::Retire, Self::Absent | Self::Retired) => {
                Decision::refuse(SigningKeyRefusal::Unknown)
            }
        }
    }

    fn evolve(&mut self, event: SigningKeyEvent) {
        match event {
            SigningKeyEvent::KeyGenerated(KeyGenerated {
                kid,
                algorithm,
                public_jwk,
            }) => {
                *self = Self::Published {
                    kid,
                    algorithm,
                    public_jwk,
                    active: false,
                };
            }
            SigningKeyEvent::KeyActivated(_) => {
                if let Self::Published { active, .. } = self {
                    *active = true;
                }
            }
            SigningKeyEvent::KeyRetired(_) => *self = Self::Retired,
        }
    }
}

aggregate!(
    SigningKey,
    SigningKey,
    "signing_key",
    SigningKeyCommand,
    SigningKeyEvent,
    SigningKeyRefusal
);
