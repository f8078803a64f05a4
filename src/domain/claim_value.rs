//! What the claims about a user may be (OpenID Connect Core §5.1), and the text that is stored of each.

use super::openid::Claim;
use super::uri;
use super::value::{is_plain_text, is_visible_text, steers};
use chrono::NaiveDate;
use serde_json::{Map, Value};

/// The members of an address (OpenID Connect Core §5.1.1).
const ADDRESS_MEMBERS: [&str; 6] = [
    "formatted",
    "street_address",
    "locality",
    "region",
    "postal_code",
    "country",
];
/// Members that may have several lines.
const OF_LINES: [&str; 2] = ["formatted", "street_address"];
/// The most bytes of a name.
const MAX_NAME: usize = 256;
/// The most bytes of an e-mail address (RFC 5321 §4.5.3.1.3, without the angle brackets).
const MAX_EMAIL: usize = 254;
/// The most bytes of a URL.
const MAX_URL: usize = 2000;
/// The most bytes of one member of an address.
const MAX_ADDRESS_MEMBER: usize = 500;

/// Why a value cannot be a claim's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitClaim {
    /// It is kept otherwise: as the account's own, or by the ledger.
    #[error("it is not set here")]
    NotSetHere,
    /// It is not a string.
    #[error("it is not a string")]
    NotText,
    /// It is not true or false.
    #[error("it is not true or false")]
    NotBoolean,
    /// Empty, too long, or of characters that cannot be seen or steer others.
    #[error("it is empty or too long, or has a character that controls the text's direction or the terminal")]
    NotPlain,
    /// It is not a URL.
    #[error(
        "it is not an http or https URL of at most 2000 bytes, all of them characters that URIs have (RFC 3986)"
    )]
    NotUrl,
    /// It is not a date.
    #[error("it is not a date such as 1815-12-10, 0000-12-10 (without the year) or 1815 (the year alone)")]
    NotDate,
    /// It is not a time zone's name.
    #[error("it is not the name of a time zone such as Europe/Amsterdam")]
    NotZone,
    /// It is not a language tag.
    #[error("it is not a language tag such as en-GB (BCP 47)")]
    NotLocale,
    /// It is not a telephone number.
    #[error("it is not a telephone number such as +31201234567 or +31201234567;ext=12 (E.164, RFC 3966)")]
    NotPhone,
    /// It is not an address.
    #[error(
        "it is not an object of some of formatted, street_address, locality, region, postal_code and country, each \
         a text of at most 500 bytes"
    )]
    NotAddress,
}

/// Whether a text is an `addr-spec` (RFC 5322 §3.4.1) without comments, folded lines and obsolete forms, in which letters
/// may be of any script (RFC 6532 §3.2).
#[must_use]
pub fn is_addr_spec(text: &str) -> bool {
    // The local part may be quoted, and have an @ then.
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_local = match quoted {
        Some(quoted) => is_quoted(quoted),
        None => is_dot_atom(local),
    };
    let is_domain = match literal {
        Some(literal) => literal
            .chars()
            .all(|c| c.is_ascii_graphic() && !"[]\\".contains(c)),
        None => is_dot_atom(domain),
    };
    is_local && is_domain && text.len() <= MAX_EMAIL && text.chars().all(|c| !steers(c))
}

