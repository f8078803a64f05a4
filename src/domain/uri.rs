//! What characters a URI has (RFC 3986). Parsers for browsers repair what has others, each in its own way, so that two of
//! them may see two addresses in one text.

use url::{Host, Url};

/// Whether a text has only characters of a URI (RFC 3986 §2), each `%` before two hexadecimal digits, and brackets around the
/// host only (RFC 3986 §3.2.2).
#[must_use]
pub fn is_spelled(text: &str) -> bool {
    let (before, rest) = match text.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => (scheme, rest),
        Some(_) | None => (text, ""),
    };
    let path = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if [before, path].iter().any(|part| part.contains(['[', ']'])) {
        return false;
    }
    let bytes = text.as_bytes();
    let is_escape = |at: usize| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => is_escape(at),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    })
}

/// Whether a parser for browsers has read the host that is written: not `127.0.0.1` for `127.1`, nor a name for one that is
/// percent-encoded. The letters' case and the forms of IPv6 addresses are no matter.
#[must_use]
pub fn has_written_host(text: &str, parsed: &Url) -> bool {
    let is_written = |host: &str| {
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        let authority = &authority[..end];
        let written = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
        let written = written.split_once(':').map_or(written, |(name, _)| name);
        written.eq_ignore_ascii_case(host)
    };
    match parsed.host() {
        Some(Host::Domain(name)) => is_written(name),
        Some(Host::Ipv4(address)) => is_written(&address.to_string()),
        Some(Host::Ipv6(_)) => true,
        None => false,
    }
}

/// Whether a text is an http or https URL as it is spelled: with `//` and a host after it.
#[must_use]
pub fn is_web(text: &str) -> bool {
    let authority = text
        .split_once("://")
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let Some((scheme, rest)) = authority else {
        return false;
    };
    matches!(scheme.as_str(), "https" | "http")
        && !rest.starts_with(['/', '?', '#', ':', '@'])
        && is_spelled(text)
        && Url::parse(text).is_ok_and(|url| has_written_host(text, &url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_has_no_character_that_no_uri_has() {
        for good in [
            "https://app.example/a?b=c&d='e'#f",
            "HTTP://[2001:db8::1]:8080/%7Ea(b)",
            "https://xn--mller-kva.example/%C3%A9",
            "https://App.Example:8443?a",
            "https://u:p@app.example/",
            "http://[0:0::1]/",
            "http://127.0.0.1:80/",
        ] {
            assert!(is_web(good), "{good}");
        }
        for bad in [
            "",
            "https:app.example/",
            "https:///app.example/",
            "https://",
            "//app.example/",
            "javascript:alert(1)",
            "https://app.example/a b",
            " https://app.example/",
            "https://app.example/\n",
            "https://app.example/\"x",
            "https://app.example/<x>",
            "https://app.example/`x`{y}|z^",
            "https://app.example\\@other.example/",
            "https://müller.example/",
            "https://app.example/%",
            "https://app.example/%f",
            "https://app.example/%zz",
            "https://app.example/\u{7f}",
            "https://app.example/\u{202e}",
            "https://app.example/[a]",
            "https://app.example?a[]=1",
            "https://app.example#[",
            "https://[app.example]/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "https://%61pp.example/",
        ] {
            assert!(!is_web(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_url_or_none(text in "\\PC{0,60}|https://[ -~]{0,40}") {
            if is_web(&text) {
                prop_assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
                let odd = ['"', '<', '>', '\\', '^', '`', '{', '|', '}'];
                prop_assert!(!text.contains(odd));
            }
        }
    }
}
