//! What a client does to its own registration (RFC 7591, RFC 7592).

use super::{
    AuthMethod, Client, ClientCommand, ClientEvent, ClientMetadata, ClientRefusal, ClientSecretRetired,
    Registration, RegistrationAccessTokenIssued, SecretVerifier, SoftwareStatementAccepted, Standing,
};
use crate::clock::Timestamp;
use crate::domain::Decision;
use crate::domain::value::Digest;

/// A client registers itself (RFC 7591 §3.1).
#[derive(Clone, Debug)]
pub struct RegisterSelf {
    /// Its name on the wire.
    pub client_id: String,
    /// What it is and may do.
    pub metadata: Box<ClientMetadata>,
    /// What checks its secret.
    pub verifier: Option<SecretVerifier>,
    /// SHA-256 of its registration access token.
    pub token: Digest,
    /// The software statement that it came with.
    pub statement: Option<SoftwareStatementAccepted>,
}

/// A client replaces its registration (RFC 7592 §2.2).
#[derive(Clone, Debug)]
pub struct ReplaceSelf {
    /// What it is and may do from now on.
    pub metadata: Box<ClientMetadata>,
    /// What checks the secret that it gets if it needs one and had none.
    pub verifier: SecretVerifier,
    /// The software statement that it came with.
    pub statement: Option<SoftwareStatementAccepted>,
    /// Now.
    pub at: Timestamp,
}

impl Client {
    /// Decides a registration.
    #[must_use]
    pub fn register_self(&self, command: &RegisterSelf) -> Decision<ClientEvent, (), ClientRefusal> {
        let mut decision = self.decide(&ClientCommand::Register {
            client_id: command.client_id.clone(),
            metadata: command.metadata.clone(),
            verifier: command.verifier.clone(),
            imported: None,
        });
        if decision.outcome.is_ok() {
            let token = RegistrationAccessTokenIssued {
                digest: command.token,
            };
            decision.events.extend(command.statement.clone().map(Into::into));
            decision.events.push(token.into());
        }
        decision
    }

    /// Decides a replacement; the outcome says whether the client has the new secret.
    #[must_use]
    pub fn replace_self(&self, command: &ReplaceSelf) -> Decision<ClientEvent, bool, ClientRefusal> {
        let registration = match self.manageable() {
            Ok(registration) => registration,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let signed_by = command.statement.as_ref().map(|statement| &statement.issuer);
        if registration.statement_issuer.is_some() && registration.statement_issuer.as_ref() != signed_by {
            return Decision::refuse(ClientRefusal::StatementMissing);
        }
        let mut events: Vec<ClientEvent> = Vec::new();
        if *command.metadata != registration.metadata {
            match registration.update(&command.metadata) {
                Ok(updated) => events.push(updated),
                Err(refusal) => return Decision::refuse(refusal),
            }
        }
        events.extend(command.statement.clone().map(Into::into));
        let (had, needs) = (kind(&registration.metadata), kind(&command.metadata));
        let is_new = needs.is_some() && needs != had;
        if is_new {
            events.extend(registration.rotate_secret(&command.verifier, command.at, command.at));
        } else if had.is_some() && needs.is_none() {
            events.extend(registration.retire_secrets(command.at));
        }
        Decision::accept(events, is_new)
    }

    /// Decides a deletion (RFC 7592 §2.3): the client is revoked, and all that it was given with it.
    #[must_use]
    pub fn delete_self(&self) -> Decision<ClientEvent, (), ClientRefusal> {
        match self.manageable() {
            Ok(_) => self.decide(&ClientCommand::Revoke {
                reason: "deleted by the client itself (RFC 7592)".to_owned(),
            }),
            Err(refusal) => Decision::refuse(refusal),
        }
    }

    /// Decides that it gets a registration access token; one before is over.
    #[must_use]
    pub fn issue_registration_token(&self, digest: Digest) -> Decision<ClientEvent, (), ClientRefusal> {
        match &self.registration {
            None => Decision::refuse(ClientRefusal::Unknown),
            Some(known) if known.standing == Standing::Revoked => Decision::refuse(ClientRefusal::Revoked),
            Some(_) => Decision::accept(vec![RegistrationAccessTokenIssued { digest }.into()], ()),
        }
    }

    /// A suspended client cannot change what it is.
    fn manageable(&self) -> Result<&Registration, ClientRefusal> {
        let registration = self.registration.as_deref().ok_or(ClientRefusal::Unknown)?;
        match registration.standing {
            Standing::Active => Ok(registration),
            Standing::Suspended => Err(ClientRefusal::Suspended),
            Standing::Revoked => Err(ClientRefusal::Revoked),
        }
    }
}

impl Registration {
    /// Whether this is its registration access token.
    #[must_use]
    pub fn has_registration_token(&self, digest: &Digest) -> bool {
        let known = self.registration_access_token.as_ref();
        known.is_some_and(|known| known.matches(digest))
    }

    fn retire_secrets(&self, at: Timestamp) -> impl Iterator<Item = ClientEvent> {
        let valid = self.valid_secrets(at);
        valid.map(move |secret| {
            ClientSecretRetired {
                number: secret.number,
                at,
            }
            .into()
        })
    }
}

/// What kind of secret a client has: whether it is the key of its assertions, which is kept otherwise than one that is
/// presented.
fn kind(metadata: &ClientMetadata) -> Option<bool> {
    let is_key = metadata.token_endpoint_auth_method == AuthMethod::ClientSecretJwt;
    metadata.has_secret().then_some(is_key)
}
