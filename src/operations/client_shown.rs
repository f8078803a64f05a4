//! A client as administrators are shown it: no verifier of a secret.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::approval::Approvals;
use super::{Operations, describe};
use crate::clock::Timestamp;
use crate::domain::client::{Client, ExchangeMode, Registration, SecretVerifier, Standing, Weakness};
use crate::ids::ClientKey;
use crate::ledger::LedgerError;

/// A client, with its metadata beside the members that are named here (RFC 7591 §2; `docs/registration.md` lists them).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownClient {
    /// Its name on the wire.
    pub client_id: String,
    /// Whether it may act.
    pub standing: Standing,
    /// Until when it gets few tokens a minute, and how many; none where it is not throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<ShownThrottle>,
    /// Where the approvals of restricted scopes stand, by scope.
    pub approvals: Approvals,
    /// Its secrets, as far as they may be shown.
    pub secrets: Vec<ShownSecret>,
    /// What weakens it.
    pub warnings: Vec<Weakness>,
    /// Whose tokens it may exchange (RFC 8693); not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchanges: Option<Vec<ShownExchange>>,
    /// The position of its registration; in lists, where the next page begins after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// When it was registered; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Its metadata.
    #[serde(flatten)]
    pub metadata: Map<String, Value>,
}

/// How a policy throttled a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownThrottle {
    /// Until when, unless it is reinstated before.
    pub until: Timestamp,
    /// How many requests for tokens a node answers it within a minute.
    pub per_minute: u32,
}

/// A secret of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownSecret {
    /// Its number, from 1.
    pub number: u32,
    /// Where it is from.
    pub kind: SecretKind,
    /// When it ends, or ended; null where that is not said.
    pub retired_at: Option<Timestamp>,
}

/// Where a secret is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// This server made it.
    Generated,
    /// The client brought it.
    Chosen,
    /// It came from another server.
    Imported,
}

/// A rule for exchanges of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownExchange {
    /// Whose tokens.
    pub subject_client: String,
    /// What the new token says of who acts.
    pub mode: ExchangeMode,
    /// Into which scope at the most.
    pub scope: String,
    /// Into which audiences at the most.
    pub audience: Vec<String>,
}

impl ShownClient {
    /// What may be shown of a registration.
    #[must_use]
    pub fn new(registration: &Registration, approvals: Approvals, now: Timestamp) -> Self {
        let throttled = registration.throttle.filter(|(until, _)| now < *until);
        let secrets = registration.secrets.iter().map(|secret| ShownSecret {
            number: secret.number,
            kind: match secret.verifier {
                SecretVerifier::Sha256(_) | SecretVerifier::Key(_) => SecretKind::Generated,
                SecretVerifier::Argon2id(_) => SecretKind::Chosen,
                SecretVerifier::Bcrypt(_) => SecretKind::Imported,
            },
            retired_at: secret.retired_at,
        });
        Self {
            client_id: registration.client_id.clone(),
            standing: registration.standing,
            throttled: throttled.map(|(until, per_minute)| ShownThrottle { until, per_minute }),
            approvals,
            secrets: secrets.collect(),
            warnings: registration.metadata.weaknesses(),
            exchanges: None,
            position: None,
            created_at: None,
            metadata: describe::document(&registration.metadata),
        }
    }
}

impl Operations {
    /// The client of that name on the wire; none where none was ever registered. A UUID is looked up nowhere: whether it
    /// is a client's is only known from its events.
    pub async fn known_client(&self, client_id: &str) -> Result<Option<ClientKey>, LedgerError> {
        let Some(key) = self.find_client(client_id).await? else {
            return Ok(None);
        };
        let exists = self.load::<Client>(key.0).await?.exists();
        Ok(exists.then_some(key))
    }

    /// A client; none where there is no such.
    pub async fn shown_client(&self, key: ClientKey) -> Result<Option<ShownClient>, LedgerError> {
        let client = self.load::<Client>(key.0).await?;
        let Some(registration) = client.registration.as_deref() else {
            return Ok(None);
        };
        let (mut approvals, now) = (self.approvals(&[key]).await?, self.ledger.clock().now());
        let mut shown = ShownClient::new(registration, approvals.remove(&key).unwrap_or_default(), now);
        shown.exchanges = Some(self.shown_exchanges(registration).await?);
        Ok(Some(shown))
    }

    /// The clients that were registered after a position, in that order.
    pub async fn shown_clients(&self, after: i64, limit: u32) -> Result<Vec<ShownClient>, LedgerError> {
        let clients = self.list::<Client>(after, limit).await?;
        let keys: Vec<_> = clients.iter().map(|listed| ClientKey(listed.loaded.id)).collect();
        let (mut approvals, now) = (self.approvals(&keys).await?, self.ledger.clock().now());
        let shown = clients.iter().filter_map(|listed| {
            let registration = listed.loaded.registration.as_deref()?;
            let own = approvals.remove(&ClientKey(listed.loaded.id)).unwrap_or_default();
            let mut shown = ShownClient::new(registration, own, now);
            shown.position = Some(listed.position);
            shown.created_at = Some(listed.created_at);
            Some(shown)
        });
        Ok(shown.collect())
    }

    /// A client's rules for exchanges, with the clients by their names.
    async fn shown_exchanges(&self, client: &Registration) -> Result<Vec<ShownExchange>, LedgerError> {
        let mut exchanges = Vec::with_capacity(client.exchanges.len());
        for rule in &client.exchanges {
            let subject = self.load::<Client>(rule.subject_client.0).await?;
            let name = subject
                .registration
                .as_ref()
                .map(|subject| subject.client_id.clone());
            exchanges.push(ShownExchange {
                subject_client: name.unwrap_or_else(|| rule.subject_client.to_string()),
                mode: rule.mode,
                scope: rule.scope.to_string(),
                audience: rule.audience.clone(),
            });
        }
        Ok(exchanges)
    }
}
