//! The key that a token is bound to (RFC 7800 §3.1): whoever presents the token proves to hold it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value::Digest;

/// The key that a token is bound to; in JSON the `cnf` claim itself, such as `{"jkt": "…"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Confirmation {
    /// The SHA-256 thumbprint of an X.509 certificate in DER (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    CertificateSha256(Thumbprint),
    /// The SHA-256 thumbprint of a JWK (RFC 7638), as `DPoP` uses it (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    JwkThumbprint(Thumbprint),
}

/// A SHA-256 thumbprint, in JSON 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub Digest);

impl Thumbprint {
    /// The thumbprint of `bytes`: a certificate in DER, or a key as RFC 7638 §3 spells it.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// Reads the base64url form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(Digest(bytes.try_into().ok()?)))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 thumbprint in base64url"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_its_claim() {
        let thumbprint = Thumbprint::of(b"abc");
        let text = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        assert_eq!(thumbprint.to_string(), text);
        for (confirmation, member) in [
            (Confirmation::CertificateSha256(thumbprint), "x5t#S256"),
            (Confirmation::JwkThumbprint(thumbprint), "jkt"),
        ] {
            let claim = serde_json::json!({ member: text });
            assert_eq!(serde_json::to_value(confirmation).unwrap(), claim);
            assert_eq!(
                serde_json::from_value::<Confirmation>(claim).unwrap(),
                confirmation
            );
        }
        for bad in ["", "ungWv48Bz", &format!("{text}="), &text.replace('-', "+")] {
            assert_eq!(Thumbprint::parse(bad), None, "{bad}");
        }
    }
}
