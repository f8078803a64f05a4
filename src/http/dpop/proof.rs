//! The DPoP proof (RFC 9449 §4.2) and the checks of §4.3 that need nothing but the request: pure code.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use url::{Host, Url};

use crate::clock::Timestamp;
use crate::crypto::jwt::is_typ;
use crate::domain::client::{AssertionAlgorithm, PublicJwk};
use crate::domain::confirmation::Thumbprint;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::http::assertion::moment;

/// The JWS algorithms (RFC 7518 §3.1, RFC 8037 §3.1) of proofs: none that is symmetric, and not `none`.
pub const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "PS256", "RS256"];

/// The `typ` that keeps other JWTs out (RFC 8725 §3.11).
const TYP: &str = "dpop+jwt";
/// The most bytes of a proof. One with an RSA key of 8192 bits has about 3,500.
const MAX_BYTES: usize = 8 * 1024;
/// The most bytes of a `jti` (RFC 9449 §11.1).
const MAX_JTI: usize = 255;
/// How far ahead of ours the clock of whoever signs may be.
pub(super) const AHEAD: TimeDelta = TimeDelta::seconds(60);

/// A proof, read and not yet believed.
pub(super) struct Proof {
    algorithm: AssertionAlgorithm,
    key: PublicJwk,
    claims: Claims,
    /// The target address, normalised.
    uri: String,
    issued_at: Timestamp,
    /// What is signed: header and claims as they came.
    signed: String,
    signature: Vec<u8>,
}

/// The header (RFC 9449 §4.2).
#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Value,
    /// Extensions that must be understood: none is (RFC 7515 §4.1.11).
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// The claims (RFC 9449 §4.2); others mean nothing.
#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: f64,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    ath: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
}

/// The request that a proof must have been made for.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Its method.
    pub(super) method: &'a str,
    /// Its addresses as clients may know it.
    pub(super) uris: &'a [String],
    /// The access token that came with it.
    pub(super) access_token: Option<&'a str>,
    /// How old a proof may be.
    pub(super) lifetime: TimeDelta,
    /// Now.
    pub(super) at: Timestamp,
}

impl Proof {
    /// Reads the compact form (RFC 7515 §7.1). Any text is read or refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&part(header)?).ok()?;
        let claims: Claims = serde_json::from_slice(&part(claims)?).ok()?;
        let known = is_typ(&header.typ, TYP) && ALGORITHMS.contains(&header.alg.as_str());
        if !known || header.crit.is_some() || claims.jti.is_empty() || claims.jti.len() > MAX_JTI {
            return None;
        }
        Some(Self {
            algorithm: AssertionAlgorithm::named(&header.alg)?,
            key: PublicJwk::parse(&header.jwk).ok()?,
            uri: normalised(&claims.htu).filter(|_| is_uri(&claims.htu))?,
            issued_at: moment(claims.iat)?,
            claims,
            signed: signed.to_owned(),
            signature: part(signature)?,
        })
    }

    /// All of RFC 9449 §4.3 but the nonce and the single use.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), RefusalReason> {
        let signed = self
            .key
            .verify(self.algorithm, self.signed.as_bytes(), &self.signature);
        if !signed {
            return Err(RefusalReason::DpopSignature);
        }
        if self.claims.htm != expected.method {
            return Err(RefusalReason::DpopMethod);
        }
        let mut ours = expected.uris.iter();
        if !ours.any(|uri| normalised(uri).as_ref() == Some(&self.uri)) {
            return Err(RefusalReason::DpopUri);
        }
        let (at, lifetime) = (expected.at, expected.lifetime);
        if self.issued_at > at + AHEAD || at >= self.issued_at + lifetime {
            return Err(RefusalReason::DpopTime);
        }
        // Not asked for; where they are there they count (RFC 7519 §4.1.4, §4.1.5).
        let is_over = self
            .claims
            .exp
            .is_some_and(|end| moment(end).is_none_or(|end| at >= end));
        let begins = |start: f64| moment(start).is_some_and(|start| start <= at + AHEAD);
        if is_over || self.claims.nbf.is_some_and(|start| !begins(start)) {
            return Err(RefusalReason::DpopTime);
        }
        match expected.access_token {
            Some(token) if self.claims.ath != Some(hash(token)) => Err(RefusalReason::DpopTokenHash),
            Some(_) | None => Ok(()),
        }
    }

    /// What it is signed with.
    pub(super) fn algorithm(&self) -> AssertionAlgorithm {
        self.algorithm
    }

    /// The `nonce`, which may be anything.
    pub(super) fn nonce(&self) -> Option<&str> {
        self.claims.nonce.as_deref()
    }

    /// The key that signed it (RFC 7638).
    pub(super) fn thumbprint(&self) -> Thumbprint {
        self.key.thumbprint()
    }

    /// What is used once: the `jti`, for this key and this address.
    pub(super) fn single_use(&self) -> Digest {
        let parts: [&[u8]; 3] = [
            &self.thumbprint().0.0,
            &Digest::of(self.uri.as_bytes()).0,
            self.claims.jti.as_bytes(),
        ];
        Digest::of(&parts.concat())
    }

    /// From when on its age alone has it refused.
    pub(super) fn ends(&self, lifetime: TimeDelta) -> Timestamp {
        self.issued_at + lifetime
    }
}

