//! The `trail` aggregate: what was done with the ledger as a whole. Each act is an aggregate of its own, but for the
//! key of an import and the keys of the evidence log, whose coming and going is one.

use serde::{Deserialize, Serialize};

use super::value::Digest;
use super::{Decision, aggregate};
use crate::ids::GrantId;

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
            /// Names of the filters that narrowed it. Their values may be personal data.
            filters: Vec<String>,
            /// Whether callers' addresses and agents were decrypted.
            revealed: bool,
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
        }
    }
}

aggregate!(Trail, Trail, "trail", TrailCommand, TrailEvent, TrailRefusal);
