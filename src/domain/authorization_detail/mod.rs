//! Authorization details (RFC 9396): what a client asks for where the word of a scope says too little.
//!
//! A detail is a JSON object with a `type`, which an operator has [defined](definition). Its content may be personal
//! (accounts, amounts, names), so that on the ledger it is sealed, once per grant; tokens name a part of it
//! ([`Selection`]).

mod asked;
mod definition;
mod narrowing;
mod schema;
mod template;

pub use asked::*;
pub use definition::*;
pub use narrowing::*;
pub use schema::{Schema, SchemaProblem};
pub use template::{Piece, ShownDetail, Template, TemplateProblem};

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::value::{hides, steers};
use crate::unique_json::Unique;

/// The member that says which kind of detail it is (RFC 9396 §2).
const TYPE: &str = "type";
/// The member that names resource servers (RFC 9396 §2.2).
const LOCATIONS: &str = "locations";

/// The most bytes of the JSON text of all details of a request.
pub const MAX_BYTES: usize = 8 * 1024;
/// The most details of a request.
pub const MAX_DETAILS: usize = 20;
/// The most levels of objects and lists within the list of details.
pub const MAX_DEPTH: usize = 8;
/// The largest integer that every JSON reader holds exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// One authorization detail: a JSON object with a `type`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Detail(Map<String, Value>);

/// Why a text is no list of authorization details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedDetails {
    /// The text is longer than [`MAX_BYTES`].
    #[error("the authorization details have more than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not JSON, nested too deep, a member twice, or a number or text that cannot be shown as it is.
    #[error(
        "the authorization details are not JSON of at most {MAX_DEPTH} levels, or have a member twice, an integer beyond 2^53, a fraction of more than 15 digits, or a character that is invisible or controls the text's direction"
    )]
    NotJson,
    /// Not a list of objects, or too many of them.
    #[error("the authorization details are not a list of at most {MAX_DETAILS} objects")]
    NotAList,
    /// A detail is there twice: who allows it once would allow it as often as it is asked for.
    #[error("an authorization detail is there twice")]
    Repeated,
    /// A detail has no `type`, or none that is text.
    #[error("an authorization detail has no type")]
    TypeMissing,
}

/// Reads the parameter `authorization_details` (RFC 9396 §2).
pub fn parse(text: &str) -> Result<Vec<Detail>, MalformedDetails> {
    if text.len() > MAX_BYTES {
        return Err(MalformedDetails::TooLarge);
    }
    let Unique(value) = serde_json::from_str(text).map_err(|_| MalformedDetails::NotJson)?;
    let Value::Array(items) = settled(value, MAX_DEPTH).ok_or(MalformedDetails::NotJson)? else {
        return Err(MalformedDetails::NotAList);
    };
    if items.len() > MAX_DETAILS {
        return Err(MalformedDetails::NotAList);
    }
    let details: Vec<Detail> = items
        .into_iter()
        .map(Detail::try_from)
        .collect::<Result<_, _>>()?;
    let is_repeated = |(place, detail): (usize, &Detail)| details.iter().take(place).any(|one| one == detail);
    if details.iter().enumerate().any(is_repeated) {
        return Err(MalformedDetails::Repeated);
    }
    // As they are written from here on: 1E5 is 100000.0.
    let written = serde_json::to_string(&details).map_err(|_| MalformedDetails::NotJson)?;
    if written.len() > MAX_BYTES {
        return Err(MalformedDetails::TooLarge);
    }
    Ok(details)
}

impl TryFrom<Value> for Detail {
    type Error = MalformedDetails;

    fn try_from(value: Value) -> Result<Self, MalformedDetails> {
        let Value::Object(members) = value else {
            return Err(MalformedDetails::NotAList);
        };
        match members.get(TYPE) {
            Some(Value::String(name)) if !name.is_empty() => Ok(Self(members)),
            _ => Err(MalformedDetails::TypeMissing),
        }
    }
}

