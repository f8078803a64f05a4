//! Distinguished names: the subject of a certificate, and the text that a client registers (RFC 4514).

/// A distinguished name whose values are prepared for comparison: relative names in the certificate's order, the
/// attributes of each sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

/// An attribute: its type as a dotted object identifier, and its value as it is compared.
type Attribute = (String, String);

/// The most bytes of a registered name.
const MAX_NAME: usize = 2000;

/// The short names that may be written instead of object identifiers (RFC 4514 §3, and what OpenSSL prints).
const SHORT_NAMES: [(&str, &str); 18] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("TITLE", "2.5.4.12"),
    ("BUSINESSCATEGORY", "2.5.4.15"),
    ("POSTALCODE", "2.5.4.17"),
    ("GN", "2.5.4.42"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
];

impl DistinguishedName {
    /// The name of relative names in a certificate's order, each a list of object identifiers and values.
    #[must_use]
    pub fn new(relative: Vec<Vec<(String, String)>>) -> Self {
        let prepared = relative.into_iter().map(|attributes| {
            let mut attributes: Vec<Attribute> = attributes
                .into_iter()
                .map(|(kind, value)| (kind, prepare(&value)))
                .collect();
            attributes.sort();
            attributes
        });
        Self(prepared.collect())
    }

    /// Reads the text form (RFC 4514 §3): the certificate's last relative name comes first. The error says what is
    /// wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_NAME {
            return Err("it is too long");
        }
        let mut relative = Vec::new();
        for part in split(text, ',') {
            let attributes: Result<Vec<_>, _> = split(part, '+').into_iter().map(attribute).collect();
            relative.push(attributes?);
        }
        relative.reverse();
        Ok(Self::new(relative))
    }
}

/// How values are compared, in the spirit of RFC 5280 §7.1: without regard to case, runs of white space as one space,
/// none at the ends.
fn prepare(value: &str) -> String {
    let lower = value.to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The parts between separators that are not escaped.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut escaped = false;
    let mut parts = Vec::new();
    let mut from = 0;
    for (place, character) in text.char_indices() {
        if character == separator && !escaped {
            parts.push(text.get(from..place).unwrap_or_default());
            from = place + separator.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

fn attribute(text: &str) -> Result<Attribute, &'static str> {
    let (kind, value) = text
        .split_once('=')
        .ok_or("each part needs a type and a value, such as CN=client")?;
    let kind = kind.trim();
    let known = SHORT_NAMES
        .iter()
        .find(|(name, _)| kind.eq_ignore_ascii_case(name));
    let kind = match known {
        Some((_, identifier)) => (*identifier).to_owned(),
        None if is_identifier(kind) => kind.to_owned(),
        None => return Err("it has an attribute type that is not known: write its object identifier"),
    };
    let value = value.trim_start();
    if value.is_empty() {
        return Err("an attribute has no value");
    }
    if value.starts_with('#') {
        return Err("values in hexadecimal (#…) are not supported");
    }
    Ok((kind, unescape(value)?))
}

fn is_identifier(text: &str) -> bool {
    let numbers = text.split('.');
    text.contains('.')
        && numbers
            .into_iter()
            .all(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// RFC 4514 §2.4: a backslash before a special character, or before two hexadecimal digits of UTF-8.
fn unescape(text: &str) -> Result<String, &'static str> {
    const BROKEN: &str = "a backslash must be before a special character or two hexadecimal digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                let next = rest.next().ok_or(BROKEN)?;
                let digit = |byte: u8| {
                    char::from(byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                match digit(next) {
                    Some(high) => {
                        let low = rest.next().and_then(digit).ok_or(BROKEN)?;
                        bytes.push(high << 4 | low);
                    }
                    None if b" \"#+,;<=>\\".contains(&next) => bytes.push(next),
                    None => return Err(BROKEN),
                }
            }
            b'"' | b';' | b'<' | b'>' | 0 => {
                return Err("a special character must be escaped with a backslash");
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(parts: &[&[(&str, &str)]]) -> DistinguishedName {
        let relative = parts.iter().map(|attributes| {
            let attributes = attributes
                .iter()
                .map(|(kind, value)| ((*kind).to_owned(), (*value).to_owned()));
            attributes.collect()
        });
        DistinguishedName::new(relative.collect())
    }

    #[test]
    fn a_name_is_compared_whatever_its_case_and_spacing() {
        let subject = name(&[
            &[("2.5.4.6", "DE")],
            &[("2.5.4.10", "Example  GmbH, Berlin")],
            &[("2.5.4.3", "Client+1"), ("0.9.2342.19200300.100.1.1", "ü7")],
        ]);
        for same in [
            r"CN=Client\+1+UID=ü7,O=Example  GmbH\, Berlin,C=DE",
            r"uid=\c3\bc7 + cn=client\2b1, O=example gmbh\2C berlin , 2.5.4.6=de",
        ] {
            assert_eq!(DistinguishedName::parse(same).as_ref(), Ok(&subject), "{same}");
        }
        for other in [
            r"C=DE,O=Example GmbH\, Berlin,CN=Client\+1+UID=ü7",
            r"CN=Client\+1,UID=ü7,O=Example GmbH\, Berlin,C=DE",
            r"O=Example GmbH\, Berlin,C=DE",
            r"CN=Client\+2+UID=ü7,O=Example GmbH\, Berlin,C=DE",
        ] {
            assert_ne!(DistinguishedName::parse(other).as_ref(), Ok(&subject), "{other}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "",
            "CN",
            "CN=",
            "=x",
            "XX=y",
            "CN=a,",
            "CN=a+",
            "CN=#0401",
            r"CN=a\",
            r"CN=\zz",
            r"CN=\c3",
            "CN=a\"b",
            "CN=a;b",
            "1..2=x",
            &format!("CN={}", "x".repeat(MAX_NAME)),
        ] {
            assert!(DistinguishedName::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_a_name_or_refused(text in r#"[CNO=+,;\\#"0-9a-fx é.]{0,40}|\PC{0,60}"#) {
            let _ = DistinguishedName::parse(&text);
        }
    }
}
