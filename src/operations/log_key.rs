//! The keys of the evidence log: made at the first start, rotated with overlap, never forgotten.

use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::crypto::signing;
use crate::domain::trail::{LogKeyGenerated, Trail, TrailCommand};
use crate::evidence::note::{NoteAlgorithm, NoteSigner};
use crate::ids::KeyId;
use crate::ledger::{Context, LedgerError};

/// The kind of name by which nodes that start at once agree on the first key.
const FIRST_KEY: &str = "first_log_key";

/// A key of the evidence log, in use or retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKeyRow {
    /// Its aggregate.
    pub id: Uuid,
    /// The log's name.
    pub name: String,
    /// Its public half.
    pub verifier_key: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// When it ceased to sign.
    pub retired_at: Option<Timestamp>,
}

impl LogKeyRow {
    /// Whether it signs, in a word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.retired_at.is_some() {
            "retired"
        } else {
            "signs"
        }
    }
}

impl Operations {
    /// All keys that ever signed the evidence log, oldest first.
    pub async fn log_keys(&self) -> Result<Vec<LogKeyRow>, LedgerError> {
        let rows: Vec<(Uuid, String, String, Timestamp, Option<Timestamp>)> = sqlx::query_as(
            "SELECT g.aggregate_id AS id, g.payload->>'name' AS name, g.payload->>'verifier_key' AS verifier_key, \
                    g.recorded_at AS generated_at, \
                    (SELECT max(r.recorded_at) FROM grantlog.ledger_trail r \
                     WHERE r.aggregate_id = g.aggregate_id AND r.event_type = 'LogKeyRetired') AS retired_at \
             FROM grantlog.ledger_trail g WHERE g.event_type = 'LogKeyGenerated' ORDER BY g.position",
        )
        .fetch_all(self.ledger.pool())
        .await?;
        let key = |(id, name, verifier_key, generated_at, retired_at)| LogKeyRow {
            id,
            name,
            verifier_key,
            generated_at,
            retired_at,
        };
        Ok(rows.into_iter().map(key).collect())
    }

    /// Those that sign.
    pub async fn active_log_keys(&self) -> Result<Vec<LogKeyRow>, LedgerError> {
        let keys = self.log_keys().await?.into_iter();
        Ok(keys.filter(|key| key.retired_at.is_none()).collect())
    }

    /// The private half of a key.
    pub async fn open_log_key(&self, key: &LogKeyRow) -> Result<NoteSigner, LedgerError> {
        let wrapped: Vec<u8> =
            sqlx::query_scalar("SELECT wrapped FROM grantlog.key_material WHERE key_id = $1")
                .bind(key.id)
                .fetch_one(self.ledger.pool())
                .await?;
        let label = signing::wrap_label(KeyId(key.id));
        let private = self.ledger.vault().master().unwrap(&label, &wrapped)?;
        Ok(NoteSigner::from_pkcs8(
            &key.name,
            NoteAlgorithm::Ed25519,
            &private,
        )?)
    }

    /// Makes the first key, where there is none.
    pub async fn ensure_log_key(&self, context: &Context, origin: &str) -> Result<(), OperationError> {
        if self.ledger.find_name(FIRST_KEY, "evidence").await?.is_some() {
            return Ok(());
        }
        match self.add_log_key(context, origin, true).await {
            // Another node was first.
            Ok(_) | Err(OperationError::Ledger(LedgerError::NameTaken(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a new key, which signs beside the others until they are retired. Returns its verifier key.
    pub async fn rotate_log_key(&self, context: &Context, origin: &str) -> Result<String, OperationError> {
        let keys = self.log_keys().await?;
        // The log keeps the name that it began with.
        let Some(first) = keys.first() else {
            return self.add_log_key(context, origin, true).await;
        };
        self.add_log_key(context, &first.name, false).await
    }

    /// Lets a key sign no more. Another must be there that does.
    pub async fn retire_log_key(&self, context: &Context, verifier_key: &str) -> Result<(), OperationError> {
        let active = self.active_log_keys().await?;
        let problem = |problem: &str| OperationError::invalid("key", problem);
        let mut rest = active.iter().filter(|key| key.verifier_key != verifier_key);
        let key = active.iter().find(|key| key.verifier_key == verifier_key);
        let key = key.ok_or_else(|| problem("no such key signs the evidence log"))?;
        if rest.next().is_none() {
            return Err(problem("it is the only key that signs: rotate first"));
        }
        run!(self, context, Trail, key.id, &TrailCommand::RetireLogKey).outcome?;
        signing::forget_private(self.ledger.pool(), KeyId(key.id)).await?;
        Ok(())
    }

    async fn add_log_key(
        &self,
        context: &Context,
        origin: &str,
        first: bool,
    ) -> Result<String, OperationError> {
        let private = NoteSigner::generate().map_err(LedgerError::Crypto)?;
        let signer =
            NoteSigner::from_pkcs8(origin, NoteAlgorithm::Ed25519, &private).map_err(LedgerError::Crypto)?;
        let verifier_key = signer.verifier.to_string();
        let id = self.ledger.random().uuid().map_err(LedgerError::from)?;
        // Before its event: a key that nobody knows does no harm, an event without its key would.
        let (master, random) = (self.ledger.vault().master(), self.ledger.random());
        signing::store_private(self.ledger.pool(), master, random, KeyId(id), &private).await?;
        let command = TrailCommand::GenerateLogKey(LogKeyGenerated {
            name: origin.to_owned(),
            verifier_key: verifier_key.clone(),
        });
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let key = unit.load::<Trail>(id).await?;
            if first {
                unit.claim::<Trail>(FIRST_KEY, "evidence", id);
            }
            let concluded = match unit.conclude(&key, key.decide(&command)).await {
                Err(LedgerError::NameTaken(kind)) => {
                    signing::forget_private(self.ledger.pool(), KeyId(id)).await?;
                    return Err(LedgerError::NameTaken(kind).into());
                }
                concluded => concluded?,
            };
            if let Some(concluded) = concluded {
                concluded.outcome?;
                return Ok(verifier_key);
            }
        }
    }
}
