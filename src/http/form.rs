//! `application/x-www-form-urlencoded`, strictly: UTF-8 only, each parameter at most once (but `resource`, RFC 8707
//! §2, and in a token exchange `audience`, RFC 8693 §2.1), an empty value counts as absent (RFC 6749 §3.1, §3.2). A flat
//! JSON object of strings may say the same, under the same rules.

use std::fmt;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::domain::client::GrantType;

/// The most bytes of a form.
pub const MAX_BYTES: usize = 64 * 1024;
/// The parameter that may be there more than once (RFC 8707 §2).
const REPEATABLE: &str = "resource";
/// The one that may be in a token exchange alone (RFC 8693 §2.1).
const AUDIENCE: &str = "audience";
/// The most parameters of a form.
pub const MAX_PARAMETERS: usize = 100;

/// Why a form was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A parameter is there twice.
    #[error("a parameter is included more than once")]
    Duplicate(String),
    /// Not UTF-8 once decoded, or a broken escape.
    #[error("the form is not UTF-8")]
    NotUtf8,
    /// A NUL character, which nothing here has.
    #[error("the form has a NUL character")]
    Nul,
    /// The body is not said to be a form.
    #[error("the content type is not application/x-www-form-urlencoded")]
    ContentType,
    /// The form is said to be in another charset than UTF-8.
    #[error("the charset is not UTF-8")]
    Charset,
    /// Too many parameters.
    #[error("the form has too many parameters")]
    TooMany,
    /// Not JSON, or not a flat object of strings.
    #[error("the body is not a JSON object of strings")]
    NotFlatJson,
}

/// Parameters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body or a query.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Self::collect(pairs)
    }

    /// Reads a JSON object whose members are all strings.
    pub fn parse_json(bytes: &[u8]) -> Result<Self, FormError> {
        let text = std::str::from_utf8(bytes).map_err(|_| FormError::NotUtf8)?;
        let Members(members) = serde_json::from_str(text).map_err(|_| FormError::NotFlatJson)?;
        Self::collect(members.into_iter().map(|(name, value)| {
            let has_nul = name.contains('\0') || value.contains('\0');
            if has_nul {
                Err(FormError::Nul)
            } else {
                Ok((name, value))
            }
        }))
    }

    fn collect(pairs: impl Iterator<Item = Result<(String, String), FormError>>) -> Result<Self, FormError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        let mut doubled = false;
        for pair in pairs {
            let (name, value) = pair?;
            if parameters.len() >= MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            if parameters.iter().any(|(known, _)| *known == name) && name != REPEATABLE {
                if name != AUDIENCE {
                    return Err(FormError::Duplicate(name));
                }
                doubled = true;
            }
            parameters.push((name, value));
        }
        let is_exchange =
            |(name, value): &(_, _)| name == "grant_type" && value == GrantType::TokenExchange.name();
        if doubled && !parameters.iter().any(is_exchange) {
            return Err(FormError::Duplicate(AUDIENCE.to_owned()));
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(Self(parameters))
    }

    /// Reads bytes.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, FormError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| FormError::NotUtf8)?)
    }

    /// A parameter's value; none where it is absent or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The values of a parameter that may be there more than once, in their order, without empty ones.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// All parameters, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The members of a JSON object in their order, doubled ones included: a map would keep the last of them unsaid.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Checks that a body is said to be a form in UTF-8: `application/x-www-form-urlencoded`, once, with no charset
/// or with that one (RFC 6749 appendix B). Other parameters of the media type mean nothing.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), FormError> {
    check_media_type(headers, "application/x-www-form-urlencoded")
}

/// The same for a JSON body (RFC 8259 §8.1: it is UTF-8).
pub fn check_json_type(headers: &HeaderMap) -> Result<(), FormError> {
    check_media_type(headers, "application/json")
}

fn check_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), FormError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(FormError::ContentType);
    };
    let text = value.to_str().map_err(|_| FormError::ContentType)?;
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !media_type.eq_ignore_ascii_case(wanted) {
        return Err(FormError::ContentType);
    }
    let mut charsets = parts
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim_end().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'));
    if charsets.all(|charset| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")) {
        return Ok(());
    }
    Err(FormError::Charset)
}

