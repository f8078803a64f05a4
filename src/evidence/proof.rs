//! Proof files: one event and the checkpoint that covers it (C2SP tlog-proof), and the steps from an older checkpoint to
//! a newer one.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{self, Checkpoint, CheckpointError};
use super::leaf;
use super::note::{MAX_NOTE, NoteError, SignedNote, VerifierKey};
use super::tree::{Hash, leaf_hash, verify_consistency, verify_inclusion};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The most bytes of a proof file: an entry in base64, its hashes and a checkpoint.
pub const MAX_PROOF: usize = 96 * 1024 + MAX_NOTE;
/// The most hashes that a tree of 2^63 leaves needs.
const MAX_HASHES: usize = 64;

/// That a leaf is in the tree of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The leaf itself, in the format's `extra` line.
    pub leaf: Option<Vec<u8>>,
    /// Its index: its position less one.
    pub index: u64,
    /// The hashes of the path.
    pub hashes: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: SignedNote,
}

/// What was read is not a proof, or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof.
    #[error("this is not a proof file (C2SP tlog-proof)")]
    Form,
    /// Its checkpoint is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It does not hold the event.
    #[error("the proof does not hold its event")]
    NoLeaf,
    /// The event says another position.
    #[error("the event says that its position is {0}, the proof that it is {1}")]
    Position(i64, u64),
    /// The proof begins elsewhere.
    #[error("the proof begins at the checkpoint of {0} events, the older checkpoint is of {1}")]
    OtherSize(u64, u64),
    /// The checkpoints are of two logs.
    #[error("the older checkpoint is of {0}, the proof of {1}")]
    OtherLog(String, String),
    /// The hashes do not lead from the one root to the other.
    #[error(
        "the log of {new} events does not begin with the {old} of the older checkpoint: some of those were changed, or the \
         proof was"
    )]
    NotConsistent {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer one.
        new: u64,
    },
    /// The hashes do not lead to the checkpoint's root.
    #[error("event {0} is not in the tree of the checkpoint: the event or the proof was changed")]
    NotIncluded(u64),
}

impl From<NoteError> for ProofError {
    fn from(_: NoteError) -> Self {
        Self::Form
    }
}

/// What a proof showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The event's position.
    pub position: u64,
    /// The event's leaf.
    pub leaf: Vec<u8>,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

impl InclusionProof {
    /// Checks it with nothing but the log's keys.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Proven, ProofError> {
        let (checkpoint, _) = checkpoint::open(&self.checkpoint.to_string(), keys)?;
        let leaf = self.leaf.clone().ok_or(ProofError::NoLeaf)?;
        let position = self.index.saturating_add(1);
        match leaf::place(&leaf) {
            Some((said, _)) if u64::try_from(said) == Ok(position) => {}
            Some((said, _)) => return Err(ProofError::Position(said, position)),
            None => return Err(ProofError::Form),
        }
        let tree = (checkpoint.size, &checkpoint.root);
        if !verify_inclusion((self.index, &leaf_hash(&leaf)), tree, &self.hashes) {
            return Err(ProofError::NotIncluded(position));
        }
        Ok(Proven {
            position,
            leaf,
            checkpoint,
        })
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(leaf) = &self.leaf {
            writeln!(f, "extra {}", STANDARD.encode(leaf))?;
        }
        writeln!(f, "index {}", self.index)?;
        write_hashes(&self.hashes, f)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for InclusionProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_PROOF {
            return Err(ProofError::Form);
        }
        let rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(ProofError::Form)?;
        let (head, note) = rest.split_once("\n\n").ok_or(ProofError::Form)?;
        let mut lines = head.split('\n').peekable();
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let leaf = extra
            .and_then(|line| line.strip_prefix("extra "))
            .map(|encoded| STANDARD.decode(encoded).map_err(|_| ProofError::Form))
            .transpose()?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal).ok_or(ProofError::Form)?;
        Ok(Self {
            leaf,
            index,
            hashes: read_hashes(lines).ok_or(ProofError::Form)?,
            checkpoint: note.parse()?,
        })
    }
}

/// That one tree begins with another, and the checkpoint of the greater one: what a witness is sent (C2SP tlog-witness,
/// `add-checkpoint`) and what `/evidence/proof?from=` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The size of the older tree.
    pub old: u64,
    /// The hashes.
    pub hashes: Vec<Hash>,
    /// The newer checkpoint.
    pub checkpoint: SignedNote,
}

impl ConsistencyProof {
    /// Checks it with the older checkpoint, which is believed, and the log's keys. The newer checkpoint.
    pub fn verify(&self, old: &Checkpoint, keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let (new, _) = checkpoint::open(&self.checkpoint.to_string(), keys)?;
        if old.size != self.old {
            return Err(ProofError::OtherSize(self.old, old.size));
        }
        if old.origin != new.origin {
            return Err(ProofError::OtherLog(old.origin.clone(), new.origin));
        }
        if !verify_consistency((old.size, &old.root), (new.size, &new.root), &self.hashes) {
            return Err(ProofError::NotConsistent {
                old: old.size,
                new: new.size,
            });
        }
        Ok(new)
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        write_hashes(&self.hashes, f)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for ConsistencyProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let (head, note) = text.split_once("\n\n").ok_or(ProofError::Form)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        Ok(Self {
            old: old.and_then(decimal).ok_or(ProofError::Form)?,
            hashes: read_hashes(lines).ok_or(ProofError::Form)?,
            checkpoint: note.parse()?,
        })
    }
}

fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn write_hashes(hashes: &[Hash], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    hashes
        .iter()
        .try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))
}

fn read_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let hashes: Option<Vec<Hash>> = lines
        .take(MAX_HASHES + 1)
        .map(|line| STANDARD.decode(line).ok()?.try_into().ok())
        .collect();
    hashes.filter(|hashes| hashes.len() <= MAX_HASHES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note() -> SignedNote {
        let text = Checkpoint::new("log.example", 9, [3; 32]).to_string();
        let line = crate::evidence::note::Signature {
            name: "log.example".to_owned(),
            key: [1, 2, 3, 4],
            signature: vec![9; 64],
        };
        SignedNote {
            text,
            signatures: vec![line],
        }
    }

    proptest! {
        #[test]
        fn a_proof_comes_back_as_it_was_written(leaf in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)), index: u64, hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..64)) {
            let proof = InclusionProof { leaf, index, hashes: hashes.clone(), checkpoint: note() };
            prop_assert_eq!(proof.to_string().parse::<InclusionProof>().unwrap(), proof);
            let proof = ConsistencyProof { old: index, hashes, checkpoint: note() };
            prop_assert_eq!(proof.to_string().parse::<ConsistencyProof>().unwrap(), proof);
        }

        #[test]
        fn any_text_is_a_proof_or_none(text in "\\PC{0,60}", head in "(extra |index |old |1|\n|A=){0,12}") {
            for text in [text, format!("{HEADER}\n{head}\n\n{}", note()), format!("{head}\n\n{}", note())] {
                let _ = (text.parse::<InclusionProof>(), text.parse::<ConsistencyProof>());
            }
        }
    }
}
