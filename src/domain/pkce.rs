//! Proof Key for Code Exchange, RFC 7636.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::value::Digest;

/// How a verifier proves a challenge (RFC 7636 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// The challenge is the base64url SHA-256 of the verifier.
    S256,
    /// The challenge is the verifier; only for clients marked legacy.
    #[serde(rename = "plain")]
    Plain,
}

/// A code challenge that an authorization request brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// How it is proved.
    pub method: Method,
    /// SHA-256 of the challenge's text, so that a `plain` verifier is never on the ledger.
    pub digest: Digest,
}

/// Why a verifier or challenge was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PkceRefusal {
    /// The authorization request had a challenge, the token request no verifier.
    #[error("the code was issued with a code_challenge, but the code_verifier is missing")]
    VerifierMissing,
    /// The token request has a verifier, the authorization request had no challenge (RFC 9700 §4.8.2).
    #[error("a code_verifier was sent for a code that was issued without a code_challenge")]
    VerifierUnexpected,
    /// Not 43 to 128 unreserved characters (RFC 7636 §4.1).
    #[error("the value is not 43 to 128 unreserved characters")]
    Malformed,
    /// It does not prove the challenge.
    #[error("the code_verifier does not match the code_challenge")]
    Mismatch,
}

impl Challenge {
    /// Reads a `code_challenge` of an authorization request.
    pub fn parse(text: &str, method: Method) -> Result<Self, PkceRefusal> {
        if !well_formed(text) || (method == Method::S256 && text.len() != 43) {
            return Err(PkceRefusal::Malformed);
        }
        Ok(Self {
            method,
            digest: Digest::of(text.as_bytes()),
        })
    }
}

/// Whether `verifier` proves `challenge` (RFC 7636 §4.6).
pub fn verify(challenge: Option<&Challenge>, verifier: Option<&str>) -> Result<(), PkceRefusal> {
    let (challenge, verifier) = match (challenge, verifier) {
        (None, None) => return Ok(()),
        (None, Some(_)) => return Err(PkceRefusal::VerifierUnexpected),
        (Some(_), None) => return Err(PkceRefusal::VerifierMissing),
        (Some(challenge), Some(verifier)) => (challenge, verifier),
    };
    if !well_formed(verifier) {
        return Err(PkceRefusal::Malformed);
    }
    let proved = match challenge.method {
        Method::S256 => Digest::of(
            URL_SAFE_NO_PAD
                .encode(Digest::of(verifier.as_bytes()).0)
                .as_bytes(),
        ),
        Method::Plain => Digest::of(verifier.as_bytes()),
    };
    verify_slices_are_equal(&proved.0, &challenge.digest.0).map_err(|_| PkceRefusal::Mismatch)
}

/// RFC 7636 §4.1: `43*128unreserved`.
fn well_formed(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_specification_is_verified() {
        let challenge = Challenge::parse(CHALLENGE, Method::S256).unwrap();
        assert_eq!(verify(Some(&challenge), Some(VERIFIER)), Ok(()));
        assert_eq!(
            verify(Some(&challenge), Some(CHALLENGE)),
            Err(PkceRefusal::Mismatch)
        );
        assert_eq!(verify(Some(&challenge), None), Err(PkceRefusal::VerifierMissing));
        assert_eq!(
            verify(Some(&challenge), Some("short")),
            Err(PkceRefusal::Malformed)
        );
        assert_eq!(verify(None, Some(VERIFIER)), Err(PkceRefusal::VerifierUnexpected));
    }

    #[test]
    fn a_verifier_of_another_form_proves_not_even_its_own_challenge() {
        for (verifier, proves) in [
            ("x".repeat(42), Err(PkceRefusal::Malformed)),
            ("x".repeat(43), Ok(())),
            ("x".repeat(128), Ok(())),
            ("x".repeat(129), Err(PkceRefusal::Malformed)),
            ("ä".repeat(43), Err(PkceRefusal::Malformed)),
            (format!("{}+", "x".repeat(43)), Err(PkceRefusal::Malformed)),
        ] {
            let text = URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).0);
            let challenge = Challenge::parse(&text, Method::S256).unwrap();
            assert_eq!(verify(Some(&challenge), Some(&verifier)), proves, "{verifier}");
        }
    }

    #[test]
    fn plain_compares_the_texts() {
        let challenge = Challenge::parse(VERIFIER, Method::Plain).unwrap();
        assert_eq!(verify(Some(&challenge), Some(VERIFIER)), Ok(()));
        assert_eq!(
            verify(Some(&challenge), Some(CHALLENGE)),
            Err(PkceRefusal::Mismatch)
        );
    }
}
