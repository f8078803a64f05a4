//! What assertions of clients and of other servers have in common (RFC 7521, RFC 7523 §3): the compact form of a signed
//! JWT, its signature, its times. Nothing here reads a clock or a table.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;
use crate::config::Settings;
use crate::crypto::jwt::{Audience, is_typ};
use crate::domain::client::{AssertionAlgorithm, PublicJwk, PublicJwks};

/// The most bytes of an assertion.
pub(super) const MAX_BYTES: usize = 16 * 1024;
/// The most bytes of a `jti`.
const MAX_JTI: usize = 255;
/// How far the signer's clock may be from ours.
pub(super) const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// A JWT in the compact form (RFC 7515 §7.1), read and not yet believed.
pub(super) struct SignedJwt<C> {
    /// The algorithm that it says it is signed with.
    pub(super) alg: String,
    /// What it says.
    pub(super) claims: C,
    /// The key that it says it is signed with.
    pub(super) kid: Option<String>,
    /// What is signed: header and claims as they came.
    signed: String,
    signature: Vec<u8>,
}

/// The header (RFC 7515 §4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    /// Whether there are extensions that must be understood: none is.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// True, whatever is there: also for `null`, which RFC 7515 §4.1.11 does not allow.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<C: DeserializeOwned> SignedJwt<C> {
    /// Reads one of these media types; without `typ` it is a `JWT`. Any text is read or refused.
    pub(super) fn parse(text: &str, types: &[&str]) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&part(header)?).ok()?;
        let claims: C = serde_json::from_slice(&part(claims)?).ok()?;
        let typ = header.typ.as_deref().unwrap_or("JWT");
        // Explicit typing keeps tokens out that were made for something else (RFC 8725 §3.11).
        let is_known = types.iter().any(|known| is_typ(typ, known));
        if !is_known || header.crit {
            return None;
        }
        Some(Self {
            alg: header.alg,
            claims,
            kid: header.kid,
            signed: signed.to_owned(),
            signature: part(signature)?,
        })
    }
}

impl<C> SignedJwt<C> {
    /// Which of these keys signed it with this algorithm; where it names a key, that one.
    pub(super) fn signer<'a>(
        &self,
        jwks: &'a PublicJwks,
        algorithm: AssertionAlgorithm,
    ) -> Option<&'a PublicJwk> {
        jwks.signer(
            self.kid.as_deref(),
            algorithm,
            self.signed.as_bytes(),
            &self.signature,
        )
    }

    /// What was signed: header and claims, as they came.
    pub(super) fn signed(&self) -> &str {
        &self.signed
    }

    /// Whether it was signed under this secret.
    pub(super) fn is_signed_under(&self, secret: &hmac::Key) -> bool {
        hmac::verify(secret, self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// Whether a `jti` can be remembered.
pub(super) fn is_id(jti: &str) -> bool {
    !jti.is_empty() && jti.len() <= MAX_JTI
}

/// The audience is the issuer or its token endpoint (RFC 7523 §3) and nothing else: an assertion that names several
/// servers could be passed on to another of them.
pub(super) fn is_for_us(audience: &Audience, settings: &Settings) -> bool {
    let mut named = audience.iter();
    let (Some(only), None) = (named.next(), named.next()) else {
        return false;
    };
    *only == settings.issuer || settings.urls_of("/oauth/token").any(|url| url == *only)
}

/// When an assertion ends, where that is to come and not farther off than `longest`, and where it has begun (`nbf` and
/// `iat`) by `at`.
pub(super) fn ends(
    exp: f64,
    begins: [Option<f64>; 2],
    (at, longest): (Timestamp, TimeDelta),
) -> Option<Timestamp> {
    let ends = moment(exp)?;
    let mut begun = true;
    for seconds in begins.into_iter().flatten() {
        begun &= moment(seconds)? <= at + LEEWAY;
    }
    (begun && at < ends && ends <= at + longest + LEEWAY).then_some(ends)
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction.
pub(super) fn moment(seconds: f64) -> Option<Timestamp> {
    // Far beyond any date that is good, and within what can be converted.
    if !(0.0..1e11).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    let millis = (seconds * 1000.0) as i64;
    DateTime::from_timestamp_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_as_a_signed_jwt_or_refused(
            text in "\\PC{0,200}",
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..5),
            header in "\\{\"alg\":\"[A-Z0-9]{0,5}\"(,\"(kid|typ|crit)\":(\"[a-zA-Z+]{0,9}\"|null|1|\\[\\]))?\\}",
            times in any::<[f64; 3]>(),
        ) {
            let parse = |text: &str| SignedJwt::<serde_json::Value>::parse(text, &["JWT"]);
            parse(&text);
            let encoded: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            parse(&encoded.join("."));
            let good = format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(&header));
            if let Some(jwt) = parse(&good) {
                prop_assert!(header.contains(&jwt.alg) && !header.contains("crit\":[") && !header.contains("crit\":1"));
            }
            let [exp, nbf, iat] = times;
            let at = DateTime::UNIX_EPOCH;
            if let Some(ends) = ends(exp, [Some(nbf), Some(iat)], (at, TimeDelta::minutes(5))) {
                prop_assert!(at < ends && ends <= at + TimeDelta::minutes(6));
            }
        }
    }
}
