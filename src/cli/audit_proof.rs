//! `grantlog audit verify --proof`: a proof file, without database or server.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use super::arguments::Json;
use super::audit_verify::read;
use super::output;
use crate::evidence::checkpoint::{self, Checkpoint};
use crate::evidence::note::{MAX_NOTE, SignedNote, VerifierKey};
use crate::evidence::proof::{ConsistencyProof, InclusionProof, MAX_PROOF};

/// What a proof is checked with.
pub(super) struct Against<'a> {
    /// The log's keys.
    pub(super) keys: &'a [VerifierKey],
    /// Whose cosignatures the proof's checkpoint must have.
    pub(super) witnesses: &'a [VerifierKey],
    /// Checkpoints that were taken before.
    pub(super) checkpoints: &'a [PathBuf],
}

pub(super) fn verify(file: &Path, against: &Against<'_>, output: Json) -> anyhow::Result<()> {
    let text = read(file, MAX_PROOF)?;
    if text.starts_with("old ") {
        return consistency(&text.parse()?, against, output);
    }
    ensure!(
        against.checkpoints.is_empty(),
        "--checkpoint is for the proof that the log begins with it (`audit prove --from`); this one proves an event"
    );
    inclusion(&text.parse()?, against, output)
}

fn inclusion(proof: &InclusionProof, against: &Against<'_>, output: Json) -> anyhow::Result<()> {
    let proven = proof.verify(against.keys)?;
    require_cosignatures(&proof.checkpoint, against.witnesses)?;
    let event: serde_json::Value = serde_json::from_slice(&proven.leaf)?;
    if output.json {
        return output::json(&json!({
            "verified": true, "position": proven.position, "size": proven.checkpoint.size,
            "origin": proven.checkpoint.origin, "event": event,
        }));
    }
    output::line(&format!(
        "verified: position {} of {}, in the checkpoint of {} events",
        proven.position, proven.checkpoint.origin, proven.checkpoint.size
    ))?;
    output::json(&event)
}

fn consistency(proof: &ConsistencyProof, against: &Against<'_>, output: Json) -> anyhow::Result<()> {
    let old = older(proof.old, against)?;
    let new = proof.verify(&old, against.keys)?;
    require_cosignatures(&proof.checkpoint, against.witnesses)?;
    if output.json {
        return output::json(&json!({
            "verified": true, "old": old.size, "size": new.size, "origin": new.origin,
        }));
    }
    output::line(&format!(
        "verified: the {} events of {} begin with the {} of the checkpoint that was taken before",
        new.size, new.origin, old.size
    ))
}

/// The checkpoint that a proof begins at. The proof has only its size: the root is what was taken before.
fn older(size: u64, against: &Against<'_>) -> anyhow::Result<Checkpoint> {
    let mut sizes = Vec::new();
    for file in against.checkpoints {
        let (checkpoint, _) = checkpoint::open(&read(file, MAX_NOTE)?, against.keys)
            .with_context(|| file.display().to_string())?;
        if checkpoint.size == size {
            return Ok(checkpoint);
        }
        sizes.push(checkpoint.size.to_string());
    }
    if sizes.is_empty() {
        bail!(
            "this proves that the log begins with the {size} events of an older checkpoint: give that one with --checkpoint"
        );
    }
    bail!(
        "the proof begins at the checkpoint of {size} events, and --checkpoint is of {}",
        sizes.join(", ")
    );
}

fn require_cosignatures(note: &SignedNote, witnesses: &[VerifierKey]) -> anyhow::Result<()> {
    for witness in witnesses {
        ensure!(
            witness.verify(note).is_some(),
            "the checkpoint has no valid cosignature of {}",
            witness.name
        );
    }
    Ok(())
}