/// The `ath` of an access token (RFC 9449 §4.2).
fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(token.as_bytes()).0)
}

/// An http address without query and fragment, spelled the one usual way (RFC 9449 §4.3, RFC 3986 §6.2.2 and
/// §6.2.3): case of scheme and host, default port, dot segments, an empty path, escapes.
fn normalised(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "https" | "http") || !plain {
        return None;
    }
    Some(url.origin().ascii_serialization() + &unescaped(url.path()))
}

/// Whether an address is spelled as RFC 3986 has it. What browsers take besides (white space, backslashes, slashes left out,
/// other spellings of an IP address) is not the address of the request.
fn is_uri(uri: &str) -> bool {
    let is_of_uris = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let said = uri
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let (Some(said), Ok(url)) = (said, Url::parse(uri)) else {
        return false;
    };
    let host = match url.host() {
        // Zeros may be left out of it, or not (RFC 5952 is a recommendation).
        Some(Host::Ipv6(_)) => return uri.bytes().all(is_of_uris),
        Some(Host::Domain(_) | Host::Ipv4(_)) | None => url.host_str().unwrap_or_default(),
    };
    let named = said
        .get(..host.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(host));
    let port = said.get(host.len()..).unwrap_or_default();
    named && (port.is_empty() || port.starts_with(':')) && uri.bytes().all(is_of_uris)
}