/// Decodes one component: `+` is a space, `%xx` a byte of UTF-8.
pub fn decode(text: &str) -> Result<String, FormError> {
    let mut escapes = text.split('%').skip(1);
    if !escapes.all(|rest| {
        rest.as_bytes()
            .get(..2)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    }) {
        return Err(FormError::NotUtf8);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| FormError::NotUtf8)?
        .into_owned();
    if decoded.contains('\0') {
        return Err(FormError::Nul);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_value_counts_as_absent_and_a_second_one_is_refused() {
        let form = Form::parse("a=1&b=&c&d=x%20y+z").unwrap();
        assert_eq!(
            (form.get("a"), form.get("b"), form.get("c"), form.get("d")),
            (Some("1"), None, None, Some("x y z"))
        );
        assert_eq!(Form::parse("a=1&%61=2"), Err(FormError::Duplicate("a".into())));
        assert_eq!(Form::parse("b=&b=1"), Err(FormError::Duplicate("b".into())));
        let form = Form::parse("resource=a&x=1&resource=&%72esource=b").unwrap();
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_json_body_is_a_flat_object_of_strings_under_the_forms_rules() {
        let json = |text: &str| Form::parse_json(text.as_bytes());
        let form = json(r#"{"a": "1", "b": "", "c": "x y\u00e4"}"#).unwrap();
        assert_eq!(
            (form.get("a"), form.get("b"), form.get("c")),
            (Some("1"), None, Some("x y\u{e4}"))
        );
        assert_eq!(json("{}"), Ok(Form::default()));
        for doubled in [
            r#"{"a": "1", "a": "1"}"#,
            r#"{"a": "1", "\u0061": "2"}"#,
            r#"{"a": "", "a": "1"}"#,
        ] {
            assert_eq!(json(doubled), Err(FormError::Duplicate("a".into())), "{doubled}");
        }
        for text in [
            "",
            "null",
            "[]",
            "\"a\"",
            r#"{"a": 1}"#,
            r#"{"a": null}"#,
            r#"{"a": true}"#,
            r#"{"a": ["1"]}"#,
            r#"{"a": {"b": "1"}}"#,
            r#"{"a": "1"} {}"#,
            r#"{"a": "1",}"#,
            r#"{"a": "\ud800"}"#,
        ] {
            assert_eq!(json(text), Err(FormError::NotFlatJson), "{text}");
        }
        assert_eq!(json(r#"{"a": "\u0000"}"#), Err(FormError::Nul));
        assert_eq!(Form::parse_json(b"{\"a\": \"\xff\"}"), Err(FormError::NotUtf8));
        let many: Vec<String> = (0..=MAX_PARAMETERS).map(|n| format!("\"{n}\": \"\"")).collect();
        assert_eq!(json(&format!("{{{}}}", many.join(","))), Err(FormError::TooMany));
    }

    #[test]
    fn a_form_is_said_to_be_one_in_utf8() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers)
        };
        let form = "application/x-www-form-urlencoded";
        for good in [
            "",
            "; charset=UTF-8",
            ";charset=\"utf-8\"",
            "; Charset = utf8",
            "; boundary=x",
        ] {
            assert_eq!(check(&format!("{form}{good}")), Ok(()), "{good}");
        }
        for other in [
            "; charset=iso-8859-1",
            "; charset=utf-8; charset=utf-16",
            "; charset=",
        ] {
            assert_eq!(
                check(&format!("{form}{other}")),
                Err(FormError::Charset),
                "{other}"
            );
        }
        assert_eq!(check("application/json"), Err(FormError::ContentType));
        assert_eq!(check_content_type(&HeaderMap::new()), Err(FormError::ContentType));
    }

    #[test]
    fn broken_encodings_are_refused() {
        for text in ["a=%ff", "a=%", "a=%4", "a=%zz", "%c3=1"] {
            assert_eq!(Form::parse(text), Err(FormError::NotUtf8), "{text}");
        }
        assert_eq!(Form::parse("a=%00"), Err(FormError::Nul));
        assert_eq!(Form::parse_bytes(b"a=\xff"), Err(FormError::NotUtf8));
    }

    proptest! {
        #[test]
        fn what_a_browser_encodes_is_read_back(pairs in proptest::collection::btree_map("\\PC{1,8}", "\\PC{1,12}", 0..6)) {
            let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let form = Form::parse(&text).unwrap();
            for (name, value) in &pairs {
                prop_assert_eq!(form.get(name), Some(value.as_str()));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse_bytes(&bytes);
            let _ = Form::parse_json(&bytes);
        }
    }
}
