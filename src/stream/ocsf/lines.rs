//! Rows of the ledger as lines of OCSF: one JSON object each, in ASCII.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Record, VERSION, export};
use crate::domain::event::Event;
use crate::ledger::Metadata;
use crate::stream::envelope::{Checkpoint, Envelope};
use crate::stream::sink::Failure;

/// An event that is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its position.
    pub position: i64,
    /// The ledger's name of it.
    pub event_type: String,
    /// `severity_id`.
    pub severity: u64,
    /// `class_uid`.
    pub class: u64,
    /// The event, without a line's end.
    pub json: String,
}

/// The event; none where it is not exported.
pub fn event(issuer: &str, envelope: &Envelope) -> Result<Option<Line>, Failure> {
    let row = &envelope.row;
    let unreadable = || Failure::new("unreadable_event");
    let event = Event::decode(
        &row.aggregate_type,
        &row.event_type,
        row.event_version,
        &row.payload,
    );
    // Written by a newer node: it waits for a newer one here.
    let event = event.map_err(|_| Failure::new("unknown_event"))?;
    let metadata = Metadata::read(&row.metadata).map_err(|_| unreadable())?;
    let recorded_at = row.recorded_at.parse().map_err(|_| unreadable())?;
    // Through the document: it withholds what checks a chosen secret.
    let document = envelope.document().map_err(|_| unreadable())?;
    let document: Value = serde_json::from_str(document.get()).map_err(|_| unreadable())?;
    let record = Record {
        position: row.position,
        sequence: row.sequence,
        aggregate_type: &row.aggregate_type,
        aggregate_id: row.aggregate_id,
        event_type: &row.event_type,
        event: &event,
        payload: document.get("payload").unwrap_or(&Value::Null),
        metadata: &metadata,
        recorded_at,
    };
    Ok(export(&record, issuer)
        .ok()
        .map(|exported| line(row.position, &row.event_type, &exported)))
}

/// A signed checkpoint, as an event of the base class (`class_uid` 0).
#[must_use]
pub fn checkpoint(issuer: &str, checkpoint: &Checkpoint, at: crate::clock::Timestamp) -> Line {
    let event = json!({
        "class_uid": 0,
        "class_name": "Base Event",
        "category_uid": 0,
        "category_name": "Uncategorized",
        "activity_id": 99,
        "activity_name": "Checkpoint",
        "type_uid": 99,
        "type_name": "Base Event: Checkpoint",
        "severity_id": 1,
        "severity": "Informational",
        "time": at.timestamp_millis(),
        "message": "Checkpoint",
        "metadata": {
            "version": VERSION,
            "product": { "name": "Grantlog", "vendor_name": "Grantlog", "version": env!("CARGO_PKG_VERSION") },
            "uid": format!("checkpoint-{}", checkpoint.size),
            "log_name": "evidence",
            "log_provider": issuer,
            "event_code": "Checkpoint",
        },
        "unmapped": { "size": checkpoint.size, "note": checkpoint.note },
    });
    line(checkpoint.size, "Checkpoint", &event)
}

fn line(position: i64, event_type: &str, event: &Value) -> Line {
    let number = |name: &str| event.get(name).and_then(Value::as_u64).unwrap_or_default();
    Line {
        position,
        event_type: event_type.to_owned(),
        severity: number("severity_id"),
        class: number("class_uid"),
        json: ascii(&event.to_string()),
    }
}

/// JSON without any byte beyond ASCII: what follows need not know an encoding, and no character steers a terminal.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_ascii_without_a_lines_end_and_say_the_same(text: String) {
            let value = json!({ "a": text });
            let line = ascii(&value.to_string());
            prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}
