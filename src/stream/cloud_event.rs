//! Events in the envelope of CloudEvents 1.0 (JSON format), as webhooks and NATS carry them.

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::envelope::{Checkpoint, Envelope};
use crate::domain::value::Digest;

/// One event in structured mode (CloudEvents 1.0 JSON format §3).
pub const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// Many events in one array (CloudEvents 1.0 JSON format §4).
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json; charset=utf-8";

/// A `CloudEvent`. Its source and id together are unique (§3.1.1), and the same each time that it is sent.
#[derive(Clone, Debug, Serialize)]
pub struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    datacontenttype: &'static str,
    /// The extension `sequence`: the position, which sorts as text, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    /// The hash of the event's leaf in the evidence log, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    leafhash: Option<String>,
    data: Box<RawValue>,
}

impl<'a> CloudEvent<'a> {
    /// An event of the issuer's ledger.
    pub fn of(issuer: &'a str, event: &'a Envelope) -> Result<Self, serde_json::Error> {
        let row = &event.row;
        let hash = event.leaf_hash();
        Ok(Self {
            specversion: "1.0",
            id: row.position.to_string(),
            source: issuer,
            kind: kind(&row.aggregate_type, &row.event_type),
            subject: Some(format!("{}/{}", row.aggregate_type, row.aggregate_id)),
            time: Some(&row.recorded_at),
            datacontenttype: "application/json",
            sequence: Some(format!("{:020}", row.position)),
            leafhash: Some(Digest(hash).to_string()),
            data: event.document()?,
        })
    }

    /// A checkpoint of the issuer's evidence log.
    pub fn checkpoint(issuer: &'a str, checkpoint: &Checkpoint) -> Result<Self, serde_json::Error> {
        Ok(Self {
            specversion: "1.0",
            id: format!("checkpoint-{}", checkpoint.size),
            source: issuer,
            kind: "grantlog.checkpoint".to_owned(),
            subject: None,
            time: None,
            datacontenttype: "application/json",
            sequence: None,
            leafhash: None,
            data: to_raw_value(&json!({"size": checkpoint.size, "note": checkpoint.note}))?,
        })
    }

    /// Its JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// The type of events of that name: `grantlog.grant.TokenIssued`.
#[must_use]
pub fn kind(aggregate: &str, event: &str) -> String {
    format!("grantlog.{aggregate}.{event}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::stream::envelope::tests::envelope;

    #[test]
    fn an_event_has_the_attributes_of_cloudevents_and_the_ledgers_row_as_data() {
        let event = envelope(42);
        let text = CloudEvent::of("https://id.example", &event)
            .unwrap()
            .to_json()
            .unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        for (name, expected) in [
            ("specversion", "1.0"),
            ("id", "42"),
            ("source", "https://id.example"),
            ("type", "grantlog.grant.TokenIssued"),
            ("subject", "grant/00000000-0000-0000-0000-000000000007"),
            ("time", "2026-11-22T06:58:19.000001Z"),
            ("datacontenttype", "application/json"),
            ("sequence", "00000000000000000042"),
        ] {
            assert_eq!(value[name], expected, "{name}");
        }
        assert_eq!(value["leafhash"].as_str().unwrap().len(), 64);
        // Byte for byte the leaf, so that a receiver can hash it.
        assert!(text.contains(std::str::from_utf8(&event.row.leaf()).unwrap()));
        let checkpoint = Checkpoint {
            size: 7,
            note: "id.example/evidence\n7\n…\n".into(),
        };
        let text = CloudEvent::checkpoint("https://id.example", &checkpoint)
            .unwrap()
            .to_json()
            .unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], "grantlog.checkpoint");
        assert_eq!(value["data"]["note"], checkpoint.note);
    }
}
