//! The `client` aggregate: a registered client (RFC 7591), its secrets and its approvals.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::value::{Digest, ScopeSet};
use super::{Decision, aggregate, redirect_uri};
use crate::clock::Timestamp;
use crate::ids::SubjectId;

events! {
    /// Events of one client.
    pub enum ClientEvent of "client" {
        /// A client was registered.
        ClientRegistered 1 {
            /// Its name on the wire.
            client_id: String,
            /// What it is and may do.
            metadata: ClientMetadata,
        },
        /// Its metadata was replaced.
        ClientUpdated 1 {
            /// What it is and may do from now on.
            metadata: ClientMetadata,
        },
        /// It can authenticate with another secret.
        ClientSecretAdded 1 {
            /// The secret's number, from 1.
            number: u32,
            /// What checks a presented secret.
            verifier: SecretVerifier,
        },
        /// A secret ends.
        ClientSecretRetired 1 {
            /// The secret's number.
            number: u32,
            /// From when on it is refused.
            at: Timestamp,
        },
        /// It is blocked: nothing is issued to it, its tokens are not active, until it is reinstated.
        ClientSuspended 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
        /// It is no longer blocked.
        ClientReinstated 1 {},
        /// It is blocked for good.
        ClientRevoked 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
        /// Somebody asked that it may use a restricted scope.
        ScopeApprovalRequested 1 {
            /// The scope.
            scope: String,
            /// What it is needed for.
            reason: String,
        },
        /// It may use a restricted scope.
        ScopeApproved 1 {
            /// The scope.
            scope: String,
            /// Why.
            reason: String,
        },
        /// It may not use a restricted scope.
        ScopeRejected 1 {
            /// The scope.
            scope: String,
            /// Why.
            reason: String,
        },
        /// It may no longer use a restricted scope.
        ScopeApprovalWithdrawn 1 {
            /// The scope.
            scope: String,
            /// Why.
            reason: String,
        },
    }
}

/// A grant type that a client may use (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3; discouraged by RFC 9700 §2.4, off unless the server allows it too.
    Password,
}

impl GrantType {
    /// The wire name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
        }
    }
}

/// How a client authenticates (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body.
    ClientSecretPost,
    /// Either of the two; for clients that move here.
    Any,
    /// A public client.
    None,
}

/// The algorithm of a client's access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256.
    #[default]
    ES256,
    /// RSASSA-PKCS1-v1_5, for relying parties that know nothing else.
    RS256,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ES256, Self::RS256];

    /// The JWS name (RFC 7518 §3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
        }
    }
}

/// What a client is and may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// The name that users are shown.
    pub client_name: String,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// The grant types it may use.
    pub grant_types: Vec<GrantType>,
    /// How it authenticates.
    pub token_endpoint_auth_method: AuthMethod,
    /// The scopes that it may ask for.
    pub scope: ScopeSet,
    /// What a request without a scope asks for.
    pub default_scopes: ScopeSet,
    /// The audience of its access tokens; empty means the issuer.
    pub audience: Vec<String>,
    /// As a resource server: the audiences whose tokens it may introspect.
    pub introspects: Vec<String>,
    /// Marked legacy: PKCE may be left out or be `plain`.
    pub legacy: bool,
    /// The algorithm of its access tokens.
    pub access_token_algorithm: TokenAlgorithm,
    /// Seconds that an access token lives.
    pub access_token_lifetime: u32,
    /// Seconds that an unused refresh token lives.
    pub refresh_token_lifetime: u32,
    /// Seconds in which a refresh token may be presented once more (the grace rule); none means 10 for a
    /// confidential client and 0 for a public one.
    pub refresh_grace: Option<u32>,
    /// The browser origins that may call the endpoints (CORS).
    pub allowed_origins: Vec<String>,
    /// Its home page.
    pub home_page_url: Option<String>,
    /// Its logo.
    pub logo_url: Option<String>,
    /// Its privacy policy.
    pub privacy_policy_url: Option<String>,
    /// Whether it is out of development.
    pub is_live: bool,
    /// The user that registered it.
    pub owner: Option<SubjectId>,
}

impl ClientMetadata {
    /// Whether it keeps no secret (RFC 6749 §2.1).
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == AuthMethod::None
    }

    /// Whether it may use a grant type.
    #[must_use]
    pub fn allows(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// The grace period of its refresh tokens, in seconds.
    #[must_use]
    pub fn grace(&self) -> u32 {
        self.refresh_grace
            .unwrap_or(if self.is_public() { 0 } else { 10 })
    }

    /// The registered redirect URI that `requested` is, if any: exactly, or, for a native application, on another
    /// port of a loopback address (RFC 8252 §7.3). A confidential client is not one.
    #[must_use]
    pub fn registered_redirect_uri(&self, requested: &str) -> Option<&str> {
        self.redirect_uris
            .iter()
            .map(String::as_str)
            .find(|uri| *uri == requested || (self.is_public() && redirect_uri::matches(uri, requested)))
    }
}

/// What checks a presented secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretVerifier {
    /// SHA-256 of a secret of full entropy that was generated here.
    Sha256(Digest),
    /// The PHC string of a secret that somebody chose.
    Argon2id(String),
}

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
}

/// Whether a client may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The registration, where the client may act.
    #[must_use]
    pub fn active(&self) -> Option<&Arc<Registration>> {
        self.registration
            .as_ref()
            .filter(|registration| registration.standing == Standing::Active)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ClientCommand) -> Decision<ClientEvent, (), ClientRefusal> {
        match (command, &self.registration) {
            (
                ClientCommand::Register {
                    client_id,
                    metadata,
                    verifier,
                },
                None,
            ) => {
                let registered = ClientRegistered {
                    client_id: client_id.clone(),
                    metadata: (**metadata).clone(),
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

    fn evolve(&mut self, event: ClientEvent) {
        match (event, &mut self.registration) {
            (ClientEvent::ClientRegistered(ClientRegistered { client_id, metadata }), registration) => {
                *registration = Some(Arc::new(Registration {
                    client_id,
                    metadata,
                    standing: Standing::Active,
                    secrets: Vec::new(),
                    secrets_added: 0,
                    approvals: BTreeMap::new(),
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
            ClientEvent::ClientReinstated(_) => self.standing = Standing::Active,
            ClientEvent::ClientRevoked(_) => self.standing = Standing::Revoked,
            ClientEvent::ScopeApprovalRequested(event) => self.step(event.scope, Approval::Requested),
            ClientEvent::ScopeApproved(event) => self.step(event.scope, Approval::Approved),
            ClientEvent::ScopeRejected(event) => self.step(event.scope, Approval::Rejected),
            ClientEvent::ScopeApprovalWithdrawn(event) => self.step(event.scope, Approval::Withdrawn),
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
