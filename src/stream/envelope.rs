//! What streams carry: an event with all that its row says, and signed checkpoints.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::evidence::leaf::Row;
use crate::evidence::tree::{Hash, leaf_hash};
use crate::trail::document;

/// An event on its way out: its row of the ledger. Personal data in it is sealed, as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The row, every column.
    pub row: Row,
}

impl Envelope {
    /// Its place in the ledger.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.row.position
    }

    /// The hash of its leaf in the evidence log (RFC 6962 §2.1), by which a proof of it is checked.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.row.leaf())
    }

    /// The event as JSON: its leaf, byte for byte, but for what checks a chosen secret, which could be tried against
    /// guesses and stays in the ledger.
    pub fn document(&self) -> Result<Box<RawValue>, serde_json::Error> {
        let payload = withheld(&self.row.payload)?;
        let leaf = match payload {
            None => self.row.leaf(),
            Some(payload) => Row {
                payload,
                ..self.row.clone()
            }
            .leaf(),
        };
        serde_json::from_slice(&leaf)
    }
}

/// The payload without verifiers of secrets; none where it has none.
fn withheld(payload: &str) -> Result<Option<String>, serde_json::Error> {
    if !payload.contains("\"verifier\"") {
        return Ok(None);
    }
    let mut payload: Value = serde_json::from_str(payload)?;
    Ok(document::withhold(&mut payload).then(|| payload.to_string()))
}

/// A signed checkpoint of the evidence log, as a C2SP signed note: it vouches for everything up to its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many events it covers.
    pub size: i64,
    /// The signed note.
    pub note: String,
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;

    /// An event at a position.
    pub(in crate::stream) fn envelope(position: i64) -> Envelope {
        Envelope {
            row: Row {
                lane: 0,
                aggregate_type: "grant".into(),
                aggregate_id: Uuid::from_u128(7),
                sequence: position,
                position,
                command_id: Uuid::from_u128(9),
                event_type: "TokenIssued".into(),
                event_version: 1,
                payload: r#"{"scope":"a b"}"#.into(),
                metadata: r#"{"actor":"system"}"#.into(),
                recorded_at: "2026-11-22T06:58:19.000001Z".into(),
            },
        }
    }

    #[test]
    fn an_event_goes_out_as_its_leaf_but_for_verifiers_of_secrets() {
        let mut event = envelope(3);
        let leaf = event.document().unwrap().get().as_bytes().to_vec();
        assert_eq!(leaf, event.row.leaf());
        assert_eq!(leaf_hash(&leaf), event.leaf_hash());
        event.row.payload = r#"{"number":1,"verifier":{"argon2id":"$argon2id$v=19$secret"}}"#.into();
        let document = event.document().unwrap();
        assert!(!document.get().contains("$secret"), "{document}");
        let value: Value = serde_json::from_str(document.get()).unwrap();
        assert_eq!(value["payload"]["verifier"]["argon2id"], "withheld");
        assert_eq!(value["payload"]["number"], 1);
    }
}
