//! The `trail` aggregate: what was done with the ledger as a whole. Each act is an aggregate of its own, but for the
//! key of an import and the keys of the evidence log, whose coming and going is one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use uuid::Uuid;

use super::retention::RetentionClass;
use super::value::Digest;
use super::{Decision, aggregate};
use crate::ids::{ClientKey, GrantId, SubjectId};

events! {
    /// Events of one act on the ledger.
    pub enum TrailEvent of "trail" {
        /// An import of another server's data came to its end, and had brought something.
        ImportCompleted 1 {
            /// Which import.
            source: String,
            /// Scopes that it defined.
            scopes: u64,
            /// Clients that it registered.
            clients: u64,
            /// Users that it registered.
            users: u64,
            /// Refresh tokens that it took over.
            grants: u64,
            /// Rows that it left out, of all tables.
            skipped: u64,
        },
        /// Somebody read the trail: it is recorded before anything is shown.
        LedgerRead 1 {
            /// The grant that was read; none where events of many were.
            grant: Option<GrantId>,
            /// What was read comes after this position.
            after: i64,
            /// What was read goes up to this position.
            upto: i64,
            /// Names of the filters that narrowed it. Their values may be personal data, so that only ids are recorded, below.
            filters: Vec<String>,
            /// Whether callers' addresses and agents were decrypted.
            revealed: bool,
            /// The user who was looked at, or to whom it was narrowed; none in events of earlier builds.
            subject: Option<SubjectId>,
            /// The client that was looked at, or to which it was narrowed; none in events of earlier builds.
            client: Option<ClientKey>,
            /// What else was looked at, by its id or name: an alert, a request, a rule, a position; none in events of
            /// earlier builds.
            resource: Option<String>,
        },
        /// The key was stored that old refresh tokens of an imported server are opened with.
        LegacyKeyStored 1 {
            /// The key's keyed digest: tells keys apart, and cannot be tried against guesses.
            thumbprint: Digest,
        },
        /// It was deleted: old refresh tokens under it are refused from now on.
        LegacyKeyForgotten 1 {
            /// The key's keyed digest.
            thumbprint: Digest,
        },
        /// A key was made that signs the evidence log's checkpoints, beside those that sign already.
        LogKeyGenerated 1 {
            /// The log's name.
            name: String,
            /// The public key as a C2SP verifier key, `<name>+<hash>+<base64>`.
            verifier_key: String,
        },
        /// It signs nothing more. What it signed stays verifiable.
        LogKeyRetired 1 {},
        /// The ledger is older than what was signed, and goes on all the same: what is lost is given up.
        EpochOpened 1 {
            /// The epoch that begins.
            epoch: i64,
            /// The last position that the ledger surely has as it was signed.
            kept: i64,
            /// The last position that was signed.
            signed: i64,
            /// The root of the tree that was signed.
            root: Digest,
        },
        /// It was set how long something is kept.
        RetentionSet 1 {
            /// What.
            class: RetentionClass,
            /// Days after the end of its quarter, or month; none where it is kept for good.
            keep_days: Option<u32>,
        },
        /// The keys are destroyed to callers' addresses and agents, and to operators' names, that are older than a retention
        /// keeps them; but for those of users whom a legal hold keeps.
        AddressesForgotten 1 {
            /// The first month that is kept, `2026-11`.
            before: String,
        },
        /// A quarter that is over is taken out of the ledger, once it is exported and the export is verified. Its hashes stay.
        PartitionDetached 1 {
            /// Which events.
            class: Class,
            /// The partition, `grant_2024q1`.
            partition: String,
            /// The least id in it.
            lower: Uuid,
            /// The least id after it.
            upper: Uuid,
            /// How many events it has.
            events: i64,
            /// The first one's position; 0 where there is none.
            first: i64,
            /// The last one's position; 0 where there is none.
            last: i64,
            /// SHA-256 of its leaves' hashes in the order of their positions.
            leaves: Digest,
            /// Readers of the ledger that had not come past it, and that it was taken from all the same.
            despite: Option<Vec<String>>,
        },
    }
}

impl LedgerRead {
    /// A reading of what the ledger holds up to a position, of nothing in particular.
    #[must_use]
    pub fn upto(position: i64) -> Self {
        Self::stretch(0, position)
    }

    /// A reading of what comes after one position and up to another.
    #[must_use]
    pub fn stretch(after: i64, upto: i64) -> Self {
        Self {
            grant: None,
            after,
            upto,
            filters: Vec::new(),
            revealed: false,
            subject: None,
            client: None,
            resource: None,
        }
    }
}

/// Events that are detached by quarters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Of grants.
    Grant,
    /// Of refused requests.
    Refusal,
}

impl Class {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Grant, Self::Refusal];

    /// The name of the aggregate type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Refusal => "refusal",
        }
    }
}

/// One act's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    /// The import that it was.
    pub import: Option<ImportCompleted>,
    /// The key for old refresh tokens that is stored.
    pub legacy_key: Option<Digest>,
    /// The reading that it was.
    pub reading: Option<LedgerRead>,
    /// The key of the evidence log that it is.
    #[serde(default)]
    pub log_key: LogKey,
    /// For how many days something is kept, where this is the act that says so; none for good.
    #[serde(default)]
    pub keep_days: Option<u32>,
    /// The first month whose addresses are not forgotten, where this is the act that says so.
    #[serde(default)]
    pub forgotten_before: Option<String>,
    /// Whether it is the detachment of a partition.
    #[serde(default)]
    pub detached: bool,
}

