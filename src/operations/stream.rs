//! Streams, as an administrator defines and reads them.

mod check;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use check::check_secret;

use super::{OperationError, Operations, run};
use crate::crypto::signing;
use crate::domain::stream::{
    DeadLettersDiscarded, Defined, RedeliveryRequested, SecretChange, Stream, StreamCommand,
    StreamDefinition, StreamRefusal,
};
use crate::ids::KeyId;
use crate::ledger::{Context, LedgerError, head_position};
use crate::stream::standard_webhooks::SECRET_BYTES;
use crate::stream::store;

/// The most streams.
const MOST: u32 = 1_000;

/// Where a new stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the ledger's first event.
    Beginning,
    /// With the next event.
    Now,
    /// With the event at this position.
    At(i64),
}

/// What a stream that is set anew authenticates with.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// What it did.
    Keep,
    /// Nothing.
    Nothing,
    /// This.
    These(&'a [u8]),
}

impl Operations {
    /// Defines a stream. `secret` is what it signs or authenticates with, where it needs one.
    pub async fn define_stream(
        &self,
        context: &Context,
        (name, start): (&str, Start),
        mut definition: StreamDefinition,
        secret: Option<&[u8]>,
    ) -> Result<Defined, OperationError> {
        self.check_stream(&definition)?;
        check_secret(&definition.target, secret)?;
        let head = head_position(self.ledger.pool())
            .await
            .map_err(LedgerError::from)?;
        let after = match start {
            Start::Beginning => 0,
            Start::Now => head,
            Start::At(position) => position.saturating_sub(1).clamp(0, head),
        };
        let key = match secret {
            Some(secret) => Some(self.store_stream_secret(secret).await?),
            None => None,
        };
        definition.secrets = key.into_iter().collect();
        let command = StreamCommand::Define {
            name: name.to_owned(),
            definition: Box::new(definition),
            after,
        };
        let outcome = run!(self, context, Stream, Stream::id(name), &command).outcome;
        if let (Err(_), Some(key)) = (&outcome, key) {
            signing::forget_private(self.ledger.pool(), key).await?;
        }
        outcome?;
        self.stream(name).await
    }

    /// Sets a stream anew. It goes on from where it is, with its secrets, but for credentials that another server would
    /// get to see.
    pub async fn change_stream(
        &self,
        context: &Context,
        name: &str,
        definition: StreamDefinition,
        credentials: Credential<'_>,
    ) -> Result<Defined, OperationError> {
        self.check_stream(&definition)?;
        let (change, key) = match credentials {
            Credential::Keep => (SecretChange::Keep, None),
            Credential::Nothing => (SecretChange::Drop, None),
            Credential::These(secret) => {
                check_secret(&definition.target, Some(secret))?;
                let key = self.store_stream_secret(secret).await?;
                (SecretChange::Replace(key), Some(key))
            }
        };
        let command = StreamCommand::Change(Box::new(definition), change);
        self.change_secrets(context, (name, &command), (change, key))
            .await?;
        self.stream(name).await
    }

    /// Lets a stream stand still.
    pub async fn pause_stream(
        &self,
        context: &Context,
        name: &str,
        reason: &str,
    ) -> Result<(), OperationError> {
        let reason = reason.to_owned();
        self.command_stream(context, name, &StreamCommand::Pause { reason })
            .await
    }

    /// Lets it go on, at once.
    pub async fn resume_stream(&self, context: &Context, name: &str) -> Result<(), OperationError> {
        // Before its event, which has a node take it.
        let hurried = store::hurry(self.ledger.pool(), Stream::id(name)).await;
        hurried.map_err(LedgerError::from)?;
        self.command_stream(context, name, &StreamCommand::Resume).await
    }

    /// Removes a stream: its secrets, its place and its dead letters are forgotten.
    pub async fn remove_stream(
        &self,
        context: &Context,
        name: &str,
        reason: &str,
    ) -> Result<(), OperationError> {
        let reason = reason.to_owned();
        let command = StreamCommand::Remove { reason };
        self.change_secrets(context, (name, &command), (SecretChange::Drop, None))
            .await?;
        let forgotten = store::forget(self.ledger.pool(), Stream::id(name)).await;
        Ok(forgotten.map_err(LedgerError::from)?)
    }

    /// Gives a stream another secret. The one before it stays until it is retired ([`Self::retire_stream_secret`]); any
    /// older one is forgotten.
    pub async fn rotate_stream_secret(
        &self,
        context: &Context,
        name: &str,
        secret: &[u8],
    ) -> Result<(), OperationError> {
        check_secret(&self.stream(name).await?.definition.target, Some(secret))?;
        let key = self.store_stream_secret(secret).await?;
        let change = SecretChange::Rotate(key);
        let command = StreamCommand::ChangeSecrets(change);
        self.change_secrets(context, (name, &command), (change, Some(key)))
            .await
    }

    /// Forgets every secret of a stream but the newest.
    pub async fn retire_stream_secret(&self, context: &Context, name: &str) -> Result<(), OperationError> {
        let change = SecretChange::Retire;
        let command = StreamCommand::ChangeSecrets(change);
        self.change_secrets(context, (name, &command), (change, None))
            .await
    }

