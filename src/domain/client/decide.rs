//! What may be done to a client, and when it may not.

use super::{
    Approval, Client, ClientEvent, ClientMetadata, ClientRegistered, ClientReinstated, ClientRevoked,
    ClientSecretAdded, ClientSecretRetired, ClientSuspended, ClientUpdated, Registration,
    ScopeApprovalRequested, ScopeApprovalWithdrawn, ScopeApproved, ScopeRejected, SecretVerifier, Standing,
};
use crate::clock::Timestamp;
use crate::domain::Decision;

/// Commands on a client.
#[derive(Clone, Debug)]
pub enum ClientCommand {
    /// Register it, with its first secret where it has one.
    Register {
        /// Its name on the wire.
        client_id: String,
        /// What it is and may do.
        metadata: Box<ClientMetadata>,
        /// What checks its secret.
        verifier: Option<SecretVerifier>,
        /// Which import brings it.
        imported: Option<String>,
    },
    /// Replace its metadata.
    Update(Box<ClientMetadata>),
    /// Add a secret; the ones before end at `retire_at`.
    RotateSecret {
        /// What checks the new one.
        verifier: SecretVerifier,
        /// When the old ones end.
        retire_at: Timestamp,
    },
    /// Block it.
    Suspend {
        /// Why.
        reason: String,
    },
    /// Unblock it.
    Reinstate,
    /// Block it for good.
    Revoke {
        /// Why.
        reason: String,
    },
    /// Record a step of a restricted scope's approval.
    Approval {
        /// The scope.
        scope: String,
        /// The step.
        step: Approval,
        /// Why.
        reason: String,
    },
}

/// Why a client command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// The id is in use.
    #[error("this client exists already")]
    Exists,
    /// Never registered.
    #[error("there is no such client")]
    Unknown,
    /// Revoked for good.
    #[error("this client is revoked for good")]
    Revoked,
    /// A public client has no secret.
    #[error("a public client has no secret")]
    Public,
    /// Not what this client may do.
    #[error("the scope {0} is not among the scopes that this client may ask for")]
    ScopeNotAllowed(String),
    /// Nothing to withdraw or decide on.
    #[error("the scope {0} is not approved for this client")]
    NotApproved(String),
}

impl Client {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ClientCommand) -> Decision<ClientEvent, (), ClientRefusal> {
        match (command, &self.registration) {
            (
                ClientCommand::Register {
                    client_id,
                    metadata,
                    verifier,
                    imported,
                },
                None,
            ) => {
                let registered = ClientRegistered {
                    client_id: client_id.clone(),
                    metadata: (**metadata).clone(),
                    imported: imported.clone(),
                };
                let secret = verifier
                    .clone()
                    .map(|verifier| ClientSecretAdded { number: 1, verifier }.into());
                Decision::accept(std::iter::once(registered.into()).chain(secret).collect(), ())
            }
            (ClientCommand::Register { .. }, Some(_)) => Decision::refuse(ClientRefusal::Exists),
            (
                ClientCommand::Update(_)
                | ClientCommand::RotateSecret { .. }
                | ClientCommand::Suspend { .. }
                | ClientCommand::Reinstate
                | ClientCommand::Revoke { .. }
                | ClientCommand::Approval { .. },
                None,
            ) => Decision::refuse(ClientRefusal::Unknown),
            (command, Some(registration)) => match registration.decide(command) {
                Ok(events) => Decision::accept(events, ()),
                Err(refusal) => Decision::refuse(refusal),
            },
        }
    }
}

impl Registration {
    fn decide(&self, command: &ClientCommand) -> Result<Vec<ClientEvent>, ClientRefusal> {
        if self.standing == Standing::Revoked {
            return Err(ClientRefusal::Revoked);
        }
        Ok(match command {
            ClientCommand::Register { .. } => return Err(ClientRefusal::Exists),
            ClientCommand::Update(metadata) if **metadata == self.metadata => Vec::new(),
            ClientCommand::Update(metadata) => vec![
                ClientUpdated {
                    metadata: (**metadata).clone(),
                }
                .into(),
            ],
            ClientCommand::RotateSecret { .. } if self.metadata.is_public() => {
                return Err(ClientRefusal::Public);
            }
            ClientCommand::RotateSecret { verifier, retire_at } => {
                let added = ClientSecretAdded {
                    number: self.secrets_added + 1,
                    verifier: verifier.clone(),
                };
                let retired = self
                    .secrets
                    .iter()
                    .filter(|secret| secret.retired_at.is_none_or(|end| *retire_at < end))
                    .map(|secret| {
                        ClientSecretRetired {
                            number: secret.number,
                            at: *retire_at,
                        }
                        .into()
                    });
                std::iter::once(added.into()).chain(retired).collect()
            }
            ClientCommand::Suspend { reason } if self.standing == Standing::Active => {
                vec![
                    ClientSuspended {
                        reason: reason.clone(),
                    }
                    .into(),
                ]
            }
            ClientCommand::Reinstate if self.standing == Standing::Suspended => {
                vec![ClientReinstated {}.into()]
            }
            ClientCommand::Suspend { .. } | ClientCommand::Reinstate => Vec::new(),
            ClientCommand::Revoke { reason } => vec![
                ClientRevoked {
                    reason: reason.clone(),
                }
                .into(),
            ],
            ClientCommand::Approval { scope, step, reason } => vec![self.approve(scope, *step, reason)?],
        })
    }

    fn approve(&self, scope: &str, step: Approval, reason: &str) -> Result<ClientEvent, ClientRefusal> {
        if !self.metadata.scope.contains(scope) {
            return Err(ClientRefusal::ScopeNotAllowed(scope.to_owned()));
        }
        let (scope, reason) = (scope.to_owned(), reason.to_owned());
        Ok(match step {
            Approval::Requested => ScopeApprovalRequested { scope, reason }.into(),
            Approval::Approved => ScopeApproved { scope, reason }.into(),
            Approval::Rejected => ScopeRejected { scope, reason }.into(),
            Approval::Withdrawn if !self.is_approved(&scope) => {
                return Err(ClientRefusal::NotApproved(scope));
            }
            Approval::Withdrawn => ScopeApprovalWithdrawn { scope, reason }.into(),
        })
    }
}
