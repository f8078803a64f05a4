//! Software statements (RFC 7591 §2.3): what a publisher that is trusted says of a client's software, as a signed JWT.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::crypto::jwt::is_typ;
use crate::domain::client::{AssertionAlgorithm, PublicJwks, SoftwareStatementAccepted};
use crate::domain::value::Digest;

/// The most bytes of a statement.
const MAX_BYTES: usize = 16 * 1024;
/// Seconds that the publisher's clock may be from ours.
const LEEWAY: f64 = 60.0;
/// Claims of the JWT itself (RFC 7519 §4.1): no metadata.
const JWT_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// Whose statements are believed, with the keys that they sign with.
#[derive(Clone, Debug, Default)]
pub struct Publishers(Vec<(String, PublicJwks)>);

/// Why a statement is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementRefusal {
    /// Malformed, not signed by whom it says, or over.
    #[error("the software statement is malformed, not signed by its issuer, for another server, or over")]
    Invalid,
    /// Of somebody who is not trusted.
    #[error("the issuer of the software statement is not trusted here")]
    Unapproved,
}

/// A statement that is good.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftwareStatement {
    /// What the ledger keeps of it.
    pub accepted: SoftwareStatementAccepted,
    /// The client metadata that it states.
    pub members: Map<String, Value>,
}

/// The header (RFC 7515 §4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl Publishers {
    /// Reads the setting: each entry is `ISSUER=FILE` of a JWK set. The error says what is wrong with which.
    pub fn read(entries: &[String]) -> Result<Self, String> {
        let mut publishers = Vec::new();
        for entry in entries {
            let (issuer, file) = entry
                .split_once('=')
                .filter(|(issuer, file)| !issuer.is_empty() && !file.is_empty())
                .ok_or_else(|| format!("{entry} is not ISSUER=FILE"))?;
            if publishers.iter().any(|(known, _)| known == issuer) {
                return Err(format!("{issuer} is there twice"));
            }
            publishers.push((issuer.to_owned(), keys(Path::new(file))?));
        }
        Ok(Self(publishers))
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a statement that was sent to `audience` at `at`. Any text is accepted or refused.
    pub fn verify(
        &self,
        text: &str,
        audience: &str,
        at: Timestamp,
    ) -> Result<SoftwareStatement, StatementRefusal> {
        let (parts, header, claims) = parse(text).ok_or(StatementRefusal::Invalid)?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        // RFC 7591 §2.3: it must say who made it.
        let issuer = issuer.ok_or(StatementRefusal::Invalid)?;
        let algorithm = AssertionAlgorithm::named(&header.alg).ok_or(StatementRefusal::Invalid)?;
        let publisher = self.0.iter().find(|(known, _)| known == issuer);
        let (_, jwks) = publisher.ok_or(StatementRefusal::Unapproved)?;
        let (signed, signature) = parts;
        let key = jwks.signer(header.kid.as_deref(), algorithm, signed.as_bytes(), &signature);
        let is_signed = key.is_some();
        if !is_signed || !is_current(&claims, at) || !is_for(&claims, audience) {
            return Err(StatementRefusal::Invalid);
        }
        let named = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(SoftwareStatement {
            accepted: SoftwareStatementAccepted {
                issuer: issuer.to_owned(),
                digest: Digest::of(text.as_bytes()),
                software_id: named("software_id"),
                software_version: named("software_version"),
            },
            members: claims
                .into_iter()
                .filter(|(name, _)| !JWT_CLAIMS.contains(&name.as_str()))
                .collect(),
        })
    }
}

fn keys(file: &Path) -> Result<PublicJwks, String> {
    let place = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{place} cannot be read: {error}"))?;
    let document: Value = serde_json::from_str(&text).map_err(|_| format!("{place} is not JSON"))?;
    PublicJwks::parse(&document).map_err(|problem| format!("{place}: {problem}"))
}

