//! `/admin/evidence`: checkpoints and proofs with their events, as `grantlog audit prove` writes them. Hashes, and proofs
//! without events, are for everybody, at `/evidence`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::Nothing;
use super::scope::AdminScope;
use crate::clock::Timestamp;
use crate::config::EvidenceEntries;
use crate::domain::refusal::RefusalReason;
use crate::domain::trail::LedgerRead;
use crate::evidence::{EvidenceError, prove, store};
use crate::http::error::{AdminError, Rejection};
use crate::http::evidence::failed;

/// The signed head of the log.
#[derive(Serialize, JsonSchema)]
struct ShownCheckpoint {
    /// How many events it covers.
    size: u64,
    /// The C2SP signed note; null before the first one.
    checkpoint: Option<String>,
    /// The newest one that a witness has cosigned.
    witnessed: Option<String>,
    /// The log's verifier keys, oldest first.
    verifier_keys: Vec<String>,
}

/// Which event.
#[derive(Deserialize, JsonSchema)]
struct Event {
    /// Its position.
    position: u64,
}

/// From which checkpoint.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Older {
    /// How many events the older checkpoint covers.
    from: u64,
}

/// A proof.
#[derive(Serialize, JsonSchema)]
struct ShownProof {
    /// As `grantlog audit verify` takes it.
    proof: String,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            About::get(
                "/admin/evidence/checkpoint",
                (
                    "showCheckpoint",
                    "The last signed checkpoint, and the keys to verify it",
                ),
            )
            .scope(AdminScope::Evidence),
            checkpoint,
        ),
        operation(
            About::get(
                "/admin/evidence/keys",
                (
                    "listLogKeys",
                    "List the keys that sign the evidence log, and those that have",
                ),
            )
            .scope(AdminScope::Evidence),
            keys,
        ),
        operation(
            About::get(
                "/admin/evidence/proofs/{position}",
                ("proveEvent", "A proof of an event, which is in it"),
            )
            .scope(AdminScope::Evidence),
            inclusion,
        ),
        operation(
            About::get(
                "/admin/evidence/consistency",
                (
                    "proveConsistency",
                    "A proof that the log follows from an older checkpoint",
                ),
            )
            .scope(AdminScope::Evidence),
            consistency,
        ),
    ]
}

/// The keys of the evidence log.
#[derive(Serialize, JsonSchema)]
struct LogKeys {
    /// Oldest first.
    items: Vec<ShownLogKey>,
}

/// A key of the evidence log.
#[derive(Serialize, JsonSchema)]
struct ShownLogKey {
    /// The public key as a C2SP verifier key.
    verifier_key: String,
    /// `signs` or `retired`.
    state: &'static str,
    /// When it was made.
    generated_at: Timestamp,
    /// When it ceased to sign.
    retired_at: Option<Timestamp>,
}

async fn keys(call: Call, _: Asked) -> Result<LogKeys, Rejected> {
    let keys = call.operations().log_keys().await?.into_iter();
    let items = keys.map(|key| ShownLogKey {
        state: key.state(),
        verifier_key: key.verifier_key,
        generated_at: key.generated_at,
        retired_at: key.retired_at,
    });
    Ok(LogKeys {
        items: items.collect(),
    })
}

fn refused(error: &EvidenceError) -> Rejected {
    Rejection::new(AdminError::from(failed(error)), RefusalReason::NoSuchEntries)
}

fn not_covered(call: &Call) -> Rejected {
    let error = AdminError::missing("The last checkpoint does not cover this position or size.");
    call.refuse(error, RefusalReason::NoSuchEntries)
}

async fn checkpoint(call: Call, _: Asked) -> Result<ShownCheckpoint, Rejected> {
    let pool = call.app.ledger.pool();
    let log = store::read(pool).await.map_err(|error| refused(&error))?;
    let published = store::published(pool, &log).await;
    let witnessed = store::witnessed(pool).await;
    let keys = store::verifier_keys(pool).await.map_err(Call::failed)?;
    Ok(ShownCheckpoint {
        size: log.size,
        checkpoint: published
            .map_err(|error| refused(&error))?
            .map(|note| note.to_string()),
        witnessed: witnessed
            .map_err(|error| refused(&error))?
            .map(|note| note.to_string()),
        verifier_keys: keys.iter().map(ToString::to_string).collect(),
    })
}

async fn inclusion(call: Call, asked: Asked<Event>) -> Result<ShownProof, Rejected> {
    let position = asked.path.position;
    let upto = i64::try_from(position).map_err(|_| not_covered(&call))?;
    // A proof holds its event, and who reads events is on the trail before.
    call.record(LedgerRead::stretch(upto.saturating_sub(1), upto))
        .await?;
    let proof = prove::inclusion(call.app.ledger.pool(), position).await;
    let proof = proof.map_err(|error| refused(&error))?;
    let mut proof = proof.ok_or_else(|| not_covered(&call))?;
    // The event holds what checks its client's secret, where it has any: for nobody where entries are for nobody.
    let shows = call.app.settings.evidence_entries != EvidenceEntries::Off;
    proof.leaf = proof.leaf.filter(|_| shows);
    Ok(ShownProof {
        proof: proof.to_string(),
    })
}

async fn consistency(call: Call, asked: Asked<Nothing, Older>) -> Result<ShownProof, Rejected> {
    let pool = call.app.ledger.pool();
    let log = store::read(pool).await.map_err(|error| refused(&error))?;
    let proof = prove::consistency(pool, &log, asked.query.from).await;
    let proof = proof.map_err(|error| refused(&error))?;
    let proof = proof.ok_or_else(|| not_covered(&call))?.to_string();
    Ok(ShownProof { proof })
}