impl Detail {
    /// Its `type`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.0.get(TYPE).and_then(Value::as_str).unwrap_or_default()
    }

    /// All members, `type` among them.
    #[must_use]
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Its `locations` (RFC 9396 §2.2); none where it names none, or they are not a list of text.
    #[must_use]
    pub fn locations(&self) -> Option<Vec<&str>> {
        let locations = self.0.get(LOCATIONS)?.as_array()?;
        locations.iter().map(Value::as_str).collect()
    }

    /// The resource servers that it is for: its `locations`, or those of its type; empty where any is.
    fn places<'a>(&'a self, of_type: &'a [String]) -> Vec<&'a str> {
        self.locations()
            .unwrap_or_else(|| of_type.iter().map(String::as_str).collect())
    }

    /// Whether it is for one of these resource servers (RFC 9396 §9.1).
    #[must_use]
    pub fn is_for(&self, of_type: &[String], audience: &[String]) -> bool {
        let places = self.places(of_type);
        places.is_empty() || places.iter().any(|place| audience.iter().any(|one| one == place))
    }

    /// Whether it names no resource server but those of its type, where that has some, and of the client.
    #[must_use]
    pub fn is_within(&self, of_type: &[String], audience: &[String]) -> bool {
        let is_of = |list: &[String], place: &str| list.iter().any(|one| one == place);
        if self.0.contains_key(LOCATIONS) && self.locations().is_none() {
            return false;
        }
        match self.locations() {
            Some(named) => named
                .iter()
                .all(|place| is_of(audience, place) && (of_type.is_empty() || is_of(of_type, place))),
            None => self.is_for(of_type, audience),
        }
    }
}

/// Says of what type it is: the rest may be personal.
impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detail({}, …)", self.type_name())
    }
}

/// Whether people who are shown a text see what is in it.
fn is_shown_whole(text: &str) -> bool {
    !text.chars().any(|c| steers(c) || hides(c))
}

/// Whether every JSON reader has the same number for it, and writes what it has read: 15 digits, near enough to one.
/// Integers too large for 64 bits are none.
fn is_read_alike(value: f64) -> bool {
    let size = value.abs();
    let digits = size.to_string();
    let digits = digits.trim_start_matches(['0', '.']).bytes();
    size == 0.0 || ((1e-6..1e15).contains(&size) && digits.filter(u8::is_ascii_digit).count() <= 15)
}