fn is_dot_atom(text: &str) -> bool {
    let is_atext = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || (!c.is_ascii() && c.is_alphanumeric())
    };
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// The inside of a `quoted-string`: a quote or a backslash in it has a backslash before it.
fn is_quoted(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let fits = match c {
            '\\' => chars
                .next()
                .is_some_and(|next| next == ' ' || next.is_ascii_graphic()),
            '"' => false,
            _ => c == ' ' || c.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// The text that is stored of a claim.
pub fn store(claim: Claim, value: &Value) -> Result<String, UnfitClaim> {
    match claim {
        Claim::Name | Claim::PreferredUsername | Claim::Email | Claim::UpdatedAt => {
            Err(UnfitClaim::NotSetHere)
        }
        Claim::EmailVerified | Claim::PhoneNumberVerified => {
            let value = value.as_bool().ok_or(UnfitClaim::NotBoolean)?;
            Ok(value.to_string())
        }
        Claim::Address => {
            let members = value.as_object().ok_or(UnfitClaim::NotAddress)?;
            let is_address =
                !members.is_empty() && members.iter().all(|(name, value)| is_member(name, value));
            is_address
                .then(|| Value::Object(members.clone()).to_string())
                .ok_or(UnfitClaim::NotAddress)
        }
        Claim::GivenName
        | Claim::FamilyName
        | Claim::MiddleName
        | Claim::Nickname
        | Claim::Gender
        | Claim::Profile
        | Claim::Picture
        | Claim::Website
        | Claim::Birthdate
        | Claim::Zoneinfo
        | Claim::Locale
        | Claim::PhoneNumber => {
            let text = value.as_str().ok_or(UnfitClaim::NotText)?;
            check(claim, text)?;
            Ok(text.to_owned())
        }
    }
}

/// The value of a claim by the text that is stored of it; none where that is damaged.
#[must_use]
pub fn restore(claim: Claim, text: &str) -> Option<Value> {
    match claim {
        Claim::EmailVerified | Claim::PhoneNumberVerified => text.parse().ok().map(Value::Bool),
        Claim::UpdatedAt => text.parse::<i64>().ok().map(Value::from),
        Claim::Address => serde_json::from_str::<Map<String, Value>>(text)
            .ok()
            .map(Value::Object),
        Claim::Name
        | Claim::PreferredUsername
        | Claim::Email
        | Claim::GivenName
        | Claim::FamilyName
        | Claim::MiddleName
        | Claim::Nickname
        | Claim::Gender
        | Claim::Profile
        | Claim::Picture
        | Claim::Website
        | Claim::Birthdate
        | Claim::Zoneinfo
        | Claim::Locale
        | Claim::PhoneNumber => Some(Value::String(text.to_owned())),
    }
}

fn check(claim: Claim, text: &str) -> Result<(), UnfitClaim> {
    let (fits, unfit) = match claim {
        Claim::Profile | Claim::Picture | Claim::Website => (is_url(text), UnfitClaim::NotUrl),
        Claim::Birthdate => (is_date(text), UnfitClaim::NotDate),
        Claim::Zoneinfo => (is_zone(text), UnfitClaim::NotZone),
        Claim::Locale => (is_locale(text), UnfitClaim::NotLocale),
        Claim::PhoneNumber => (is_phone(text), UnfitClaim::NotPhone),
        Claim::Name
        | Claim::GivenName
        | Claim::FamilyName
        | Claim::MiddleName
        | Claim::Nickname
        | Claim::PreferredUsername
        | Claim::Gender
        | Claim::UpdatedAt
        | Claim::Email
        | Claim::EmailVerified
        | Claim::Address
        | Claim::PhoneNumberVerified => {
            let plain = text.len() <= MAX_NAME && is_plain_text(text) && is_visible_text(text);
            (plain, UnfitClaim::NotPlain)
        }
    };
    if fits { Ok(()) } else { Err(unfit) }
}

fn is_url(text: &str) -> bool {
    text.len() <= MAX_URL && uri::is_web(text)
}

/// Year 0000 is a leap year: 0000-02-29 is a birthday.
fn is_date(text: &str) -> bool {
    let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_year || (text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok())
}

fn is_zone(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    text.len() <= 64
        && text
            .split('/')
            .all(|part| !part.is_empty() && part.bytes().all(of_name))
}

fn is_locale(text: &str) -> bool {
    let mut tags = text.split('-');
    let language = tags.next().is_some_and(|tag| {
        (2..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    let of_tag =
        |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 64 && language && tags.all(of_tag)
}

fn is_phone(text: &str) -> bool {
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (number, extension) = text
        .split_once(";ext=")
        .map_or((text, None), |(number, extension)| (number, Some(extension)));
    number.strip_prefix('+').is_some_and(|number| digits(number, 15))
        && extension.is_none_or(|extension| digits(extension, 15))
}

fn is_member(name: &str, value: &Value) -> bool {
    let lines = OF_LINES.contains(&name);
    let fits = |text: &str| {
        let steered = text
            .chars()
            .any(|c| steers(c) && !(lines && matches!(c, '\r' | '\n')));
        text.len() <= MAX_ADDRESS_MEMBER && !steered && is_visible_text(text)
    };
    ADDRESS_MEMBERS.contains(&name) && value.as_str().is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn an_e_mail_address_is_an_addr_spec() {
        for good in [
            "ada@example.com",
            "a.b+c@localhost",
            "o'hara@example.com",
            "\"a b@c\"@example.com",
            "\"a\\\"b\"@example.com",
            "a@[192.0.2.1]",
            "jörg@exämple.de",
        ] {
            assert!(is_addr_spec(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "ada",
            "a b@example.com",
            "Ada <a@b>",
            "a@b\n",
            "a\u{202e}@b",
            ".a@b",
            "a..b@c",
            "a@b.",
            "a@b@c",
            "\"a\"b\"@c",
            "\"a\\\"@c",
            "a@[b\\]",
            long.as_str(),
        ] {
            assert!(!is_addr_spec(bad), "{bad}");
        }
    }

    #[test]
    fn claims_are_what_the_specification_says() {
        for (claim, value) in [
            (Claim::GivenName, json!("Ada")),
            (Claim::Website, json!("https://ada.example/")),
            (Claim::Birthdate, json!("1815-12-10")),
            (Claim::Birthdate, json!("0000-02-29")),
            (Claim::Birthdate, json!("1815")),
            (Claim::Zoneinfo, json!("America/Argentina/Buenos_Aires")),
            (Claim::Zoneinfo, json!("Etc/GMT+1")),
            (Claim::Locale, json!("zh-Hant-TW")),
            (Claim::PhoneNumber, json!("+31201234567;ext=12")),
            (Claim::PhoneNumberVerified, json!(true)),
            (
                Claim::Address,
                json!({"formatted": "Main Street 1\nLondon", "country": "GB"}),
            ),
        ] {
            let stored = store(claim, &value).unwrap();
            assert_eq!(restore(claim, &stored), Some(value));
        }
        for (claim, value) in [
            (Claim::Email, json!("a@example.com")),
            (Claim::UpdatedAt, json!(1)),
            (Claim::GivenName, json!("")),
            (Claim::GivenName, json!("\u{202e}evil")),
            (Claim::GivenName, json!(1)),
            (Claim::Picture, json!("javascript:alert(1)")),
            (Claim::Picture, json!("data:image/png;base64,xx")),
            (Claim::Birthdate, json!("1815-13-10")),
            (Claim::Birthdate, json!("10.12.1815")),
            (Claim::Zoneinfo, json!("/etc/passwd")),
            (Claim::Zoneinfo, json!("Europe Amsterdam")),
            (Claim::Locale, json!("en_GB")),
            (Claim::PhoneNumber, json!("0201234567")),
            (Claim::PhoneNumber, json!("+1234567890123456")),
            (Claim::EmailVerified, json!("true")),
            (Claim::Address, json!("Main Street 1")),
            (Claim::Address, json!({})),
            (Claim::Address, json!({"planet": "Earth"})),
            (Claim::Address, json!({"country": "G\nB"})),
        ] {
            assert!(store(claim, &value).is_err(), "{claim:?} {value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_a_claim_that_is_given_back_or_refused(
            number in 0..Claim::ALL.len(),
            text in "\\PC{0,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}|\\+[0-9;=ext]{0,20}|https?://[a-z.]{0,9}",
        ) {
            let claim = Claim::ALL[number];
            for value in [json!(text), json!({"formatted": text}), json!([text]), json!(text.is_empty())] {
                if let Ok(stored) = store(claim, &value) {
                    prop_assert_eq!(restore(claim, &stored), Some(value));
                }
            }
            let _ = restore(claim, &text);
        }
    }
}
