//! What events are found by.

use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, RequestId, SessionId, SubjectId};

/// What an event can concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A client.
    Client(ClientKey),
    /// A user.
    Subject(SubjectId),
    /// A browser login.
    Session(SessionId),
    /// A grant: its own events, and those that name it.
    Grant(GrantId),
    /// A network of callers, as metadata has it: comparable within one month only.
    Network(Digest),
    /// A public key or certificate: its `kid`, or its thumbprint (RFC 7638, RFC 8705 §3.1).
    PublicKey(String),
    /// A client's secret, by its number.
    Secret(ClientKey, u32),
    /// Who acted, as metadata spells it: `client:…`, `user:…`, `command_line`, `system`, `policy`, `anonymous`.
    Actor(String),
    /// The event's name.
    EventType(String),
    /// The request that caused it.
    Request(RequestId),
    /// A word of a reason, an error code or a note.
    Word(String),
    /// A person was named on whose behalf a client acted. Who it was is sealed.
    Operator,
}

/// A key as the index has it: eight bytes of a digest. Two keys share one by chance once in 10^19.
pub type Tag = i64;

impl Key {
    /// The key as the index has it.
    #[must_use]
    pub fn tag(&self) -> Tag {
        match self {
            Self::Client(id) => tag(1, id.0.as_bytes()),
            Self::Subject(id) => tag(2, id.0.as_bytes()),
            Self::Session(id) => tag(3, id.0.as_bytes()),
            Self::Grant(id) => tag(4, id.0.as_bytes()),
            Self::Network(digest) => tag(5, &digest.0),
            Self::PublicKey(text) => tag(6, text.as_bytes()),
            Self::Secret(client, number) => {
                let mut bytes = client.0.into_bytes().to_vec();
                bytes.extend_from_slice(&number.to_be_bytes());
                tag(7, &bytes)
            }
            Self::Actor(text) => tag(8, text.as_bytes()),
            Self::EventType(text) => tag(9, text.as_bytes()),
            Self::Request(id) => tag(10, id.0.as_bytes()),
            Self::Word(text) => tag(11, text.as_bytes()),
            Self::Operator => tag(12, b""),
        }
    }
}

fn tag(kind: u8, value: &[u8]) -> Tag {
    let mut bytes = Vec::with_capacity(value.len() + 1);
    bytes.push(kind);
    bytes.extend_from_slice(value);
    let digest = Digest::of(&bytes).0;
    digest.first_chunk().map_or(0, |first| i64::from_be_bytes(*first))
}

/// The words of a text: runs of letters and digits, in lower case, each once and at most [`MAX_WORDS`].
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let word = word.to_lowercase();
        if !word.is_empty() && !found.contains(&word) {
            found.push(word);
        }
        if found.len() == MAX_WORDS {
            break;
        }
    }
    found
}

/// The most words of one text that are indexed.
pub const MAX_WORDS: usize = 32;

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tag_stays_what_it_was_and_tells_kinds_apart() {
        let id = Uuid::from_u128(7);
        let tags = [
            Key::Client(ClientKey(id)).tag(),
            Key::Subject(SubjectId(id)).tag(),
            Key::Session(SessionId(id)).tag(),
            Key::Grant(GrantId(id)).tag(),
            Key::Request(RequestId(id)).tag(),
            Key::Actor("policy".to_owned()).tag(),
            Key::Word("policy".to_owned()).tag(),
        ];
        for (place, tag) in tags.iter().enumerate() {
            assert!(!tags[..place].contains(tag));
        }
        let expected = Digest::of(b"\x09CodeIssued").to_string();
        let tag = Key::EventType("CodeIssued".to_owned()).tag();
        assert_eq!(format!("{tag:016x}"), expected[..16]);
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(words("code_replayed, Code 2×"), ["code", "replayed", "2"]);
        assert_eq!(words("Ärger—İ"), ["ärger", "i\u{307}"]);
        assert!(words(" _-").is_empty());
        let long: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(words(&long.join(" ")).len(), MAX_WORDS);
    }
}
