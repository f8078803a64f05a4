//! Reading the configuration: a TOML file, over it the environment, over that the command line's options.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{ConfigError, Origin, Problem};
use super::merged::{self, MergeError, Value};
use super::{Settings, check};

/// Variables that begin with `GRANTLOG_` and are no field: the file's place, who administers, and what tests are told.
const OTHER_VARIABLES: [&str; 2] = ["GRANTLOG_CONFIG", "GRANTLOG_OPERATOR"];
const TEST_PREFIX: &str = "GRANTLOG_TEST_";
const PREFIX: &str = "GRANTLOG_";
/// Fields whose values no message may quote.
const SECRET: [&str; 4] = [
    "master_key",
    "database_url",
    "migration_database_url",
    "keys_database_url",
];

/// A setting from the command line: the field, the option's name, the text.
pub type Override = (&'static str, &'static str, String);

/// Reads and checks the configuration. `environment` is every variable of the process; the ones that do not
/// begin with `GRANTLOG_` are not looked at.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    load_with(file, environment, Vec::new())
}

/// As [`load`], with options of the command line over both.
pub fn load_with(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    overrides: Vec<Override>,
) -> Result<Settings, ConfigError> {
    let mut found: BTreeMap<String, (Value, Origin)> = BTreeMap::new();
    if let Some(path) = file {
        for (field, value) in read_file(path)? {
            found.insert(field, (Value::Toml(value), Origin::File(path.to_owned())));
        }
    }
    let mut unknown = Vec::new();
    for (variable, text) in environment {
        let Some(field) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        // An empty variable counts as unset: that is how deployment tools leave one out.
        let other = OTHER_VARIABLES.contains(&variable.as_str()) || variable.starts_with(TEST_PREFIX);
        if other || text.is_empty() {
            continue;
        }
        let field = field.to_ascii_lowercase();
        let origin = Origin::Environment(variable);
        if field_names().contains(&field.as_str()) {
            found.insert(field, (Value::Text(text), origin));
        } else {
            unknown.push(problem(field, origin, "there is no such setting"));
        }
    }
    for (field, option, text) in overrides {
        found.insert(field.to_owned(), (Value::Text(text), Origin::Option(option)));
    }
    unknown.extend(
        found
            .iter()
            .filter(|(field, _)| !field_names().contains(&field.as_str()))
            .map(|(field, (_, origin))| problem(field.clone(), origin.clone(), "there is no such setting")),
    );
    if !unknown.is_empty() {
        return Err(ConfigError::Invalid(unknown));
    }
    let settings = deserialize(&found)?;
    let origin = |field: &str| {
        found
            .get(field)
            .map_or(Origin::Unset, |(_, origin)| origin.clone())
    };
    let problems = check::problems(&settings, origin);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// The environment variable of a field.
#[must_use]
pub fn variable(field: &str) -> String {
    format!("{PREFIX}{}", field.to_ascii_uppercase())
}

/// The names of all fields, as [`Settings`] declares them.
#[must_use]
pub fn field_names() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe fails once it has the names.
    let _ = Settings::deserialize(Probe(&mut names));
    names
}

fn read_file(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        ConfigError::NotToml {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            // Not its Display, which quotes the line, and with it perhaps a secret.
            what: error.message().to_owned(),
        }
    })
}

fn deserialize(found: &BTreeMap<String, (Value, Origin)>) -> Result<Settings, ConfigError> {
    let values = found
        .iter()
        .map(|(field, (value, _))| (field.clone(), value.clone()))
        .collect();
    serde_path_to_error::deserialize(merged::deserializer(values)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(field) = missing {
            let what = format!("it must be set, in the file or as {}", variable(field));
            return ConfigError::Invalid(vec![problem(field.to_owned(), Origin::Unset, &what)]);
        }
        // The field without what serde found inside of it, such as `[1]`.
        let field = path.split(['.', '[']).next().unwrap_or(&path).to_owned();
        let origin = found
            .get(&field)
            .map_or(Origin::Unset, |(_, origin)| origin.clone());
        let what = if SECRET.contains(&field.as_str()) {
            "it is not text".to_owned()
        } else {
            message
        };
        ConfigError::Invalid(vec![problem(field, origin, &what)])
    })
}

pub(super) fn problem(field: String, origin: Origin, what: &str) -> Problem {
    Problem {
        field,
        origin,
        what: what.to_owned(),
    }
}

/// Learns which fields a struct asks for.
struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = MergeError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, MergeError> {
        Err(serde::de::Error::custom("only a probe"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, MergeError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
