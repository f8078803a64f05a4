//! An event's metadata: which request, by whom, from where.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::unit::LedgerError;
use crate::canonical;
use crate::clock::Timestamp;
use crate::crypto::certificate::ClientCertificate;
use crate::crypto::vault::{DataKey, KeyOwner, Place, Vault, month};
use crate::domain::AggregateType;
use crate::domain::client::AuthMethod;
use crate::domain::confirmation::Thumbprint;
use crate::domain::value::{Digest, Sealed, steers};
use crate::ids::{ClientKey, RequestId, SubjectId};
use crate::policy::agent::AgentFamily;

/// The member of the metadata that a caller's address and agent are sealed for.
const CALLER: &str = "metadata.caller";
/// The member of the metadata that an operator's name is sealed for.
const OPERATOR: &str = "metadata.operator";

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody that was authenticated.
    Anonymous,
    /// An authenticated client.
    Client(ClientKey),
    /// A user in the browser.
    User(SubjectId),
    /// An administrator at the command line.
    CommandLine,
    /// Grantlog itself.
    System,
    /// A policy whose rule fired.
    Policy,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Client(client) => write!(f, "client:{client}"),
            Self::User(subject) => write!(f, "user:{subject}"),
            Self::CommandLine => f.write_str("command_line"),
            Self::System => f.write_str("system"),
            Self::Policy => f.write_str("policy"),
        }
    }
}

/// The circumstances of a request, from which each of its events gets its metadata.
#[derive(Clone, Debug)]
pub struct Context {
    /// What a caller can quote to find the trail.
    pub request: RequestId,
    /// Who acts.
    pub actor: Actor,
    /// The user whose network data the address and agent are.
    pub subject: Option<SubjectId>,
    /// The endpoint's path, or the command's name.
    pub endpoint: &'static str,
    /// The W3C trace id that the request brought.
    pub trace: Option<String>,
    /// The caller's address.
    pub address: Option<IpAddr>,
    /// The caller's user agent, capped.
    pub agent: Option<String>,
    /// Why, in an administrator's words, where the event itself has no member for it.
    pub note: Option<String>,
    /// The certificate whose key the caller holds.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// How the client authenticated, once it has.
    pub authentication: OnceLock<ClientAuthentication>,
    /// The person at the command line, or behind the client that acts, as they are named there.
    pub operator: Option<String>,
    /// Whether an event was appended under it, or under a clone of it.
    pub appended: Arc<AtomicBool>,
}

/// The keys that a context's personal data is sealed under, for one moment.
pub(super) struct Seals {
    caller: Option<Arc<DataKey>>,
    operator: Option<Arc<DataKey>>,
}

impl Context {
    /// A context without a network, for the command line and Grantlog itself.
    #[must_use]
    pub fn local(request: Uuid, actor: Actor, endpoint: &'static str) -> Self {
        Self {
            request: RequestId(request),
            actor,
            subject: None,
            endpoint,
            trace: None,
            address: None,
            agent: None,
            note: None,
            certificate: None,
            authentication: OnceLock::new(),
            operator: None,
            appended: Arc::default(),
        }
    }

    /// Whether an event was appended under it, or under a clone of it.
    #[must_use]
    pub fn has_appended(&self) -> bool {
        self.appended.load(Ordering::Acquire)
    }

    /// The keys that the caller's network data and the operator's name are sealed under. An operator is never the
    /// user whom the event is about: erasing that one leaves it.
    pub(super) async fn seals(
        &self,
        vault: &Vault,
        subject: Option<SubjectId>,
        at: Timestamp,
    ) -> Result<Seals, LedgerError> {
        let has_caller = self.address.is_some() || self.agent.is_some();
        let key = async |wanted: bool, subject| {
            if wanted {
                let owner = KeyOwner::network(subject, at);
                vault.find_or_create(&owner).await.map(Some)
            } else {
                Ok(None)
            }
        };
        Ok(Seals {
            caller: key(has_caller, subject).await?,
            operator: key(self.operator.is_some(), None).await?,
        })
    }

    /// The metadata of one event, as canonical JSON.
    pub(super) fn metadata(
        &self,
        vault: &Vault,
        seals: &Seals,
        event: (AggregateType, Uuid, &str),
        at: Timestamp,
    ) -> Result<String, LedgerError> {
        let (kind, aggregate_id, event_type) = event;
        let place = |field| Place {
            aggregate_type: kind.name(),
            aggregate_id,
            event_type,
            field,
        };
        let caller = match &seals.caller {
            None => None,
            Some(key) => {
                let caller = Caller {
                    address: self.address,
                    agent: self.agent.clone(),
                };
                let caller = canonical::to_string(&caller)?;
                Some(key.seal(vault.random(), &place(CALLER), &caller)?)
            }
        };
        let operator = match (&seals.operator, &self.operator) {
            (Some(key), Some(name)) => Some(key.seal(vault.random(), &place(OPERATOR), name)?),
            (None, _) | (_, None) => None,
        };
        let network = self
            .address
            .map(|address| vault.master().network_digest(&month(at), &network_of(address)));
        Ok(canonical::to_string(&Metadata {
            agent: self.agent.as_deref().map(AgentFamily::of),
            actor: self.actor.to_string(),
            authentication: self.authentication.get().cloned(),
            caller,
            endpoint: self.endpoint.to_owned(),
            network,
            note: self.note.clone(),
            operator,
            request_id: self.request,
            trace_id: self.trace.clone(),
        })?)
    }
}

