//! Lists of what a caller would rather have, with weights (RFC 9110 §12.4.2): `Accept` and `Accept-Language`.

use axum::http::{HeaderMap, HeaderName};

/// A weight in thousandths, from 0 (not at all) to this.
pub const MOST: u16 = 1000;

/// The members of all lines of a header: what each names, without its parameters, and its weight. One that is malformed is
/// passed over.
pub fn members<'a>(headers: &'a HeaderMap, header: &HeaderName) -> impl Iterator<Item = (&'a str, u16)> {
    let lines = headers.get_all(header).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(member)
}

/// One member. None where nothing is named, or the weight is none.
#[must_use]
pub fn member(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
    let weight = parameters.find(|(name, _)| name.eq_ignore_ascii_case("q"));
    match weight {
        None => Some((name, MOST)),
        Some((_, weight)) => Some((name, thousandths(weight)?)),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A number from 0 to 1 with at most three digits after its point.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let is_number = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| is_number)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(MOST),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_name_and_a_weight() {
        for (text, expected) in [
            ("text/html", Some(("text/html", 1000))),
            (" de-AT\t; Q=0.5", Some(("de-AT", 500))),
            (
                "application/json;charset=utf-8;q=0.07",
                Some(("application/json", 70)),
            ),
            ("*;q=1.000", Some(("*", 1000))),
            ("fr;q=0", Some(("fr", 0))),
            ("fr;q=0.", Some(("fr", 0))),
            ("fr;q=1.001", None),
            ("fr;q=0.0001", None),
            ("fr;q=7", None),
            ("fr;q=", None),
            ("fr;q=+0", None),
            (";q=1", None),
            (" ", None),
        ] {
            assert_eq!(member(text), expected, "{text}");
        }
    }

    #[test]
    fn members_may_come_in_lines_of_their_own() {
        let mut headers = HeaderMap::new();
        for line in ["a, b;q=0.1", "", "c;q=x", "d"] {
            headers.append("accept", line.parse().unwrap());
        }
        let read: Vec<_> = members(&headers, &axum::http::header::ACCEPT).collect();
        assert_eq!(read, [("a", 1000), ("b", 100), ("d", 1000)]);
    }
}
