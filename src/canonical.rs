//! Canonical JSON (RFC 8785), restricted so that its bytes can be evidence.
//!
//! Member names are ASCII and sorted, there is no white space, numbers are integers that every JSON reader
//! holds exactly (|n| ≤ 2^53 − 1), and no string holds NUL, which Postgres cannot give back. A member whose
//! value is null is left out, so an optional field has one spelling.

use serde::Serialize;
use serde_json::Value;

/// The largest integer that an IEEE 754 double holds exactly (RFC 8785 §3.2.2.3).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Why a value has no canonical form here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CanonicalError {
    /// A number is not an integer within ±(2^53 − 1).
    #[error("the number {0} is not an integer within ±(2^53 - 1)")]
    Number(String),
    /// A member name has characters outside ASCII.
    #[error("the member name {0:?} is not ASCII")]
    Name(String),
    /// A string holds U+0000.
    #[error("a string holds the NUL character")]
    Nul,
    /// The value could not be turned into JSON at all.
    #[error("not serialisable: {0}")]
    Unserialisable(String),
}

/// The canonical text of `value`.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    let value =
        serde_json::to_value(value).map_err(|error| CanonicalError::Unserialisable(error.to_string()))?;
    let mut text = String::with_capacity(256);
    write_value(&value, &mut text)?;
    Ok(text)
}

fn write_value(value: &Value, out: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_none_or(|magnitude| magnitude > MAX_SAFE_INTEGER) {
                return Err(CanonicalError::Number(number.to_string()));
            }
            out.push_str(&number.to_string());
        }
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out)?,
    }
    Ok(())
}

fn write_object(members: &serde_json::Map<String, Value>, out: &mut String) -> Result<(), CanonicalError> {
    // Sorted here and not by the map's type: another crate may switch serde_json's map to insertion order.
    let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
    members.sort_unstable_by(|left, right| left.0.cmp(right.0));
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if !name.is_ascii() {
            return Err(CanonicalError::Name(name.clone()));
        }
        if index > 0 {
            out.push(',');
        }
        write_string(name, out)?;
        out.push(':');
        write_value(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_string(text: &str, out: &mut String) -> Result<(), CanonicalError> {
    if text.contains('\0') {
        return Err(CanonicalError::Nul);
    }
    // serde_json escapes exactly what RFC 8785 §3.2.2.2 asks for: short forms, and \u00xx in lower case.
    let quoted =
        serde_json::to_string(text).map_err(|error| CanonicalError::Unserialisable(error.to_string()))?;
    out.push_str(&quoted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_sorted_and_nulls_left_out() {
        let text = to_string(&json!({"b": 1, "a": [true, null, "x\u{1}\n\"é"], "c": null})).unwrap();
        assert_eq!(text, r#"{"a":[true,null,"x\u0001\n\"é"],"b":1}"#);
    }

    #[test]
    fn what_another_reader_would_change_is_refused() {
        assert_eq!(to_string(&json!(1.5)), Err(CanonicalError::Number("1.5".into())));
        assert_eq!(
            to_string(&json!(9_007_199_254_740_992_u64)),
            Err(CanonicalError::Number("9007199254740992".into()))
        );
        assert!(to_string(&json!(-9_007_199_254_740_991_i64)).is_ok());
        assert_eq!(to_string(&json!("a\0")), Err(CanonicalError::Nul));
        assert_eq!(to_string(&json!({"é": 1})), Err(CanonicalError::Name("é".into())));
    }

    proptest::proptest! {
        #[test]
        fn canonical_text_is_a_fixed_point(keys in proptest::collection::btree_map("[a-z]{1,6}", "\\PC{0,12}", 0..6)) {
            let first = to_string(&keys).unwrap();
            let parsed: Value = serde_json::from_str(&first).unwrap();
            proptest::prop_assert_eq!(to_string(&parsed).unwrap(), first);
        }
    }
}