/// Escapes in capitals, and none where none is needed.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let escape = after.get(..2).and_then(|digits| {
            let byte = u8::from_str_radix(digits, 16).ok()?;
            digits
                .bytes()
                .all(|digit| digit.is_ascii_hexdigit())
                .then_some(byte)
        });
        match escape {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
            }
            Some(byte) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
            None => out.push('%'),
        }
        rest = match escape {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::LazyLock;

    const TOKEN_ENDPOINT: &str = "https://id.example/oauth/token";
    const NOW: i64 = 1_800_000_000;

    fn base64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn with(base: &Value, changes: Value) -> Value {
        let mut merged = base.clone();
        let Value::Object(changes) = changes else {
            unreachable!()
        };
        merged.as_object_mut().unwrap().extend(changes);
        merged
    }

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn header(&self) -> Value {
            let point = self.0.public_key().as_ref();
            let jwk =
                json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])});
            json!({"typ": TYP, "alg": "ES256", "jwk": jwk})
        }

        fn claims() -> Value {
            json!({"jti": "one", "htm": "POST", "htu": TOKEN_ENDPOINT, "iat": NOW})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", base64(signature))
        }

        fn proof(&self, changes: Value) -> String {
            self.sign(&self.header(), &with(&Self::claims(), changes))
        }
    }

    fn expected() -> Expected<'static> {
        static OURS: LazyLock<[String; 1]> = LazyLock::new(|| [TOKEN_ENDPOINT.to_owned()]);
        Expected {
            method: "POST",
            uris: &*OURS,
            access_token: None,
            lifetime: TimeDelta::seconds(300),
            at: DateTime::from_timestamp(NOW, 0).unwrap(),
        }
    }

    fn check(text: &str, expected: &Expected<'_>) -> Result<(), RefusalReason> {
        Proof::parse(text)
            .ok_or(RefusalReason::DpopMalformed)?
            .check(expected)
    }

    #[test]
    fn each_check_of_section_4_3_refuses_for_its_own_reason() {
        let signer = Signer::new();
        assert_eq!(check(&signer.proof(json!({})), &expected()), Ok(()));
        let header = |changes| signer.sign(&with(&signer.header(), changes), &Signer::claims());
        let private = with(&signer.header()["jwk"], json!({"d": "AQAB"}));
        let stranger = Signer::new().header()["jwk"].clone();
        let malformed = RefusalReason::DpopMalformed;
        for (proof, reason) in [
            ("a.b.c".to_owned(), malformed),
            (String::new(), malformed),
            (format!("{}.", signer.proof(json!({}))), malformed),
            (signer.proof(json!({"x": "x".repeat(MAX_BYTES)})), malformed),
            (header(json!({"typ": "JWT"})), malformed),
            (header(json!({"typ": "at+jwt"})), malformed),
            (header(json!({"typ": null})), malformed),
            (header(json!({"alg": "none"})), malformed),
            (header(json!({"alg": "HS256"})), malformed),
            (header(json!({"alg": "ES384"})), malformed),
            (header(json!({"crit": ["exp"]})), malformed),
            (header(json!({"jwk": null})), malformed),
            (header(json!({"jwk": {"kty": "oct", "k": "AQAB"}})), malformed),
            (header(json!({"jwk": private})), malformed),
            (header(json!({"alg": "RS256"})), RefusalReason::DpopSignature),
            (header(json!({"jwk": stranger})), RefusalReason::DpopSignature),
            (signer.proof(json!({"jti": null})), malformed),
            (signer.proof(json!({"jti": ""})), malformed),
            (signer.proof(json!({"jti": "x".repeat(256)})), malformed),
            (signer.proof(json!({"htm": null})), malformed),
            (signer.proof(json!({"htu": null})), malformed),
            (signer.proof(json!({"htu": "/oauth/token"})), malformed),
            (
                signer.proof(json!({"htu": "https:\\\\id.example\\oauth\\token"})),
                malformed,
            ),
            (signer.proof(json!({"iat": null})), malformed),
            (signer.proof(json!({"iat": "now"})), malformed),
            (signer.proof(json!({"iat": 1e300})), malformed),
            (signer.proof(json!({"htm": "GET"})), RefusalReason::DpopMethod),
            (signer.proof(json!({"htm": "post"})), RefusalReason::DpopMethod),
            (
                signer.proof(json!({"htu": "https://id.example/oauth/par"})),
                RefusalReason::DpopUri,
            ),
            (signer.proof(json!({"iat": NOW - 300})), RefusalReason::DpopTime),
            (signer.proof(json!({"iat": NOW + 61})), RefusalReason::DpopTime),
            (signer.proof(json!({"exp": NOW})), RefusalReason::DpopTime),
            (signer.proof(json!({"exp": 1e300})), RefusalReason::DpopTime),
            (signer.proof(json!({"nbf": NOW + 61})), RefusalReason::DpopTime),
            (signer.proof(json!({"nbf": -1})), RefusalReason::DpopTime),
        ] {
            assert_eq!(check(&proof, &expected()), Err(reason), "{proof}");
        }
        for good in [
            json!({"iat": NOW - 299}),
            json!({"iat": NOW + 60}),
            json!({"ath": "x", "nonce": "y"}),
        ] {
            assert_eq!(check(&signer.proof(good.clone()), &expected()), Ok(()), "{good}");
        }
    }

    #[test]
    fn with_an_access_token_the_proof_holds_its_hash() {
        let signer = Signer::new();
        let with_token = Expected {
            access_token: Some("gla_token"),
            ..expected()
        };
        let proof = signer.proof(json!({"ath": hash("gla_token")}));
        assert_eq!(check(&proof, &with_token), Ok(()));
        for bad in [
            json!({}),
            json!({"ath": hash("gla_other")}),
            json!({"ath": "gla_token"}),
        ] {
            let refused = check(&signer.proof(bad), &with_token);
            assert_eq!(refused, Err(RefusalReason::DpopTokenHash));
        }
        // RFC 9449 §7.1 has this token and this hash.
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        assert_eq!(hash(token), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }

    #[test]
    fn an_address_is_compared_as_it_is_meant_and_not_as_it_is_spelled() {
        for same in [
            "https://id.example/oauth/token",
            "HTTPS://ID.Example:443/oauth/token",
            "https://id.example/oauth/token?x=1&y=2#z",
            "https://id.example/oauth/./par/../token",
            "https://id.example/%6fauth/tok%65n",
        ] {
            assert_eq!(normalised(same), normalised(TOKEN_ENDPOINT), "{same}");
        }
        for other in [
            "http://id.example/oauth/token",
            "https://id.example:8443/oauth/token",
            "https://id.example/oauth/token/",
            "https://id.example/OAuth/token",
            "https://id.example//oauth/token",
            "https://id.example/oauth%2Ftoken",
            "https://id.example.evil.example/oauth/token",
            "https://user@id.example/oauth/token",
            "urn:id.example",
            "",
        ] {
            assert_ne!(normalised(other), normalised(TOKEN_ENDPOINT), "{other}");
        }
        assert_eq!(
            normalised("https://id.example"),
            normalised("https://id.example/")
        );
        for uri in [
            "https://ID.example:8443/a?b#c",
            "HTTPS://id.example/%6f",
            "https://127.0.0.1",
            "https://[0:0::1]:1/",
        ] {
            assert!(is_uri(uri), "{uri}");
        }
        // What browsers take for the same.
        for other in [
            " https://id.example/",
            "https://id.example/\n",
            "https://id.exa\tmple/",
            "https:\\\\id.example/",
            "https:/id.example/",
            "https:id.example",
            "https:///id.example/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://127.0.0.1./",
            "https://%69d.example/",
            "https://ｉd.example/",
        ] {
            assert!(normalised(other).is_some() && !is_uri(other), "{other}");
        }
        assert_eq!(unescaped("/%2f%zz%%C3%a4%7E%"), "/%2F%zz%%C3%A4~%");
    }

    #[test]
    fn the_single_use_is_of_one_key_one_address_and_one_jti() {
        let (signer, other) = (Signer::new(), Signer::new());
        let of = |text: String| Proof::parse(&text).unwrap().single_use();
        let first = of(signer.proof(json!({})));
        let again = of(signer.proof(json!({"htu": "https://ID.example/oauth/token?", "iat": NOW + 1})));
        assert_eq!(first, again);
        assert_ne!(first, of(other.proof(json!({}))));
        assert_ne!(first, of(signer.proof(json!({"jti": "two"}))));
        assert_ne!(
            first,
            of(signer.proof(json!({"htu": "https://id.example/api/user"})))
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_a_proof_or_refused(
            text in "\\PC{0,200}",
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5),
            htu in "\\PC{0,80}",
            iat in any::<f64>(),
        ) {
            let _ = check(&text, &expected());
            let encoded: Vec<String> = parts.iter().map(base64).collect();
            let _ = check(&encoded.join("."), &expected());
            let header = Signer::new().header();
            for htu in [htu.clone(), format!("https://id.example/{htu}")] {
                let claims = with(&Signer::claims(), json!({"htu": htu, "iat": iat}));
                let _ = check(&format!("{}.{}.", base64(header.to_string()), base64(claims.to_string())), &expected());
                let once = normalised(&htu);
                prop_assert_eq!(once.as_deref().and_then(normalised), once);
            }
        }

        #[test]
        fn any_byte_of_a_proof_that_is_changed_has_it_refused(place in any::<prop::sample::Index>(), byte in 0_u8..128) {
            let proof = Signer::new().proof(json!({}));
            let mut changed = proof.clone().into_bytes();
            let place = place.index(changed.len());
            prop_assume!(changed[place] != byte);
            changed[place] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(check(&changed, &expected()).is_err());
        }
    }
}
