//! Checkpoints (C2SP tlog-checkpoint): the signed tree head, a note of three lines.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note::{NoteError, NoteSigner, SignedNote, VerifierKey, is_key_name};
use super::tree::Hash;

/// Which log had how many leaves with which root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many leaves: the last position.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// Further lines, which this log does not write.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint of a log.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The checkpoint with the signature of each of these keys.
    #[must_use]
    pub fn sign<'a>(&self, keys: impl IntoIterator<Item = &'a NoteSigner>) -> SignedNote {
        let text = self.to_string();
        let signatures = keys.into_iter().map(|key| key.sign(&text, 0)).collect();
        SignedNote { text, signatures }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )?;
        for line in &self.extensions {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.strip_suffix('\n').ok_or(NoteError::Note)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Note);
        };
        let size: u64 = size.parse().map_err(|_| NoteError::Note)?;
        let root = STANDARD.decode(root).map_err(|_| NoteError::Note)?;
        let checkpoint = Self {
            origin: origin.to_owned(),
            size,
            root: root.try_into().map_err(|_| NoteError::Note)?,
            extensions: lines.map(str::to_owned).collect(),
        };
        let lines = checkpoint.extensions.iter().all(|line| !line.is_empty());
        // One spelling only: `+5` and `05` are no sizes.
        let same = lines && is_key_name(origin) && checkpoint.to_string() == text;
        if same {
            Ok(checkpoint)
        } else {
            Err(NoteError::Note)
        }
    }
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a checkpoint.
    #[error("this is not a checkpoint (C2SP tlog-checkpoint)")]
    Form(#[from] NoteError),
    /// None of the keys signed it.
    #[error("the checkpoint of {0} has no valid signature of the given key")]
    Signature(String),
}

/// A checkpoint that one of the keys signed.
pub fn open(note: &str, keys: &[VerifierKey]) -> Result<(Checkpoint, SignedNote), CheckpointError> {
    let note: SignedNote = note.parse()?;
    let checkpoint: Checkpoint = note.text.parse()?;
    let signed = |key: &VerifierKey| key.name == checkpoint.origin && key.verify(&note).is_some();
    if !keys.iter().any(signed) {
        return Err(CheckpointError::Signature(checkpoint.origin));
    }
    Ok((checkpoint, note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::note::NoteAlgorithm;
    use proptest::prelude::*;

    fn signer(name: &str) -> NoteSigner {
        NoteSigner::from_pkcs8(name, NoteAlgorithm::Ed25519, &NoteSigner::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_checkpoint_opens_with_either_key_of_an_overlap_and_with_no_other() {
        let (old, new, other) = (
            signer("id.example/evidence"),
            signer("id.example/evidence"),
            signer("id.example/evidence"),
        );
        let checkpoint = Checkpoint::new("id.example/evidence", 300, [7; 32]);
        let note = checkpoint.sign([&old, &new]).to_string();
        for key in [&old, &new] {
            let (read, _) = open(&note, std::slice::from_ref(&key.verifier)).unwrap();
            assert_eq!(read, checkpoint);
        }
        assert!(open(&note, std::slice::from_ref(&other.verifier)).is_err());
        assert!(open(&note.replace("300", "301"), std::slice::from_ref(&old.verifier)).is_err());
        // A key of another name vouches for no log but its own.
        let stranger = signer("other.example/log");
        let note = checkpoint.sign([&stranger]).to_string();
        assert!(open(&note, std::slice::from_ref(&stranger.verifier)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_checkpoint_or_none_and_is_spelled_one_way(
            any in "\\PC{0,60}", size in "[+0-9]{1,22}", root: [u8; 32], more in "(a|\n){0,4}",
        ) {
            let built = format!("log.example\n{size}\n{}\n{more}", STANDARD.encode(root));
            for text in [any, built] {
                if let Ok(checkpoint) = text.parse::<Checkpoint>() {
                    prop_assert_eq!(checkpoint.to_string(), text);
                }
            }
        }
    }
}
