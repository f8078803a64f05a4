//! Redirection endpoints: what may be registered, and what matches what was registered.

use url::{Host, Url};

use super::uri::{has_written_host, is_spelled};

/// Why a redirect URI may not be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriRefusal {
    /// Not an absolute URI (RFC 6749 §3.1.2).
    #[error("it is not an absolute URI")]
    NotAbsolute,
    /// Has a fragment (RFC 6749 §3.1.2).
    #[error("it has a fragment")]
    Fragment,
    /// `http` or `https` without the two slashes and a host after them (RFC 9110 §4.2): browsers make some host of
    /// what follows.
    #[error("an http or https address needs // and a host")]
    NoHost,
    /// `HTTPS` or `Http`: clients and browsers write it small, and texts are compared (RFC 3986 §3.1).
    #[error("its scheme is written in lower case")]
    UpperCase,
    /// A host that browsers read as another one, such as `127.1` for `127.0.0.1`.
    #[error("its host is not written as browsers read it")]
    OtherHost,
    /// Carries a user name or password.
    #[error("it carries credentials")]
    Credentials,
    /// `http` to another host than this one (RFC 8252 §7.3, RFC 9700 §2.6).
    #[error("http is allowed for 127.0.0.1, [::1] and localhost only")]
    PlainHttp,
    /// A scheme that browsers execute or that is not reverse-domain (RFC 8252 §7.1).
    #[error("a private-use scheme must be a reverse domain name, such as com.example.app")]
    Scheme,
    /// Its query has a parameter of the answer, which would then be there twice (RFC 6749 §3.1).
    #[error("its query has a parameter that this server's answer has, too")]
    Answer,
    /// Too long, not spelled as RFC 3986 has it, or with a `*`, which somebody may mean for a wildcard.
    #[error(
        "it is longer than 2,000 characters, has a *, or has characters that no URI has (RFC 3986); others are \
         percent-encoded"
    )]
    Malformed,
}

/// The parameters that an authorization response may have (RFC 6749 §4.1.2, RFC 9207 §2, JARM §2.3).
pub const AUTHORIZATION_RESPONSE: &[&str] = &[
    "code",
    "state",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "response",
];
/// Those that a redirection after a logout may have (OpenID Connect RP-Initiated Logout §3).
pub const LOGOUT_RESPONSE: &[&str] = &["state"];

/// Whether `uri` may be registered to receive answers with these parameters.
pub fn check(uri: &str, answer: &[&str]) -> Result<(), RedirectUriRefusal> {
    if uri.len() > 2000 || uri.contains('*') || !is_spelled(uri) {
        return Err(RedirectUriRefusal::Malformed);
    }
    let parsed = Url::parse(uri).map_err(|_| RedirectUriRefusal::NotAbsolute)?;
    let scheme = uri.split(':').next().unwrap_or_default();
    if scheme.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(RedirectUriRefusal::UpperCase);
    }
    if uri.contains('#') {
        return Err(RedirectUriRefusal::Fragment);
    }
    if matches!(parsed.scheme(), "https" | "http") {
        has_host(uri, &parsed)?;
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(RedirectUriRefusal::Credentials);
    }
    if parsed.query_pairs().any(|(name, _)| answer.contains(&&*name)) {
        return Err(RedirectUriRefusal::Answer);
    }
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&parsed) => Ok(()),
        "http" => Err(RedirectUriRefusal::PlainHttp),
        scheme if scheme.contains('.') => Ok(()),
        _ => Err(RedirectUriRefusal::Scheme),
    }
}

/// As it is written: a parser for browsers finds a host where there is none.
fn has_host(uri: &str, parsed: &Url) -> Result<(), RedirectUriRefusal> {
    let (_, rest) = uri.split_once(':').unwrap_or_default();
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(RedirectUriRefusal::Credentials);
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(RedirectUriRefusal::NoHost);
    }
    if !has_written_host(uri, parsed) {
        return Err(RedirectUriRefusal::OtherHost);
    }
    Ok(())
}

/// Whether the requested URI is the registered one: equal by simple string comparison (RFC 9700 §2.1), except
/// that a loopback IP address of a native application has any port (RFC 8252 §7.3).
#[must_use]
pub fn matches(registered: &str, requested: &str) -> bool {
    registered == requested
        || match (
            without_loopback_port(registered),
            without_loopback_port(requested),
        ) {
            (Some(registered), Some(requested)) => registered == requested,
            _ => false,
        }
}

/// Whether codes sent there stay on the user's own machine, where another program could ask for them too
/// (RFC 8252 §8.6: such a client cannot be told from an impostor, so the user is always asked).
#[must_use]
pub fn is_native(uri: &str) -> bool {
    is_private_use(uri) || Url::parse(uri).is_ok_and(|parsed| is_loopback(&parsed))
}

/// Whether a program of the user's device has claimed its scheme (RFC 8252 §7.1).
#[must_use]
pub fn is_private_use(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|parsed| !matches!(parsed.scheme(), "https" | "http"))
}