    /// Does a command that may change a stream's secrets, and forgets those that it has no more: decided on one state, so
    /// that nobody's change at the same time brings one back. A new one that was not taken is forgotten, too.
    async fn change_secrets(
        &self,
        context: &Context,
        (name, command): (&str, &StreamCommand),
        (change, new): (SecretChange, Option<KeyId>),
    ) -> Result<(), OperationError> {
        let secrets = |stream: &Stream| -> Vec<KeyId> {
            let defined = stream.defined.as_ref();
            defined.map_or_else(Vec::new, |defined| defined.definition.secrets.clone())
        };
        let mut unit = self.ledger.unit_of_work(context);
        let (before, outcome) = loop {
            let stream = unit.load::<Stream>(Stream::id(name)).await?;
            if let Some(concluded) = unit.conclude(&stream, stream.decide(command)).await? {
                break (secrets(&stream), concluded.outcome);
            }
        };
        let change = if outcome.is_ok() {
            change
        } else {
            SecretChange::Keep
        };
        let kept = change.apply(&before);
        for key in before.into_iter().chain(new).filter(|key| !kept.contains(key)) {
            signing::forget_private(self.ledger.pool(), key).await?;
        }
        Ok(outcome?)
    }

    /// Has dead letters delivered once more: those at these positions, or all. How many there are.
    pub async fn redeliver(
        &self,
        context: &Context,
        name: &str,
        positions: Option<&[i64]>,
    ) -> Result<i64, OperationError> {
        self.stream(name).await?;
        let requested = store::request_redelivery(self.ledger.pool(), Stream::id(name), positions).await;
        let (count, first, last) = requested.map_err(LedgerError::from)?;
        let request = RedeliveryRequested { first, last, count };
        self.command_stream(context, name, &StreamCommand::Redeliver(request))
            .await?;
        Ok(count)
    }

    /// Forgets dead letters: those at these positions, or all. How many there were.
    pub async fn discard(
        &self,
        context: &Context,
        (name, positions): (&str, Option<&[i64]>),
        reason: &str,
    ) -> Result<i64, OperationError> {
        self.stream(name).await?;
        let (pool, id) = (self.ledger.pool(), Stream::id(name));
        let found = store::count_dead_letters(pool, id, positions).await;
        let (count, first, last) = found.map_err(LedgerError::from)?;
        let discarded = DeadLettersDiscarded {
            first,
            last,
            count,
            reason: reason.to_owned(),
        };
        // First: what is forgotten is on the trail. Those that come meanwhile lie behind the last.
        self.command_stream(context, name, &StreamCommand::Discard(discarded))
            .await?;
        let forgotten = store::forget_dead_letters(pool, id, (positions, last)).await;
        forgotten.map_err(LedgerError::from)?;
        Ok(count)
    }

    /// A stream.
    pub async fn stream(&self, name: &str) -> Result<Defined, OperationError> {
        let stream = self.load::<Stream>(Stream::id(name)).await?;
        Ok(stream.defined.clone().ok_or(StreamRefusal::Unknown)?)
    }

    /// All streams, in the order in which they were first defined.
    pub async fn streams(&self) -> Result<Vec<Defined>, LedgerError> {
        let listed = self.list::<Stream>(0, MOST).await?.into_iter();
        Ok(listed
            .filter_map(|stream| stream.loaded.defined.clone())
            .collect())
    }

    /// The secrets of a stream, opened, in this order.
    pub async fn stream_secrets(&self, keys: &[KeyId]) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut secrets = Vec::with_capacity(keys.len());
        for key in keys {
            let wrapped: Vec<u8> =
                sqlx::query_scalar("SELECT wrapped FROM grantlog.key_material WHERE key_id = $1")
                    .bind(key.0)
                    .fetch_one(self.ledger.pool())
                    .await?;
            let master = self.ledger.vault().master();
            secrets.push(master.unwrap(&signing::wrap_label(*key), &wrapped)?);
        }
        Ok(secrets)
    }

    /// A new secret for webhooks: the bytes, and what the receiver is told (`whsec_…`).
    pub fn webhook_secret(&self) -> Result<(Vec<u8>, String), OperationError> {
        let bytes: [u8; SECRET_BYTES] = self.ledger.random().bytes().map_err(LedgerError::from)?;
        Ok((bytes.to_vec(), format!("whsec_{}", STANDARD.encode(bytes))))
    }

    /// Before its event: a secret that nobody knows does no harm, an event without its secret would.
    async fn store_stream_secret(&self, secret: &[u8]) -> Result<KeyId, OperationError> {
        let id = KeyId(self.ledger.random().uuid().map_err(LedgerError::from)?);
        let (master, random) = (self.ledger.vault().master(), self.ledger.random());
        signing::store_private(self.ledger.pool(), master, random, id, secret).await?;
        Ok(id)
    }

    async fn command_stream(
        &self,
        context: &Context,
        name: &str,
        command: &StreamCommand,
    ) -> Result<(), OperationError> {
        Ok(run!(self, context, Stream, Stream::id(name), command).outcome?)
    }
}