/// A key of the evidence log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogKey {
    /// None.
    #[default]
    Absent,
    /// It signs.
    Active,
    /// It has signed.
    Retired,
}

/// Commands on the trail.
#[derive(Clone, Debug)]
pub enum TrailCommand {
    /// Record an import.
    CompleteImport(ImportCompleted),
    /// Record that a key for old refresh tokens is stored. Where that is recorded, nothing happens.
    StoreLegacyKey(Digest),
    /// Record that none is. Where that is recorded, nothing happens.
    ForgetLegacyKey,
    /// Let a new key sign the evidence log.
    GenerateLogKey(LogKeyGenerated),
    /// Let it sign no more.
    RetireLogKey,
    /// Record that the trail was read.
    Read(LedgerRead),
    /// Set how long something is kept. Where it is so already, nothing happens.
    SetRetention(RetentionSet),
    /// Record that the keys to addresses of months before one are destroyed. Where that is recorded, nothing happens.
    ForgetAddresses(AddressesForgotten),
    /// Record a new epoch.
    OpenEpoch(EpochOpened),
    /// Record that a partition is taken out of the ledger.
    Detach(PartitionDetached),
}

/// Why a command on the trail was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrailRefusal {
    /// The id is in use.
    #[error("this is on the trail already")]
    Exists,
    /// No such key signs.
    #[error("there is no such key, or it is retired")]
    UnknownLogKey,
}

impl Trail {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &TrailCommand) -> Decision<TrailEvent, (), TrailRefusal> {
        match command {
            TrailCommand::CompleteImport(_) if self.import.is_some() => {
                Decision::refuse(TrailRefusal::Exists)
            }
            TrailCommand::CompleteImport(event) => Decision::accept(vec![event.clone().into()], ()),
            TrailCommand::Read(_) if self.reading.is_some() => Decision::refuse(TrailRefusal::Exists),
            TrailCommand::Read(event) => Decision::accept(vec![event.clone().into()], ()),
            TrailCommand::StoreLegacyKey(thumbprint) => {
                let thumbprint = *thumbprint;
                let stored =
                    (self.legacy_key != Some(thumbprint)).then(|| LegacyKeyStored { thumbprint }.into());
                Decision::accept(stored.into_iter().collect(), ())
            }
            TrailCommand::ForgetLegacyKey => {
                let forgotten = self
                    .legacy_key
                    .map(|thumbprint| LegacyKeyForgotten { thumbprint }.into());
                Decision::accept(forgotten.into_iter().collect(), ())
            }
            TrailCommand::GenerateLogKey(_) if self.log_key != LogKey::Absent => {
                Decision::refuse(TrailRefusal::Exists)
            }
            TrailCommand::GenerateLogKey(event) => Decision::accept(vec![event.clone().into()], ()),
            TrailCommand::RetireLogKey if self.log_key != LogKey::Active => {
                Decision::refuse(TrailRefusal::UnknownLogKey)
            }
            TrailCommand::RetireLogKey => Decision::accept(vec![LogKeyRetired {}.into()], ()),
            TrailCommand::SetRetention(event) if event.keep_days == self.keep_days => {
                Decision::accept(Vec::new(), ())
            }
            TrailCommand::SetRetention(event) => Decision::accept(vec![event.clone().into()], ()),
            TrailCommand::ForgetAddresses(event) if self.forgotten_before.as_ref() >= Some(&event.before) => {
                Decision::accept(Vec::new(), ())
            }
            TrailCommand::ForgetAddresses(event) => Decision::accept(vec![event.clone().into()], ()),
            TrailCommand::OpenEpoch(event) => Decision::accept(vec![event.clone().into()], ()),
            TrailCommand::Detach(_) if self.detached => Decision::refuse(TrailRefusal::Exists),
            TrailCommand::Detach(event) => Decision::accept(vec![event.clone().into()], ()),
        }
    }

    fn evolve(&mut self, event: TrailEvent) {
        match event {
            TrailEvent::ImportCompleted(import) => self.import = Some(import),
            TrailEvent::LedgerRead(reading) => self.reading = Some(reading),
            TrailEvent::LegacyKeyStored(stored) => self.legacy_key = Some(stored.thumbprint),
            TrailEvent::LegacyKeyForgotten(_) => self.legacy_key = None,
            TrailEvent::LogKeyGenerated(_) => self.log_key = LogKey::Active,
            TrailEvent::LogKeyRetired(_) => self.log_key = LogKey::Retired,
            TrailEvent::RetentionSet(set) => self.keep_days = set.keep_days,
            TrailEvent::AddressesForgotten(forgotten) => self.forgotten_before = Some(forgotten.before),
            TrailEvent::PartitionDetached(_) => self.detached = true,
            TrailEvent::EpochOpened(_) => {}
        }
    }
}

aggregate!(Trail, Trail, "trail", TrailCommand, TrailEvent, TrailRefusal);
