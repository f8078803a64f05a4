//! A deserializer over settings from several places. Text from the environment becomes what the field's type
//! asks for, so that no table of types has to be kept beside [`super::Settings`].

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The error of all deserializers here.
pub(super) type MergeError = serde::de::value::Error;

/// One setting's value, as it was found.
#[derive(Clone)]
pub(super) enum Value {
    /// From the file.
    Toml(toml::Value),
    /// From the environment or the command line.
    Text(String),
}

/// All settings that were found, for [`serde::Deserialize`].
pub(super) fn deserializer(
    settings: Vec<(String, Value)>,
) -> MapDeserializer<'static, std::vec::IntoIter<(String, Value)>, MergeError> {
    MapDeserializer::new(settings.into_iter())
}

impl IntoDeserializer<'_, MergeError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn toml_error(error: &toml::de::Error) -> MergeError {
    MergeError::custom(error.message())
}

/// A number or a switch: the file's own, or parsed from text.
macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, MergeError> {
            match self {
                Self::Toml(value) => value.$method(visitor).map_err(|error| toml_error(&error)),
                Self::Text(text) => match text.trim().parse::<$type>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(MergeError::custom(concat!("it is not ", $expected))),
                },
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Value {
    type Error = MergeError;

    parsed! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number from 0 up";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, MergeError> {
        match self {
            Self::Toml(value) => value.deserialize_any(visitor).map_err(|error| toml_error(&error)),
            Self::Text(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, MergeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, MergeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, MergeError> {
        match self {
            Self::Toml(value) => value
                .deserialize_enum(name, variants, visitor)
                .map_err(|error| toml_error(&error)),
            Self::Text(text) => {
                StringDeserializer::<MergeError>::new(text).deserialize_enum(name, variants, visitor)
            }
        }
    }

    /// A list is TOML (`["a", "b"]`), or separated by commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, MergeError> {
        match self {
            Self::Toml(value) => value.deserialize_seq(visitor).map_err(|error| toml_error(&error)),
            Self::Text(text) if text.trim_start().starts_with('[') => {
                let table: toml::Table = toml::from_str(&format!("list = {}", text.trim()))
                    .map_err(|_| MergeError::custom("it is not a list such as [\"a\", \"b\"] or a,b"))?;
                let items = match table.get("list") {
                    Some(toml::Value::Array(items)) => items.clone(),
                    _ => Vec::new(),
                };
                SeqDeserializer::new(items.into_iter().map(Self::Toml)).deserialize_any(visitor)
            }
            Self::Text(text) => {
                let items: Vec<Self> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Self::Text(item.to_owned()))
                    .collect();
                SeqDeserializer::new(items.into_iter()).deserialize_any(visitor)
            }
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}
