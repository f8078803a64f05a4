//! Parameters of a path, query or form as a type: each at most once, none unknown, an empty one absent.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::trail::when::{When, moment};

/// No parameters.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Nothing {}

/// An id in its usual spelling.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[serde(transparent)]
pub(in crate::http) struct Id(pub(in crate::http) Uuid);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = Uuid::try_parse(&text).ok();
        let id = id.filter(|id| text.eq_ignore_ascii_case(&id.to_string()));
        id.map(Self)
            .ok_or_else(|| D::Error::custom("it is not a UUID, such as 0190a5b5-0000-7000-8000-000000000000"))
    }
}

/// A moment (RFC 3339), a day (its beginning in UTC), or so long ago (`90s`, `10m`, `2h`, `14d`).
#[derive(Clone, Copy, Debug, JsonSchema)]
#[serde(transparent)]
pub(in crate::http) struct Time(#[schemars(with = "String")] pub(in crate::http) When);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        moment(&text).map(Self).map_err(D::Error::custom)
    }
}

/// A page of a list.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PageQuery {
    /// Begin after this position: `next` of the page before.
    #[serde(default)]
    pub(in crate::http) after: i64,
    /// The most items.
    #[serde(default)]
    pub(in crate::http) limit: Limit,
}

/// The most items of a page: 1 to 1000, 100 where nothing is said.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Limit(pub(in crate::http) u32);

/// The most that may be asked for.
const MOST: u32 = 1_000;

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u32::deserialize(deserializer)?;
        let limit = Some(limit).filter(|limit| (1..=MOST).contains(limit));
        limit
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("it is 1 to {MOST}")))
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MOST})
    }
}

/// Items in the order of their positions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(in crate::http) struct Page<T> {
    /// The items.
    pub(in crate::http) items: Vec<T>,
    /// Where the next page begins; null where this is the last one.
    pub(in crate::http) next: Option<i64>,
}

impl<T> Page<T> {
    /// A page of at most so many items. `position` says where one is.
    pub(in crate::http) fn new(items: Vec<T>, limit: Limit, position: impl Fn(&T) -> i64) -> Self {
        let full = u32::try_from(items.len()).is_ok_and(|length| length >= limit.0);
        let next = items.last().filter(|_| full).map(position);
        Self { items, next }
    }
}

/// Why something is done.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Because {
    /// Why; it is recorded.
    pub(in crate::http) reason: Reason,
}

/// Why something is done, where that may be left open.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MayBecause {
    /// Why; it is recorded.
    #[serde(default)]
    pub(in crate::http) reason: Option<Reason>,
}

/// A reason, in an administrator's words.
#[derive(Clone, Debug, JsonSchema)]
#[serde(transparent)]
pub(in crate::http) struct Reason(#[schemars(length(min = 1, max = 2000))] pub(in crate::http) String);

/// The most characters of a reason.
const MAX_REASON: usize = 2_000;

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reason = String::deserialize(deserializer)?;
        if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
            return Err(D::Error::custom(format_args!(
                "a reason has 1 to {MAX_REASON} characters"
            )));
        }
        Ok(Self(reason))
    }
}

/// What may be read from parameters.
pub(in crate::http) trait Parameters: DeserializeOwned + JsonSchema + Send + 'static {}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Parameters for T {}

/// Reads parameters. The error says which one is wrong.
pub(super) fn read<'a, T: DeserializeOwned>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<T, String> {
    let pairs = pairs.map(|(name, value)| (name, Text(value)));
    named(serde_path_to_error::deserialize(
        MapDeserializer::<_, Error>::new(pairs),
    ))
}

/// What was read; or what is wrong, after the member that it is wrong with.
pub(super) fn named<T, E: std::fmt::Display>(
    read: Result<T, serde_path_to_error::Error<E>>,
) -> Result<T, String> {
    read.map_err(|error| match error.path().to_string().as_str() {
        // What is wrong is then a name, or all of it.
        "." => error.into_inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })
}

/// One value, which becomes what is asked for. Commas separate those of a list.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl Text<'_> {
    fn parse<T: std::str::FromStr>(self, what: &str) -> Result<T, Error> {
        let wrong = || Error::custom(format_args!("it is not {what}"));
        self.0.parse().map_err(|_| wrong())
    }
}

impl IntoDeserializer<'_, Error> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parse("a whole number in range")?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.parse("true or false")?)
    }

    numbers! {
        deserialize_i32 visit_i32, deserialize_i64 visit_i64, deserialize_u16 visit_u16, deserialize_u32 visit_u32,
        deserialize_u64 visit_u64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let values = self.0.split(',').map(Text);
        visitor.visit_seq(SeqDeserializer::new(values))
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl PartialEq for Id {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Asked {
        id: Option<Id>,
        limit: Option<u32>,
        open: bool,
        names: Vec<String>,
    }

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, String> {
        read(pairs.iter().copied())
    }

    #[test]
    fn parameters_become_what_their_type_says_and_the_wrong_one_is_named() {
        let id = "0190a5b5-0000-7000-8000-000000000000";
        let read = asked(&[("id", id), ("limit", "7"), ("open", "true"), ("names", "a,b")]).unwrap();
        assert_eq!(
            read,
            Asked {
                id: Some(Id(id.parse().unwrap())),
                limit: Some(7),
                open: true,
                names: vec!["a".to_owned(), "b".to_owned()],
            }
        );
        assert_eq!(asked(&[]), Ok(Asked::default()));
        for (name, value) in [
            ("id", "7"),
            ("limit", "-1"),
            ("limit", "4294967296"),
            ("open", "yes"),
            ("other", ""),
        ] {
            let refused = asked(&[(name, value)]).unwrap_err();
            assert!(refused.starts_with(&format!("{name}: ")), "{refused}");
        }
        let refused = asked(&[("id", "7")]).unwrap_err();
        assert!(refused.starts_with("id: it is not a UUID, such as "), "{refused}");
    }

    proptest! {
        #[test]
        fn any_parameters_are_read_or_refused(pairs in prop::collection::vec(("[a-z]{0,6}", "\\PC{0,12}"), 0..6)) {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let _ = asked(&pairs);
        }
    }
}
