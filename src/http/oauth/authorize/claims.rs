//! The claims of a request object: a JSON object whose members may be anything, none of them twice, nor what is in them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::unique_json::Unique;

/// The most claims.
const MOST: usize = 100;

/// Claims in their order. With one of them twice it could not be told which is meant, so such an object is refused.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<(String, Value)>);

impl Claims {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// A claim that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = Claims::default();
                while let Some((name, Unique(value))) = map.next_entry::<String, Unique>()? {
                    if claims.get(&name).is_some() || claims.0.len() >= MOST {
                        return Err(A::Error::custom("a claim is there twice, or there are too many"));
                    }
                    claims.0.push((name, value));
                }
                Ok(claims)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_an_object_without_doubles() {
        let claims: Claims = serde_json::from_str(r#"{"a":"x","b":[1]}"#).unwrap();
        assert_eq!((claims.text("a"), claims.text("b")), (Some("x"), None));
        let many: Vec<String> = (0..=MOST).map(|number| format!("\"{number}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":[{"b":1,"b":1}]}"#,
            "[]",
            "1",
            "null",
            r#""a""#,
            &many,
        ] {
            assert!(serde_json::from_str::<Claims>(bad).is_err(), "{bad}");
        }
    }
}