/// What stands in the ledger's `metadata` column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who acted: `client:…`, `user:…`, `command_line`, `system`, `policy`, `anonymous`.
    pub actor: String,
    /// The family of the caller's user agent: so coarse that it says nothing of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentFamily>,
    /// How the client that acted, or for which a user acted, had authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<ClientAuthentication>,
    /// The caller's address and agent as JSON ([`Caller`]), sealed under the month's network key.
    pub caller: Option<Sealed>,
    /// The endpoint or command.
    pub endpoint: String,
    /// A digest of the caller's network, keyed per month: comparable without decrypting anything.
    pub network: Option<Digest>,
    /// Why, in an administrator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The person who ran the command, sealed under the month's network key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Sealed>,
    /// The request.
    pub request_id: RequestId,
    /// The W3C trace id.
    pub trace_id: Option<String>,
}

impl Metadata {
    /// Who acted, and how it authenticated, in a line.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.authentication {
            None => self.actor.clone(),
            Some(how) => format!("{} ({how})", self.actor),
        }
    }
}

/// How a client authenticated: the method, and which of its credentials it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuthentication {
    /// As `token_endpoint_auth_method` spells it.
    pub method: String,
    /// The key that signed, or that is certified: its `kid`, or its thumbprint (RFC 7638).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The number of the client's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<u32>,
    /// SHA-256 of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Thumbprint>,
}

impl ClientAuthentication {
    /// With a method, of which nothing more is to be said.
    #[must_use]
    pub fn of(method: AuthMethod) -> Self {
        Self {
            method: method.name().to_owned(),
            kid: None,
            secret: None,
            certificate: None,
        }
    }
}

impl std::fmt::Display for ClientAuthentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.method)?;
        if let Some(kid) = &self.kid {
            write!(f, " kid={kid}")?;
        }
        if let Some(number) = self.secret {
            write!(f, " secret={number}")?;
        }
        if let Some(thumbprint) = self.certificate {
            write!(f, " x5t#S256={thumbprint}")?;
        }
        Ok(())
    }
}

/// The person who ran a command, or on whose behalf a client called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// As they were named.
    Name(String),
    /// The key to the name is destroyed.
    Erased,
}

/// The most characters of an operator's name.
const MAX_OPERATOR: usize = 128;

impl Operator {
    /// A name as it is recorded, or what is wrong with it.
    pub fn parse(text: &str) -> Result<String, String> {
        let name = text.trim();
        if name.is_empty() || name.chars().count() > MAX_OPERATOR || name.chars().any(steers) {
            return Err(format!("a name has 1 to {MAX_OPERATOR} printable characters"));
        }
        Ok(name.to_owned())
    }
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Erased => f.write_str("erased"),
        }
    }
}

impl Metadata {
    /// Reads the column.
    pub fn read(text: &str) -> Result<Self, LedgerError> {
        serde_json::from_str(text).map_err(|error| LedgerError::Read(sqlx::Error::Decode(error.into())))
    }

    /// From where this user acted; none where that is not recorded, or the key to it is destroyed.
    pub async fn caller_of(
        &self,
        vault: &Vault,
        subject: SubjectId,
        (aggregate_type, aggregate_id, event_type): (&str, Uuid, &str),
        recorded_at: Timestamp,
    ) -> Result<Option<Caller>, LedgerError> {
        let Some(sealed) = &self.caller else {
            return Ok(None);
        };
        let place = Place {
            aggregate_type,
            aggregate_id,
            event_type,
            field: CALLER,
        };
        let key = vault.find(&KeyOwner::network(Some(subject), recorded_at)).await?;
        let plain = key.and_then(|key| key.open(&place, sealed).ok());
        Ok(plain.and_then(|plain| serde_json::from_str(&plain).ok()))
    }

    /// Who ran the command; none where no name was recorded. The event is the one of that place and time.
    pub async fn operator(
        &self,
        vault: &Vault,
        (aggregate_type, aggregate_id, event_type): (&str, Uuid, &str),
        recorded_at: Timestamp,
    ) -> Result<Option<Operator>, LedgerError> {
        let Some(sealed) = &self.operator else {
            return Ok(None);
        };
        let place = Place {
            aggregate_type,
            aggregate_id,
            event_type,
            field: OPERATOR,
        };
        // It was sealed a little before it was recorded, by another clock.
        let hour = TimeDelta::hours(1);
        for at in [recorded_at, recorded_at - hour, recorded_at + hour] {
            let key = vault.find(&KeyOwner::network(None, at)).await?;
            if let Some(name) = key.and_then(|key| key.open(&place, sealed).ok()) {
                return Ok(Some(Operator::Name(name)));
            }
        }
        Ok(Some(Operator::Erased))
    }
}

/// The caller's network data, before it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The address.
    pub address: Option<IpAddr>,
    /// The user agent.
    pub agent: Option<String>,
}

/// The network that an address belongs to, for "from a new network": /24 of IPv4, /48 of IPv6.
#[must_use]
pub fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}
