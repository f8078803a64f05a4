//! What a Parquet file has, as the documents that NDJSON has.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use chrono::DateTime;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};

/// The rows of a file, each as the document of its event. The columns that repeat members of the metadata agree with it.
pub(super) fn documents(file: &Path) -> Vec<Value> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| document(&row.unwrap())).collect()
}

fn document(row: &Row) -> Value {
    let mut cells: HashMap<&str, Value> = row
        .get_column_iter()
        .map(|(name, field)| (name.as_str(), cell(field)))
        .collect();
    let mut take = |name: &str| cells.remove(name).unwrap_or_else(|| panic!("no column {name}"));
    let parsed = |text: Value| -> Value { serde_json::from_str(text.as_str().unwrap()).unwrap() };
    let metadata = parsed(take("metadata"));
    for (column, member) in [
        ("actor", "/actor"),
        ("authentication_method", "/authentication/method"),
        ("endpoint", "/endpoint"),
        ("request_id", "/request_id"),
        ("trace_id", "/trace_id"),
        ("network", "/network"),
        ("agent_family", "/agent"),
        ("note", "/note"),
    ] {
        let member = metadata.pointer(member).unwrap_or(&Value::Null);
        assert_eq!(&take(column), member, "{column}");
    }
    let mut document = json!({"payload": parsed(take("payload")), "metadata": metadata});
    for member in [
        "position",
        "recorded_at",
        "aggregate_type",
        "aggregate_id",
        "sequence",
        "event_type",
        "event_version",
    ] {
        document[member] = take(member);
    }
    let (operator, erased) = (take("operator"), take("operator_erased"));
    if erased == true {
        document["operator"] = json!("erased");
    } else if !operator.is_null() {
        document["operator"] = json!({"name": operator});
    }
    let (address, agent) = (take("caller_address"), take("caller_agent"));
    if !(address.is_null() && agent.is_null()) {
        document["caller"] = json!({"address": address, "agent": agent});
    }
    assert!(cells.is_empty(), "unknown columns: {cells:?}");
    document
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other type is a failure")]
fn cell(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Long(value) => json!(value),
        Field::Int(value) => json!(value),
        Field::Bool(value) => json!(value),
        Field::Str(value) => json!(value),
        Field::TimestampMicros(value) => json!(DateTime::from_timestamp_micros(*value).unwrap()),
        other => panic!("another type: {other:?}"),
    }
}
