//! Signed notes (C2SP signed-note): a text and signatures over it. Ed25519 (algorithm 1) for the log, timestamped
//! cosignatures (algorithm 4, C2SP tlog-cosignature) for witnesses.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::CryptoError;

/// The most bytes of a note that is read.
pub const MAX_NOTE: usize = 64 * 1024;
/// The most signatures of a note that is read.
const MAX_SIGNATURES: usize = 100;
/// What a line of a signature begins with.
const MARK: &str = "\u{2014} ";

/// What was read is not a note, or not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note.
    #[error("this is not a signed note (C2SP signed-note)")]
    Note,
    /// Not a verifier key.
    #[error("this is not a verifier key, such as example.com/evidence+0a1b2c3d+AQ…")]
    Key,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteAlgorithm {
    /// Ed25519 over the text.
    Ed25519,
    /// Ed25519 over the text and a time.
    Cosignature,
}

impl NoteAlgorithm {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// The public half of a key, `<name>+<hash>+<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// Whose it is.
    pub name: String,
    /// How it signs.
    pub algorithm: NoteAlgorithm,
    public: [u8; 32],
}

impl VerifierKey {
    /// The verifier key of a public key.
    #[must_use]
    pub fn new(name: &str, algorithm: NoteAlgorithm, public: [u8; 32]) -> Self {
        Self {
            name: name.to_owned(),
            algorithm,
            public,
        }
    }

    /// Whether both are the same key, whatever they are called and however they sign.
    #[must_use]
    pub fn is_key_of(&self, other: &Self) -> bool {
        self.public == other.public
    }

    /// What signatures name it by: the first 4 bytes of `SHA-256(name || LF || algorithm || public key)`.
    #[must_use]
    pub fn hash(&self) -> [u8; 4] {
        let mut bytes = self.name.clone().into_bytes();
        bytes.extend_from_slice(&[b'\n', self.algorithm.byte()]);
        bytes.extend_from_slice(&self.public);
        let mut hash = [0; 4];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref().get(..4).unwrap_or(&[0; 4]));
        hash
    }

    /// Whether a line of the note is this key's signature of it; for a cosignature its time, in seconds since 1970.
    #[must_use]
    pub fn verify(&self, note: &SignedNote) -> Option<Verified> {
        let mine = |line: &&Signature| line.name == self.name && line.key == self.hash();
        note.signatures
            .iter()
            .filter(mine)
            .find_map(|line| self.verify_line(&note.text, line))
    }

    /// Whether one line is this key's signature of a text.
    #[must_use]
    pub fn verify_line(&self, text: &str, line: &Signature) -> Option<Verified> {
        if line.name != self.name || line.key != self.hash() {
            return None;
        }
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        match self.algorithm {
            NoteAlgorithm::Ed25519 => {
                key.verify(text.as_bytes(), &line.signature).ok()?;
                Some(Verified { time: None })
            }
            NoteAlgorithm::Cosignature => {
                let (time, signature) = line.signature.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                key.verify(cosigned(time, text).as_bytes(), signature).ok()?;
                Some(Verified { time: Some(time) })
            }
        }
    }
}

/// A signature that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When a witness saw the note, seconds since 1970.
    pub time: Option<u64>,
}

/// What a cosignature signs (C2SP tlog-cosignature, `cosignature/v1`).
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.algorithm.byte()];
        bytes.extend_from_slice(&self.public);
        let hash = u32::from_be_bytes(self.hash());
        write!(f, "{}+{hash:08x}+{}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let (algorithm, public) = match bytes.split_first() {
            Some((1, public)) => (NoteAlgorithm::Ed25519, public),
            Some((4, public)) => (NoteAlgorithm::Cosignature, public),
            Some(_) | None => return Err(NoteError::Key),
        };
        let key = Self {
            name: name.to_owned(),
            algorithm,
            public: public.try_into().map_err(|_| NoteError::Key)?,
        };
        let as_written = format!("{:08x}", u32::from_be_bytes(key.hash())) == hash;
        if !is_key_name(name) || !as_written {
            return Err(NoteError::Key);
        }
        Ok(key)
    }
}

/// Whether a key may have this name: no space and no plus sign.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A key that signs notes.
pub struct NoteSigner {
    /// Its public half.
    pub verifier: VerifierKey,
    pair: Ed25519KeyPair,
}

impl NoteSigner {
    /// Opens a private key (PKCS#8).
    pub fn from_pkcs8(name: &str, algorithm: NoteAlgorithm, private: &[u8]) -> Result<Self, CryptoError> {
        let pair = Ed25519KeyPair::from_pkcs8(private).map_err(|_| CryptoError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| CryptoError)?;
        Ok(Self {
            verifier: VerifierKey::new(name, algorithm, public),
            pair,
        })
    }

