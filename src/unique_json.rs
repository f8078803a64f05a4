//! JSON in which no object has a member twice. RFC 8259 §4 leaves open which of the two is meant: two readers of one text
//! could see two requests.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON value. A text in which any object has a member twice is not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json).map(Self)
    }
}

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unique(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unique(value))) = object.next_entry::<String, Unique>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Value> {
        serde_json::from_str(text).ok().map(|Unique(value)| value)
    }

    #[test]
    fn a_member_that_is_there_twice_is_not_read_at_any_depth() {
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":{"a":null,"a":null}}]"#,
        ] {
            assert!(serde_json::from_str::<Value>(twice).is_ok());
            assert_eq!(read(twice), None, "{twice}");
        }
    }

    proptest! {
        #[test]
        fn all_other_json_is_read_as_ever(text in "[\\[\\]{}\",:ab01.e\\- ]{0,24}", names in proptest::collection::vec("[a-c]", 0..4)) {
            let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":{{\"x\":[1,-2,0.5]}}")).collect();
            let object = format!("{{{}}}", members.join(","));
            let distinct = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
            prop_assert_eq!(read(&object).is_some(), distinct);
            for text in [&text, &object] {
                if let Some(value) = read(text) {
                    prop_assert_eq!(Some(value), serde_json::from_str(text).ok());
                }
            }
        }
    }
}
