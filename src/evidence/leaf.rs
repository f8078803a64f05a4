//! A leaf: the canonical JSON (RFC 8785) of a whole row of the ledger. `docs/evidence.md` defines it for third parties.

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::Row as _;
use uuid::Uuid;

use super::tree::{Hash, leaf_hash};

/// A row of the ledger, every column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The lane.
    pub lane: i16,
    /// The aggregate's type.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// Its place in the aggregate.
    pub sequence: i64,
    /// Its place in the ledger.
    pub position: i64,
    /// The command that wrote it.
    pub command_id: Uuid,
    /// The event's name.
    pub event_type: String,
    /// The version of its payload.
    pub event_version: i16,
    /// The payload's exact text.
    pub payload: String,
    /// The metadata's exact text.
    pub metadata: String,
    /// UTC to the microsecond, `2026-11-22T06:58:19.000001Z`.
    pub recorded_at: String,
}

impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for Row {
    fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            lane: row.try_get(0)?,
            aggregate_type: row.try_get(1)?,
            aggregate_id: row.try_get(2)?,
            sequence: row.try_get(3)?,
            position: row.try_get(4)?,
            command_id: row.try_get(5)?,
            event_type: row.try_get(6)?,
            event_version: row.try_get(7)?,
            payload: row.try_get(8)?,
            metadata: row.try_get(9)?,
            recorded_at: row.try_get(10)?,
        })
    }
}

/// The columns of a [`Row`], in its order, for a SELECT from the ledger. A time that the fixed format cannot tell from another (before
/// the year 1, after 9999, infinite) is none that the ledger's clock gave, and is spelled as Postgres does.
pub const COLUMNS: &str = "lane, aggregate_type, aggregate_id, sequence, position, command_id, event_type, \
    event_version, payload::text AS payload, metadata::text AS metadata, \
    CASE WHEN recorded_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00' \
         THEN to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
         ELSE recorded_at::text END AS recorded_at";

/// A leaf read back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parsed<'a> {
    lane: i16,
    aggregate_type: String,
    aggregate_id: Uuid,
    sequence: i64,
    position: i64,
    command_id: Uuid,
    event_type: String,
    event_version: i16,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
    recorded_at: String,
}

/// What a check of order needs of a leaf.
#[derive(Debug, Deserialize)]
struct Place {
    position: i64,
    recorded_at: String,
}

impl Row {
    /// The leaf. Members are in order of their names; payload and metadata stand as they are stored.
    #[must_use]
    pub fn leaf(&self) -> Vec<u8> {
        let mut out = String::with_capacity(360 + self.payload.len() + self.metadata.len());
        let mut text = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(&serde_json::Value::from(value).to_string());
        };
        text("{\"aggregate_id\":", &self.aggregate_id.hyphenated().to_string());
        text(",\"aggregate_type\":", &self.aggregate_type);
        text(",\"command_id\":", &self.command_id.hyphenated().to_string());
        text(",\"event_type\":", &self.event_type);
        let mut raw = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(value);
        };
        raw(",\"event_version\":", &self.event_version.to_string());
        raw(",\"lane\":", &self.lane.to_string());
        raw(",\"metadata\":", &self.metadata);
        raw(",\"payload\":", &self.payload);
        raw(",\"position\":", &self.position.to_string());
        raw(
            ",\"recorded_at\":",
            &serde_json::Value::from(self.recorded_at.as_str()).to_string(),
        );
        raw(",\"sequence\":", &self.sequence.to_string());
        out.push('}');
        out.into_bytes()
    }

    /// The leaf's hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.leaf())
    }

    /// The hash of the leaf that this row would be at another position.
    #[must_use]
    pub fn hash_at(&self, position: i64) -> Hash {
        let mut moved = self.clone();
        moved.position = position;
        moved.hash()
    }

    /// The row behind a leaf; none where it is no leaf, or not spelled as [`Self::leaf`] does.
    #[must_use]
    pub fn parse(leaf: &[u8]) -> Option<Self> {
        let parsed: Parsed<'_> = serde_json::from_slice(leaf).ok()?;
        let row = Self {
            lane: parsed.lane,
            aggregate_type: parsed.aggregate_type,
            aggregate_id: parsed.aggregate_id,
            sequence: parsed.sequence,
            position: parsed.position,
            command_id: parsed.command_id,
            event_type: parsed.event_type,
            event_version: parsed.event_version,
            payload: parsed.payload.get().to_owned(),
            metadata: parsed.metadata.get().to_owned(),
            recorded_at: parsed.recorded_at,
        };
        (row.leaf() == leaf).then_some(row)
    }
}

/// The position and time that a leaf says it has.
#[must_use]
pub fn place(leaf: &[u8]) -> Option<(i64, String)> {
    let place: Place = serde_json::from_slice(leaf).ok()?;
    Some((place.position, place.recorded_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Digest;
    use proptest::prelude::*;

    fn row() -> Row {
        Row {
            lane: 0,
            aggregate_type: "scope".to_owned(),
            aggregate_id: Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            sequence: 1,
            position: 7,
            command_id: Uuid::from_u128(0xfedc_ba98_7654_3210_fedc_ba98_7654_3210),
            event_type: "ScopeDefined".to_owned(),
            event_version: 1,
            payload: r#"{"description":"Zoë's \"scope\"","name":"zoe"}"#.to_owned(),
            metadata: r#"{"actor":"command_line"}"#.to_owned(),
            recorded_at: "2026-11-22T06:58:19.000001Z".to_owned(),
        }
    }

    /// The test vector of `docs/evidence.md`.
    #[test]
    fn a_leaf_is_spelled_as_the_document_says() {
        let document =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence.md")).unwrap();
        let leaf = String::from_utf8(row().leaf()).unwrap();
        assert!(document.contains(&leaf), "{leaf}");
        assert!(
            document.contains(&Digest(row().hash()).to_string()),
            "{}",
            Digest(row().hash())
        );
        let mut second = row();
        (second.position, second.sequence) = (8, 2);
        let root = Digest(crate::evidence::tree::root_of(&[row().hash(), second.hash()])).to_string();
        assert!(document.contains(&root), "{root}");
    }

    #[test]
    fn a_leaf_is_canonical_json() {
        let leaf = String::from_utf8(row().leaf()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&leaf).unwrap();
        assert_eq!(crate::canonical::to_string(&value).unwrap(), leaf);
    }

    proptest! {
        #[test]
        fn every_column_is_in_the_leaf_and_comes_back(
            lane: i16, aggregate_type in "\\PC{0,10}", ids: (u128, u128), sequence: i64, position: i64,
            event in ("\\PC{0,12}", any::<i16>(), "\\PC{0,12}"), texts in ("[a-z\" ]{0,9}", "[a-z\" ]{0,9}"),
        ) {
            let row = Row {
                lane, aggregate_type, sequence, position,
                aggregate_id: Uuid::from_u128(ids.0), command_id: Uuid::from_u128(ids.1),
                event_type: event.0, event_version: event.1, recorded_at: event.2,
                payload: serde_json::json!({"a": texts.0}).to_string(),
                metadata: serde_json::json!({"b": texts.1}).to_string(),
            };
            prop_assert_eq!(Row::parse(&row.leaf()), Some(row));
        }

        #[test]
        fn any_bytes_are_a_leaf_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            let _ = (Row::parse(&bytes), place(&bytes), Row::parse(text.as_bytes()), place(text.as_bytes()));
        }
    }
}
