//! Signing keys: made at the first start, rotated with overlap.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::crypto::generate::{self, GeneratedKey};
use crate::crypto::signing;
use crate::domain::client::TokenAlgorithm;
use crate::domain::signing_key::{SigningKey, SigningKeyCommand};
use crate::ids::KeyId;
use crate::ledger::{Context, LedgerError};

/// The kind of name by which nodes that start at once agree on the first key of an algorithm.
const FIRST_KEY: &str = "first_signing_key";

/// A signing key, in use or retired.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its aggregate.
    pub id: KeyId,
    /// Its `kid`.
    pub kid: String,
    /// The JWS algorithm.
    pub algorithm: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// When it began to sign.
    pub active_since: Option<Timestamp>,
    /// When it was withdrawn.
    pub retired_at: Option<Timestamp>,
    /// Whether its private half is there and opens under the configured master key.
    pub opens: bool,
}

/// Where a signing key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It signs, or has signed and is still accepted.
    Active,
    /// It is published, and signs soon.
    Published,
    /// Its private half is gone, or does not open under the configured master key.
    Unreadable,
    /// What it signed is refused.
    Retired,
}

impl KeyState {
    /// The word in lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Published => "published",
            Self::Unreadable => "unreadable",
            Self::Retired => "retired",
        }
    }
}

/// A signing key as administrators are shown it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownKey {
    /// Its `kid`.
    pub kid: String,
    /// The JWS algorithm.
    pub algorithm: String,
    /// Where it stands.
    pub state: KeyState,
    /// When it was made.
    pub generated_at: Timestamp,
    /// When it began to sign.
    pub active_since: Option<Timestamp>,
    /// When it was withdrawn.
    pub retired_at: Option<Timestamp>,
}

impl StoredKey {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> KeyState {
        match (self.retired_at, self.active_since, self.opens) {
            (Some(_), _, _) => KeyState::Retired,
            (None, _, false) => KeyState::Unreadable,
            (None, Some(_), true) => KeyState::Active,
            (None, None, true) => KeyState::Published,
        }
    }
}

impl From<&StoredKey> for ShownKey {
    fn from(key: &StoredKey) -> Self {
        Self {
            kid: key.kid.clone(),
            algorithm: key.algorithm.clone(),
            state: key.state(),
            generated_at: key.generated_at,
            active_since: key.active_since,
            retired_at: key.retired_at,
        }
    }
}

type KeyRow = (
    Uuid,
    String,
    String,
    Timestamp,
    Option<Timestamp>,
    Option<Timestamp>,
    Option<Vec<u8>>,
);

impl Operations {
    /// All signing keys there ever were, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, LedgerError> {
        let rows: Vec<KeyRow> = sqlx::query_as(
            "SELECT g.aggregate_id, g.payload->>'kid', g.payload->>'algorithm', g.recorded_at, \
                    (SELECT max(a.recorded_at) FROM grantlog.ledger_signing_key a \
                     WHERE a.aggregate_id = g.aggregate_id AND a.event_type = 'KeyActivated'), \
                    (SELECT max(r.recorded_at) FROM grantlog.ledger_signing_key r \
                     WHERE r.aggregate_id = g.aggregate_id AND r.event_type = 'KeyRetired'), m.wrapped \
             FROM grantlog.ledger_signing_key g LEFT JOIN grantlog.key_material m ON m.key_id = g.aggregate_id \
             WHERE g.event_type = 'KeyGenerated' ORDER BY g.position DESC",
        )
        .fetch_all(self.ledger.pool())
        .await?;
        let master = self.ledger.vault().master();
        let keys = rows.into_iter().map(|row| {
            let (id, kid, algorithm, generated_at, active_since, retired_at, wrapped) = row;
            let id = KeyId(id);
            StoredKey {
                opens: wrapped
                    .is_some_and(|wrapped| master.unwrap(&signing::wrap_label(id), &wrapped).is_ok()),
                id,
                kid,
                algorithm,
                generated_at,
                active_since,
                retired_at,
            }
        });
        Ok(keys.collect())
    }

    /// The algorithms that this server signs with and accepts.
    #[must_use]
    pub fn token_algorithms(&self) -> &'static [TokenAlgorithm] {
        if self.allow_hs256 {
            &TokenAlgorithm::ALL
        } else {
            &TokenAlgorithm::ASYMMETRIC
        }
    }

    /// Makes the first key of each algorithm in use, where there is none. Returns how many were made.
    pub async fn ensure_signing_keys(&self, context: &Context) -> Result<usize, OperationError> {
        let mut made = 0;
        for algorithm in self.token_algorithms() {
            let algorithm = *algorithm;
            if self
                .ledger
                .find_name(FIRST_KEY, algorithm.name())
                .await?
                .is_some()
            {
                continue;
            }
            match self.add_key(context, algorithm, true).await {
                Ok(_) => made += 1,
                // Another node was first.
                Err(OperationError::Ledger(LedgerError::NameTaken(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Makes a new key, published from now on; it signs once every copy of the JWK set has it
    /// ([`signing::PUBLISHED_AHEAD`]). The old ones stay published, so that what they signed is
    /// accepted, until they are retired.
    pub async fn rotate_signing_key(
        &self,
        context: &Context,
        algorithm: TokenAlgorithm,
    ) -> Result<String, OperationError> {
        if !self.token_algorithms().contains(&algorithm) {
            return Err(OperationError::hs256_is_off("algorithm"));
        }
        self.add_key(context, algorithm, false).await
    }

    /// Withdraws a key: tokens that it signed are refused from now on.
    pub async fn retire_signing_key(&self, context: &Context, id: KeyId) -> Result<(), OperationError> {
        Ok(run!(self, context, SigningKey, id.0, &SigningKeyCommand::Retire).outcome?)
    }

    async fn add_key(
        &self,
        context: &Context,
        algorithm: TokenAlgorithm,
        first: bool,
    ) -> Result<String, OperationError> {
        let GeneratedKey { event, private } =
            tokio::task::spawn_blocking(move || generate::generate(algorithm))
                .await
                .map_err(|_| LedgerError::Crypto(crate::crypto::CryptoError))?
                .map_err(LedgerError::Crypto)?;
        let published = event.kid.clone();
        let id = KeyId(self.ledger.random().uuid().map_err(LedgerError::from)?);
        // Before its event: a key that nobody knows does no harm, an event without its key would.
        let (master, random) = (self.ledger.vault().master(), self.ledger.random());
        signing::store_private(self.ledger.pool(), master, random, id, &private).await?;
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let key = unit.load::<SigningKey>(id.0).await?;
            if first {
                unit.claim::<SigningKey>(FIRST_KEY, algorithm.name(), id.0);
            }
            let generate = SigningKeyCommand::Generate(event.clone());
            let concluded = match unit.conclude(&key, key.decide(&generate)).await {
                Err(LedgerError::NameTaken(kind)) => {
                    signing::forget_private(self.ledger.pool(), id).await?;
                    return Err(LedgerError::NameTaken(kind).into());
                }
                concluded => concluded?,
            };
            if let Some(concluded) = concluded {
                concluded.outcome?;
                break;
            }
        }
        run!(self, context, SigningKey, id.0, &SigningKeyCommand::Activate).outcome?;
        Ok(published)
    }
}
