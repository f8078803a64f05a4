//! The `client` aggregate: a registered client (RFC 7591), its secrets and its approvals.

mod auth_algorithm;
mod certificate;
mod decide;
mod distinguished_name;
mod event;
mod exchange;
mod jwks;
mod metadata;
mod native;
mod profile;
mod sector;
mod self_registration;
mod token_format;
mod weakness;

pub use auth_algorithm::*;
pub use certificate::*;
pub use decide::*;
pub use distinguished_name::DistinguishedName;
pub use event::*;
pub use exchange::*;
pub use jwks::*;
pub use metadata::*;
pub use profile::*;
pub use sector::*;
pub use self_registration::*;
pub use token_format::TokenFormat;
pub use weakness::Weakness;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aggregate;
use crate::clock::Timestamp;
use crate::domain::value::Digest;

/// A client's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// None before registration. Shared, so that a request can keep it without copying it.
    pub registration: Option<Arc<Registration>>,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name on the wire.
    pub client_id: String,
    /// What it is and may do.
    pub metadata: ClientMetadata,
    /// Whether it may act.
    pub standing: Standing,
    /// Its secrets that are not over.
    pub secrets: Vec<Secret>,
    /// How many secrets it ever had.
    pub secrets_added: u32,
    /// Where the approval of each restricted scope stands.
    pub approvals: BTreeMap<String, Approval>,
    /// SHA-256 of the token that opens its registration to it (RFC 7592 §1.2).
    #[serde(default)]
    pub registration_access_token: Option<Digest>,
    /// Who signed the software statement that it was registered under.
    #[serde(default)]
    pub statement_issuer: Option<String>,
    /// Whose tokens it may exchange (RFC 8693), by client and mode.
    #[serde(default)]
    pub exchanges: Vec<ExchangeRule>,
    /// Until when it gets few tokens, and how many requests are answered within a minute.
    #[serde(default)]
    pub throttle: Option<(Timestamp, u32)>,
}

/// Whether a client may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientStanding")]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may.
    Active,
    /// Not until it is reinstated.
    Suspended,
    /// Never again.
    Revoked,
}

/// One secret of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its number, from 1.
    pub number: u32,
    /// What checks it.
    pub verifier: SecretVerifier,
    /// From when on it is refused.
    pub retired_at: Option<Timestamp>,
}

/// Where the approval of a restricted scope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ApprovalState")]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Asked for.
    Requested,
    /// Given.
    Approved,
    /// Denied.
    Rejected,
    /// Taken back.
    Withdrawn,
}

impl Client {
    /// The registration, where the client may act.
    #[must_use]
    pub fn active(&self) -> Option<&Arc<Registration>> {
        self.registration
            .as_ref()
            .filter(|registration| registration.standing == Standing::Active)
    }

    fn evolve(&mut self, event: ClientEvent) {
        match (event, &mut self.registration) {
            (
                ClientEvent::ClientRegistered(ClientRegistered {
                    client_id,
                    metadata,
                    imported: _,
                }),
                registration,
            ) => {
                *registration = Some(Arc::new(Registration {
                    client_id,
                    metadata,
                    standing: Standing::Active,
                    secrets: Vec::new(),
                    secrets_added: 0,
                    approvals: BTreeMap::new(),
                    registration_access_token: None,
                    statement_issuer: None,
                    exchanges: Vec::new(),
                    throttle: None,
                }));
            }
            (event, Some(registration)) => Arc::make_mut(registration).evolve(event),
            (_, None) => {}
        }
    }
}

impl Registration {
    /// The secrets that are accepted at `at`.
    pub fn valid_secrets(&self, at: Timestamp) -> impl Iterator<Item = &Secret> {
        self.secrets
            .iter()
            .filter(move |secret| secret.retired_at.is_none_or(|end| at < end))
    }

    /// Whether an administrator's approval of a restricted scope holds.
    #[must_use]
    pub fn is_approved(&self, scope: &str) -> bool {
        self.approvals.get(scope) == Some(&Approval::Approved)
    }

    fn evolve(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::ClientRegistered(_) => {}
            ClientEvent::ClientUpdated(ClientUpdated { metadata }) => self.metadata = metadata,
            ClientEvent::ClientSecretAdded(ClientSecretAdded { number, verifier }) => {
                self.secrets_added = number;
                // Two may overlap: the ones before the last are dropped whatever their end.
                let keep = self.secrets.len().saturating_sub(1);
                self.secrets.drain(..keep);
                self.secrets.push(Secret {
                    number,
                    verifier,
                    retired_at: None,
                });
            }
            ClientEvent::ClientSecretRetired(ClientSecretRetired { number, at }) => {
                for secret in self.secrets.iter_mut().filter(|secret| secret.number == number) {
                    secret.retired_at = Some(at);
                }
            }
            ClientEvent::ClientSuspended(_) => self.standing = Standing::Suspended,
            ClientEvent::ClientThrottled(event) => self.throttle = Some((event.until, event.per_minute)),
            ClientEvent::ClientReinstated(_) => {
                self.standing = Standing::Active;
                self.throttle = None;
            }
            ClientEvent::ClientRevoked(_) => self.standing = Standing::Revoked,
            ClientEvent::ScopeApprovalRequested(event) => self.step(event.scope, Approval::Requested),
            ClientEvent::ScopeApproved(event) => self.step(event.scope, Approval::Approved),
            ClientEvent::ScopeRejected(event) => self.step(event.scope, Approval::Rejected),
            ClientEvent::ScopeApprovalWithdrawn(event) => self.step(event.scope, Approval::Withdrawn),
            ClientEvent::RegistrationAccessTokenIssued(event) => {
                self.registration_access_token = Some(event.digest);
            }
            ClientEvent::SoftwareStatementAccepted(event) => self.statement_issuer = Some(event.issuer),
            ClientEvent::ExchangeAllowed(event) => self.set_exchange_rule(event.rule),
            ClientEvent::ExchangeDisallowed(event) => {
                self.drop_exchange_rule(event.subject_client, event.mode);
            }
        }
    }

    fn step(&mut self, scope: String, step: Approval) {
        self.approvals.insert(scope, step);
    }
}

aggregate!(
    Client,
    Client,
    "client",
    ClientCommand,
    ClientEvent,
    ClientRefusal
);
