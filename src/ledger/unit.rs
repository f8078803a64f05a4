//! The unit of work: load aggregates, decide, append; again where something moved in between.
//!
//! ```text
//! let mut unit = ledger.unit_of_work(&context);
//! loop {
//!     let client = unit.load::<Client>(…).await?;          // relied on: a precondition of the append
//!     let grant = unit.load::<Grant>(…).await?;
//!     let decision = grant.redeem(…);                      // pure
//!     if let Some(concluded) = unit.conclude(&grant, decision).await? { return concluded.outcome }
//! }
//! ```
//!
//! The first round decides on cached state. That is safe for what is accepted, since the append verifies every
//! aggregate that was loaded; a refusal is given only on state that was read fresh.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::append_call::Conflict;
use super::appender::{AppendError, Appended, Priority};
use super::command::{Command, Expectation, NameChange, NewEvent};
use super::load::{self, Loaded};
use super::metadata::Context;
use super::{Ledger, MAX_EVENT_BYTES};
use crate::canonical::CanonicalError;
use crate::clock::{RandomnessUnavailable, Timestamp};
use crate::crypto::CryptoError;
use crate::crypto::vault::VaultError;
use crate::domain::{AggregateType, Decision, LedgerAggregate, LedgerEvent, UnknownEvent};
use crate::ids::SubjectId;

/// How often a command that loses races is decided again.
const MAX_ROUNDS: u32 = 12;

/// Why a unit of work came to no answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database could not be reached in time, or other writers won every round.
    #[error("the ledger is unavailable")]
    Unavailable,
    /// A name belongs to another aggregate.
    #[error("this {0} is taken")]
    NameTaken(String),
    /// The database refused the command's data (SQLSTATE); nothing of it was written.
    #[error("the ledger refused the command (SQLSTATE {0})")]
    Refused(String),
    /// An event exceeds [`MAX_EVENT_BYTES`].
    #[error("the event has {0} bytes, more than the ledger takes")]
    TooLarge(usize),
    /// Some text cannot be stored.
    #[error(transparent)]
    NotCanonical(#[from] CanonicalError),
    /// A stored event cannot be read by this build.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
    /// A read failed.
    #[error("the ledger could not be read")]
    Read(#[from] sqlx::Error),
    /// A data key could not be had.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Encryption failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] RandomnessUnavailable),
}

/// A decision that stands: its events are durable.
#[derive(Debug)]
pub struct Concluded<O, R> {
    /// What the caller is told.
    pub outcome: Result<O, R>,
    /// Where its events stand; none where there are none.
    pub appended: Option<Appended>,
    /// The position of the first event of the aggregate that was decided on, where it has any.
    pub first_own: Option<i64>,
}

/// One command's way through loading, deciding and appending.
pub struct UnitOfWork<'a> {
    ledger: &'a Ledger,
    context: &'a Context,
    /// The moment that decisions of this round are made at.
    at: Timestamp,
    subject: Option<SubjectId>,
    fresh: bool,
    from_cache: bool,
    concluded: bool,
    rounds: u32,
    loaded: Vec<Expectation>,
    events: Vec<(Expectation, Vec<PendingEvent>)>,
    names: Vec<NameChange>,
}

struct PendingEvent {
    event_type: &'static str,
    version: i16,
    payload: String,
}

impl<'a> UnitOfWork<'a> {
    pub(super) fn new(ledger: &'a Ledger, context: &'a Context) -> Self {
        Self {
            ledger,
            context,
            at: ledger.clock().now(),
            subject: context.subject,
            fresh: false,
            from_cache: false,
            concluded: false,
            rounds: 0,
            loaded: Vec::new(),
            events: Vec::new(),
            names: Vec::new(),
        }
    }

    /// The moment that this round decides at.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The circumstances of the request.
    #[must_use]
    pub fn context(&self) -> &Context {
        self.context
    }