/// What a user can tell it by: its host; of a private-use scheme, that.
#[must_use]
pub fn place(uri: &str) -> String {
    let parsed = Url::parse(uri).ok();
    let host = parsed
        .as_ref()
        .and_then(Url::host_str)
        .filter(|host| !host.is_empty());
    let place = host.or(parsed.as_ref().map(Url::scheme));
    place.unwrap_or_default().to_owned()
}

/// Whether the port is the request's to say, and so the registered URI alone is no address to send anything to.
#[must_use]
pub fn has_free_port(registered: &str) -> bool {
    without_loopback_port(registered).is_some()
}

fn is_loopback(uri: &Url) -> bool {
    match uri.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The text around the port of `http://127.0.0.1[:port]…` or `http://[::1][:port]…`. Works on the text, so
/// that nothing else about it is normalised.
fn without_loopback_port(uri: &str) -> Option<(&str, &str)> {
    let (host, rest) = ["http://127.0.0.1", "http://[::1]"]
        .into_iter()
        .find_map(|host| uri.strip_prefix(host).map(|rest| (host, rest)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (port, rest) = rest.split_at(end);
            // As a browser would spell it: no zero, no leading zeros.
            port.parse::<std::num::NonZeroU16>()
                .ok()
                .filter(|number| number.to_string() == port)?;
            rest
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_a_loopback_address_is_free() {
        assert!(matches("http://127.0.0.1/cb", "http://127.0.0.1:5123/cb"));
        assert!(matches("http://[::1]:1/cb", "http://[::1]:65535/cb"));
        for (registered, requested) in [
            ("https://app.example/cb", "https://app.example/cb/"),
            ("https://app.example/cb", "https://app.example:443/cb"),
            ("http://localhost:1/cb", "http://localhost:2/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:08481/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:+80/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1/cb?x"),
            ("http://127.0.0.1/cb", "https://127.0.0.1/cb"),
            ("https://127.0.0.1/cb", "https://127.0.0.1:2/cb"),
        ] {
            assert!(
                !matches(registered, requested),
                "{registered} must not match {requested}"
            );
        }
    }

    #[test]
    fn dangerous_uris_cannot_be_registered() {
        use RedirectUriRefusal as R;
        for (uri, why) in [
            ("/cb", R::NotAbsolute),
            ("https://app.example/cb#x", R::Fragment),
            ("https://u:p@app.example/cb", R::Credentials),
            ("http://app.example/cb", R::PlainHttp),
            ("https:app.example/cb", R::NoHost),
            ("https:/app.example/cb", R::NoHost),
            ("https:///app.example/cb", R::NoHost),
            ("https:////app.example/cb", R::NoHost),
            ("https:/?x://app.example", R::NotAbsolute),
            ("http:127.0.0.1/cb", R::NoHost),
            ("HTTPS://app.example/cb", R::UpperCase),
            ("Com.example.app:/cb", R::UpperCase),
            ("http://127.1/cb", R::OtherHost),
            ("http://0x7f.1/cb", R::OtherHost),
            ("https://%61pp.example/cb", R::OtherHost),
            ("https://app.example/[cb]", R::Malformed),
            ("https://app.example/cb?a[]=b", R::Malformed),
            ("com.example.app:/[cb]", R::Malformed),
            ("https://@app.example/", R::Credentials),
            ("https://u@app.example/", R::Credentials),
            ("javascript:alert(1)", R::Scheme),
            ("data:text/html,x", R::Scheme),
            ("https://app.example/ cb", R::Malformed),
            ("https://app.example\\@evil.example", R::Malformed),
            ("https://app.example/{cb}", R::Malformed),
            ("https://app.example/a|b", R::Malformed),
            ("https://app.example/^", R::Malformed),
            ("https://app.example/`", R::Malformed),
            ("https://app.example/%zz", R::Malformed),
            ("com.example.app:/%", R::Malformed),
            ("https://*.example/cb", R::Malformed),
            ("https://app.example/*", R::Malformed),
            ("https://app.example/cb?iss=https://evil.example", R::Answer),
            ("https://app.example/cb?a=b&%63ode=x", R::Answer),
            ("com.example.app:/cb?state=", R::Answer),
        ] {
            assert_eq!(check(uri, AUTHORIZATION_RESPONSE), Err(why), "{uri}");
        }
        for uri in [
            "https://app.example/cb",
            "http://127.0.0.1:1/cb",
            "http://localhost/cb",
            "http://[::1]:4000/cb",
            "https://App.example:444?a",
            "com.example.app:/cb",
            "https://app.example/cb?tenant=1&codes=2",
            "https://app.example/%7Ecb/(a)!;b='c'",
        ] {
            assert_eq!(check(uri, AUTHORIZATION_RESPONSE), Ok(()), "{uri}");
        }
        assert_eq!(check("https://app.example/?code=x", LOGOUT_RESPONSE), Ok(()));
        assert_eq!(
            check("https://app.example/?state=x", LOGOUT_RESPONSE),
            Err(R::Answer)
        );
    }
}