    /// Makes a private key (PKCS#8).
    pub fn generate() -> Result<Vec<u8>, CryptoError> {
        let pair = Ed25519KeyPair::generate()?;
        Ok(pair.to_pkcs8v1()?.as_ref().to_vec())
    }

    /// The line with the signature of a text. `time` is what a cosignature says, in seconds since 1970.
    #[must_use]
    pub fn sign(&self, text: &str, time: u64) -> Signature {
        let signature = match self.verifier.algorithm {
            NoteAlgorithm::Ed25519 => self.pair.sign(text.as_bytes()).as_ref().to_vec(),
            NoteAlgorithm::Cosignature => {
                let signed = self.pair.sign(cosigned(time, text).as_bytes());
                [time.to_be_bytes().as_slice(), signed.as_ref()].concat()
            }
        };
        Signature {
            name: self.verifier.name.clone(),
            key: self.verifier.hash(),
            signature,
        }
    }
}

/// A line of a note: whose signature, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// The key's hash.
    pub key: [u8; 4],
    /// The signature, for a cosignature with the time in front.
    pub signature: Vec<u8>,
}

impl Signature {
    /// Reads a line, without its end.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(MARK)?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key, signature) = bytes.split_first_chunk::<4>()?;
        let whole = is_key_name(name) && !signature.is_empty() && signature.len() <= 1024;
        whole.then(|| Self {
            name: name.to_owned(),
            key: *key,
            signature: signature.to_vec(),
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key.as_slice(), &self.signature].concat();
        write!(f, "{MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text with signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    /// The text, each line with its end.
    pub text: String,
    /// The signatures, none of them verified.
    pub signatures: Vec<Signature>,
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        let plain = |c: char| c == '\n' || !c.is_control();
        if note.len() > MAX_NOTE || !note.chars().all(plain) {
            return Err(NoteError::Note);
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Note)?;
        let (text, lines) = note.split_at_checked(at + 1).ok_or(NoteError::Note)?;
        let lines = lines
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'));
        let lines: Vec<&str> = lines.ok_or(NoteError::Note)?.split('\n').collect();
        if lines.len() > MAX_SIGNATURES {
            return Err(NoteError::Note);
        }
        let signatures: Option<Vec<Signature>> = lines.into_iter().map(Signature::parse).collect();
        Ok(Self {
            text: text.to_owned(),
            signatures: signatures.ok_or(NoteError::Note)?,
        })
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of golang.org/x/mod/sumdb/note, whose format C2SP signed-note is.
    const EXAMPLE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const EXAMPLE_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn a_note_that_others_signed_verifies() {
        let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
        let note: SignedNote = EXAMPLE.parse().unwrap();
        assert!(key.verify(&note).is_some());
        assert_eq!(
            (note.to_string(), key.to_string()),
            (EXAMPLE.to_owned(), EXAMPLE_KEY.to_owned())
        );
        let mut changed = note;
        changed.text = changed.text.replace("think", "know");
        assert_eq!(key.verify(&changed), None);
    }

    #[test]
    fn a_signature_verifies_with_its_key_and_text_only() {
        for algorithm in [NoteAlgorithm::Ed25519, NoteAlgorithm::Cosignature] {
            let make = |name: &str| {
                NoteSigner::from_pkcs8(name, algorithm, &NoteSigner::generate().unwrap()).unwrap()
            };
            let (mine, other) = (make("log.example/evidence"), make("log.example/evidence"));
            let text = "a\nb\n".to_owned();
            let note = SignedNote {
                signatures: vec![mine.sign(&text, 77)],
                text,
            };
            let read: SignedNote = note.to_string().parse().unwrap();
            assert_eq!(read, note);
            let verified = mine.verifier.verify(&read).unwrap();
            assert_eq!(
                verified.time,
                (algorithm == NoteAlgorithm::Cosignature).then_some(77)
            );
            assert_eq!(other.verifier.verify(&read), None);
            let key: VerifierKey = mine.verifier.to_string().parse().unwrap();
            assert_eq!(key, mine.verifier);
            let mut changed = read;
            changed.text.push_str("c\n");
            assert_eq!(mine.verifier.verify(&changed), None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_note_or_none(text in "\\PC{0,60}", lines in "(a|\n|\u{2014}| |\\+|A){0,60}", tail in "\\PC{0,40}") {
            for text in [text.clone(), lines, format!("{text}\n\n\u{2014} {tail}\n")] {
                let _ = (text.parse::<VerifierKey>(), Signature::parse(&text));
                if let Ok(note) = text.parse::<SignedNote>() {
                    prop_assert_eq!(note.to_string().parse::<SignedNote>(), Ok(note));
                }
            }
        }
    }
}