    /// The path of the endpoint that the command came to.
    #[must_use]
    pub fn endpoint(&self) -> &'static str {
        self.context.endpoint
    }

    /// Names the user that the command is about: the caller's address and agent are sealed under that user's
    /// key, and are erased with the user.
    pub fn about(&mut self, subject: Option<SubjectId>) {
        self.subject = subject.or(self.subject);
    }

    /// Whether a refusal that was found outside of a decision may be given. False: it rested on cached state;
    /// load and decide again.
    pub fn refusal_stands(&mut self) -> Result<bool, LedgerError> {
        if self.concluded || !self.from_cache {
            return Ok(true);
        }
        self.again()?;
        Ok(false)
    }

    /// An aggregate as this round sees it. The append will pass only if it has not moved by then.
    pub async fn load<A: LedgerAggregate>(&mut self, id: Uuid) -> Result<Loaded<A>, LedgerError> {
        let cached = self.ledger.inner.cache.get::<A>(id);
        let loaded = match cached {
            Some((sequence, state)) if !self.fresh => {
                self.from_cache = true;
                Loaded { id, sequence, state }
            }
            cached => {
                let loaded = load::advance(&self.ledger.inner.reader, id, cached.unwrap_or_default()).await?;
                if loaded.exists() {
                    self.ledger
                        .inner
                        .cache
                        .put(id, loaded.sequence, Arc::clone(&loaded.state));
                }
                loaded
            }
        };
        self.loaded.push(loaded.expectation());
        Ok(loaded)
    }

    /// An aggregate as the database has it now, in the place of what this round saw of it: where what was read after it
    /// shows that it has moved.
    pub async fn reload<A: LedgerAggregate>(&mut self, id: Uuid) -> Result<Loaded<A>, LedgerError> {
        self.loaded.retain(|seen| seen.kind != A::KIND || seen.id != id);
        let was_fresh = std::mem::replace(&mut self.fresh, true);
        let loaded = self.load(id).await;
        self.fresh = was_fresh;
        loaded
    }

    /// An aggregate that this command creates under an id of its own making: nothing is read.
    #[must_use]
    pub fn create<A: LedgerAggregate>(&mut self, id: Uuid) -> Loaded<A> {
        let created = Loaded {
            id,
            sequence: 0,
            state: Arc::new(A::default()),
        };
        self.loaded.push(created.expectation());
        created
    }

    /// Adds events of a further aggregate to what [`Self::conclude`] appends.
    pub fn also<A: LedgerAggregate>(
        &mut self,
        on: &Loaded<A>,
        events: &[A::Event],
    ) -> Result<(), LedgerError> {
        let pending = events
            .iter()
            .map(|event| {
                Ok(PendingEvent {
                    event_type: event.name(),
                    version: event.version(),
                    payload: event.payload()?,
                })
            })
            .collect::<Result<Vec<_>, CanonicalError>>()?;
        if !pending.is_empty() {
            self.events.push((on.expectation(), pending));
        }
        Ok(())
    }

    /// Claims a name in the same append.
    pub fn claim<A: LedgerAggregate>(&mut self, kind: &'static str, name: &str, owner: Uuid) {
        let digest = self.ledger.vault().master().name_digest(kind, name);
        self.names.push(NameChange {
            kind,
            digest,
            owner: (A::KIND, owner),
            claim: true,
        });
    }

    /// Gives a name up in the same append.
    pub fn release<A: LedgerAggregate>(&mut self, kind: &'static str, name: &str, owner: Uuid) {
        let digest = self.ledger.vault().master().name_digest(kind, name);
        self.names.push(NameChange {
            kind,
            digest,
            owner: (A::KIND, owner),
            claim: false,
        });
    }

    /// Makes the decision durable. None: something had moved, or a refusal rested on cached state; load and
    /// decide again.
    pub async fn conclude<A: LedgerAggregate, O, R>(
        &mut self,
        on: &Loaded<A>,
        decision: Decision<A::Event, O, R>,
    ) -> Result<Option<Concluded<O, R>>, LedgerError> {
        let Decision { events, outcome } = decision;
        if outcome.is_err() && self.from_cache && events.is_empty() {
            self.again()?;
            return Ok(None);
        }
        let before: usize = self.events.iter().map(|(_, events)| events.len()).sum();
        self.also(on, &events)?;
        if self.events.is_empty() {
            return self.conclude_unwritten(outcome).await;
        }
        let command = self.command().await?;
        match self.ledger.append(command, Priority::Normal).await {
            Ok(appended) => {
                self.concluded = true;
                self.context.appended.store(true, Ordering::Release);
                let first_own = appended.first_position + i64::try_from(before).unwrap_or_default();
                let first_own = (!events.is_empty()).then_some(first_own);
                if !events.is_empty() {
                    self.keep(on, events);
                }
                Ok(Some(Concluded {
                    outcome,
                    appended: Some(appended),
                    first_own,
                }))
            }
            Err(AppendError::Conflict(conflict)) => {
                tracing::debug!(?conflict, "deciding again");
                self.forget_detached(&conflict);
                self.again()?;
                Ok(None)
            }
            Err(AppendError::NameTaken(kind)) => Err(LedgerError::NameTaken(kind)),
            Err(AppendError::Refused(code)) => Err(LedgerError::Refused(code)),
            Err(AppendError::Unavailable) => Err(LedgerError::Unavailable),
        }
    }

    /// An outcome that appends nothing: what it says of cached state must be confirmed.
    async fn conclude_unwritten<O, R>(
        &mut self,
        outcome: Result<O, R>,
    ) -> Result<Option<Concluded<O, R>>, LedgerError> {
        if self.from_cache && !self.ledger.is_current(self.loaded.clone()).await? {
            self.again()?;
            return Ok(None);
        }
        Ok(Some(Concluded {
            outcome,
            appended: None,
            first_own: None,
        }))
    }

    /// Confirms what was loaded, where nothing is to be appended. False: load again.
    pub async fn confirm(&mut self) -> Result<bool, LedgerError> {
        Ok(self.conclude_unwritten(Ok::<(), ()>(())).await?.is_some())
    }

    /// An aggregate with fewer events than were seen has left the ledger with its quarter: what is remembered of it would
    /// be read on from for ever.
    fn forget_detached(&self, conflict: &Conflict) {
        if conflict.actual < conflict.expected
            && let Some(kind) = AggregateType::parse(&conflict.aggregate_type)
        {
            self.ledger.inner.cache.forget(kind, conflict.aggregate_id);
        }
    }

    /// The next round reads what other writers did.
    fn again(&mut self) -> Result<(), LedgerError> {
        self.rounds += 1;
        if self.rounds >= MAX_ROUNDS {
            return Err(LedgerError::Unavailable);
        }
        self.fresh = true;
        self.from_cache = false;
        self.at = self.ledger.clock().now();
        self.loaded.clear();
        self.events.clear();
        self.names.clear();
        Ok(())
    }

    async fn command(&mut self) -> Result<Command, LedgerError> {
        let vault = self.ledger.vault();
        let seals = self.context.seals(vault, self.subject, self.at).await?;
        let mut events = Vec::new();
        for (base, pending) in self.events.drain(..) {
            for (offset, event) in (1..).zip(pending) {
                let PendingEvent {
                    event_type,
                    version,
                    payload,
                } = event;
                let place = (base.kind, base.id, event_type);
                let metadata = self.context.metadata(vault, &seals, place, self.at)?;
                if payload.len() + metadata.len() > MAX_EVENT_BYTES {
                    return Err(LedgerError::TooLarge(payload.len() + metadata.len()));
                }
                let sequence = base.sequence + offset;
                let (kind, id) = (base.kind, base.id);
                events.push(NewEvent {
                    kind,
                    id,
                    sequence,
                    event_type,
                    version,
                    payload,
                    metadata,
                });
            }
        }
        Ok(Command {
            id: self.ledger.random().uuid()?,
            expectations: std::mem::take(&mut self.loaded),
            events,
            names: std::mem::take(&mut self.names),
        })
    }

    /// The state after the append, for the next request. Other aggregates that were written are left as they
    /// were cached: a true prefix, brought up to date by the next round that needs them.
    fn keep<A: LedgerAggregate>(&self, on: &Loaded<A>, events: Vec<A::Event>) {
        let sequence = on.sequence + i64::try_from(events.len()).unwrap_or_default();
        let mut state = (*on.state).clone();
        for event in events {
            state.apply(event);
        }
        self.ledger.inner.cache.put(on.id, sequence, Arc::new(state));
    }
}