type Parsed<'a> = ((&'a str, Vec<u8>), Header, Map<String, Value>);

/// The compact form (RFC 7515 §7.1): what is signed, the signature, the header, the claims.
fn parse(text: &str) -> Option<Parsed<'_>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let header: Header = serde_json::from_slice(&part(header)?).ok()?;
    // Explicit typing keeps other JWTs of the same signer out (RFC 8725 §3.11).
    let typ = header.typ.as_deref().unwrap_or("JWT");
    let typed = ["JWT", "software-statement+jwt"]
        .iter()
        .any(|known| is_typ(typ, known));
    if !typed || header.crit.is_some() {
        return None;
    }
    let Value::Object(claims) = serde_json::from_slice(&part(claims)?).ok()? else {
        return None;
    };
    Some(((signed, part(signature)?), header, claims))
}

/// `exp` and `nbf`, where it has them. Publishers sign statements that live as long as the software.
fn is_current(claims: &Map<String, Value>, at: Timestamp) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    let now = at.timestamp() as f64;
    let holds = |name: &str, holds: &dyn Fn(f64) -> bool| match claims.get(name) {
        None => true,
        Some(value) => value.as_f64().is_some_and(holds),
    };
    holds("exp", &|exp| now < exp + LEEWAY) && holds("nbf", &|nbf| nbf <= now + LEEWAY)
}

/// `aud`, where it has one, names this server.
fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        None => true,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        Some(one) => one.as_str() == Some(audience),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn compact(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    #[test]
    fn a_statement_needs_an_issuer_an_algorithm_and_somebody_who_trusts_it() {
        let publishers = Publishers::default();
        let verify = |header: Value, claims: Value| {
            let text = compact(&header, &claims);
            publishers.verify(&text, "https://id.example", chrono::DateTime::UNIX_EPOCH)
        };
        let iss = json!({"iss": "https://p.example"});
        for alg in ["none", "HS256", "ES384"] {
            let verified = verify(json!({ "alg": alg }), iss.clone());
            assert_eq!(verified, Err(StatementRefusal::Invalid), "{alg}");
        }
        let es256 = json!({"alg": "ES256"});
        assert_eq!(verify(es256.clone(), json!({})), Err(StatementRefusal::Invalid));
        assert_eq!(verify(es256, iss.clone()), Err(StatementRefusal::Unapproved));
        for header in [
            json!({"alg": "ES256", "typ": "at+jwt"}),
            json!({"alg": "ES256", "crit": ["b64"]}),
        ] {
            assert_eq!(verify(header, iss.clone()), Err(StatementRefusal::Invalid));
        }
    }

    #[test]
    fn a_statement_has_its_time_and_its_audience() {
        let at = chrono::DateTime::from_timestamp(1_000, 0).unwrap();
        let current = |claims: Value| is_current(claims.as_object().unwrap(), at);
        assert!(current(json!({})) && current(json!({"exp": 1_001, "nbf": 1_060})));
        for bad in [json!({"exp": 940}), json!({"nbf": 1_061}), json!({"exp": "soon"})] {
            assert!(!current(bad.clone()), "{bad}");
        }
        let is_for = |claims: Value| is_for(claims.as_object().unwrap(), "a");
        assert!(is_for(json!({})) && is_for(json!({"aud": "a"})) && is_for(json!({"aud": ["b", "a"]})));
        assert!(!is_for(json!({"aud": "b"})) && !is_for(json!({"aud": []})) && !is_for(json!({"aud": 1})));
    }

    proptest! {
        #[test]
        fn any_text_is_a_statement_or_refused(
            text in "\\PC{0,200}",
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..5),
        ) {
            let at = chrono::DateTime::UNIX_EPOCH;
            let encoded: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            for text in [text, encoded.join(".")] {
                prop_assert!(Publishers::default().verify(&text, "a", at).is_err());
            }
        }
    }
}