/// The value, where it has no more than these levels, no number that another reader would change, and no text that looks like
/// another; with one zero.
fn settled(value: Value, depth: usize) -> Option<Value> {
    Some(match value {
        Value::Null | Value::Bool(_) => value,
        Value::Number(number) => settled_number(&number)?.into(),
        Value::String(text) => Value::String(is_shown_whole(&text).then_some(text)?),
        Value::Array(items) => {
            let below = depth.checked_sub(1)?;
            let items = items.into_iter().map(|item| settled(item, below));
            Value::Array(items.collect::<Option<_>>()?)
        }
        Value::Object(members) => {
            let below = depth.checked_sub(1)?;
            let members = members.into_iter().map(|(name, value)| {
                let shown = is_shown_whole(&name);
                Some((shown.then_some(name)?, settled(value, below)?))
            });
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

fn settled_number(number: &Number) -> Option<Number> {
    let integer = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    if let Some(size) = integer {
        return (size <= MAX_SAFE_INTEGER).then(|| number.clone());
    }
    let value = number.as_f64().filter(|value| is_read_alike(*value))?;
    Number::from_f64(if value == 0.0 { 0.0 } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn authorization_details_are_a_list_of_objects_with_a_type() {
        let read = parse(r#" [{"type":"a","x":[1,-2,0.5,-0.0,1234567.12,1E9,null,true,"é"]},{"type":"b"}] "#)
            .unwrap();
        let names: Vec<&str> = read.iter().map(Detail::type_name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(parse("[]").unwrap(), []);
        let deep = |levels: usize| {
            format!(
                "[{{\"type\":\"a\",\"x\":{}{}}}]",
                "[".repeat(levels),
                "]".repeat(levels)
            )
        };
        assert!(parse(&deep(MAX_DEPTH - 2)).is_ok());
        let many = |count: usize| {
            let details: Vec<String> = (0..count).map(|n| format!(r#"{{"type":"a","n":{n}}}"#)).collect();
            format!("[{}]", details.join(","))
        };
        assert!(parse(&many(MAX_DETAILS)).is_ok());
        assert_eq!(parse(&deep(MAX_DEPTH - 1)), Err(MalformedDetails::NotJson));
        assert_eq!(parse(&deep(2000)), Err(MalformedDetails::NotJson));
        assert_eq!(parse(&many(MAX_DETAILS + 1)), Err(MalformedDetails::NotAList));
        let exponents = vec!["1E9"; 1500].join(",");
        let long = parse(&format!(r#"[{{"type":"a","x":[{exponents}]}}]"#));
        assert_eq!(long, Err(MalformedDetails::TooLarge));
        assert_eq!(parse(&" ".repeat(MAX_BYTES + 1)), Err(MalformedDetails::TooLarge));
    }

    #[test]
    fn what_is_no_authorization_detail_is_told_by_what_is_wrong() {
        for (text, why) in [
            ("", MalformedDetails::NotJson),
            (r#"{"type":"a"}"#, MalformedDetails::NotAList),
            (r#"["a"]"#, MalformedDetails::NotAList),
            ("null", MalformedDetails::NotAList),
            (r#"[{"type":"a"}] []"#, MalformedDetails::NotJson),
            (r#"[{"x":1}]"#, MalformedDetails::TypeMissing),
            (r#"[{"type":1}]"#, MalformedDetails::TypeMissing),
            (r#"[{"type":""}]"#, MalformedDetails::TypeMissing),
            (
                r#"[{"type":"a","x":0},{"x":0,"type":"a"}]"#,
                MalformedDetails::Repeated,
            ),
            (r#"[{"type":"a","type":"b"}]"#, MalformedDetails::NotJson),
            (
                r#"[{"type":"a","x":{"y":1,"\u0079":2}}]"#,
                MalformedDetails::NotJson,
            ),
            (r#"[{"type":"a","x":"\u202e"}]"#, MalformedDetails::NotJson),
            (r#"[{"type":"a","x":"\u0000"}]"#, MalformedDetails::NotJson),
            (r#"[{"type":"a","\u200b":1}]"#, MalformedDetails::NotJson),
            (
                r#"[{"type":"a","x":9007199254740993}]"#,
                MalformedDetails::NotJson,
            ),
            (
                r#"[{"type":"a","x":123456789012345678901234567890}]"#,
                MalformedDetails::NotJson,
            ),
            (
                r#"[{"type":"a","x":0.12345678901234567}]"#,
                MalformedDetails::NotJson,
            ),
            (r#"[{"type":"a","x":1e400}]"#, MalformedDetails::NotJson),
            (r#"[{"type":"a","x":1e-40}]"#, MalformedDetails::NotJson),
        ] {
            assert_eq!(parse(text), Err(why), "{text:.60}");
        }
    }

    #[test]
    fn a_detail_is_for_its_locations_or_those_of_its_type() {
        let detail = |value: Value| Detail::try_from(value).unwrap();
        let list = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let (named, any) = (
            detail(json!({"type": "a", "locations": ["urn:x", "urn:y"]})),
            detail(json!({"type": "a"})),
        );
        assert!(named.is_for(&[], &list(&["urn:y"])) && !named.is_for(&[], &list(&["urn:z"])));
        assert!(any.is_for(&[], &list(&["urn:z"])) && !any.is_for(&list(&["urn:x"]), &list(&["urn:z"])));
        assert!(named.is_within(&[], &list(&["urn:x", "urn:y"])));
        assert!(!named.is_within(&[], &list(&["urn:x"])));
        assert!(!named.is_within(&list(&["urn:x"]), &list(&["urn:x", "urn:y"])));
        assert!(!any.is_within(&list(&["urn:x"]), &list(&["urn:y"])));
        let odd = detail(json!({"type": "a", "locations": ["urn:x", 1]}));
        assert!(!odd.is_within(&[], &list(&["urn:x"])));
        assert_eq!(format!("{named:?}"), "Detail(a, …)");
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_authorization_details_or_refused(text in "\\PC{0,80}", inner in "[\\[\\]{}\",:a0-9. \\\\u]{0,40}") {
            let _ = parse(&text);
            let wrapped = format!("[{{\"type\":\"a\",\"x\":{inner}}}]");
            if let Ok(read) = parse(&wrapped) {
                let written = serde_json::to_string(&read).unwrap();
                prop_assert_eq!(parse(&written), Ok(read));
            }
        }
    }
}
