//! The public keys that a client registers (RFC 7517), and signatures under them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::certificate::CertificateKey;
use crate::domain::confirmation::Thumbprint;
use crate::domain::value::Digest;

/// The most keys that a client may register.
const MAX_KEYS: usize = 20;
/// The most certificates of a key, and the most characters of each.
const MAX_CHAIN: usize = 4;
const MAX_CERTIFICATE: usize = 8 * 1024;
/// The least and the most bytes of an RSA modulus: 2048 to 8192 bits.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Members that only a private or a symmetric key has (RFC 7518 §6).
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A client's public keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwks {
    /// In the client's order.
    pub keys: Vec<PublicJwk>,
}

/// Where the keys are that somebody's signatures are verified with.
#[derive(Clone, Copy, Debug)]
pub enum KeySource<'a> {
    /// They were given to this server.
    Given(&'a PublicJwks),
    /// They are published at this URL.
    Published(&'a str),
}

/// One public key; which members it has depends on its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    /// Its type.
    pub kty: KeyType,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What it is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// EC, OKP: the curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// EC, OKP: the first coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// EC: the second coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA: the modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA: the exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// The key's certificate, perhaps with those above it: DER in base64 (RFC 7517 §4.7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5c: Option<Vec<String>>,
}

/// The type of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    /// RSA, 2048 bits and more.
    #[serde(rename = "RSA")]
    Rsa,
    /// P-256.
    #[serde(rename = "EC")]
    Ec,
    /// Ed25519 (RFC 8037).
    #[serde(rename = "OKP")]
    Okp,
}

/// What a client may sign its assertions and request objects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AssertionAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl AssertionAlgorithm {
    /// The JWS names (RFC 7518 §3.1, RFC 8037 §3.1) of all of them.
    pub const NAMES: [&'static str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

    /// The algorithm of that name; none for `none`, for symmetric ones, and for all others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::RS256),
            "PS256" => Some(Self::PS256),
            "ES256" => Some(Self::ES256),
            "EdDSA" => Some(Self::EdDSA),
            _ => None,
        }
    }

    fn key_type(self) -> KeyType {
        match self {
            Self::RS256 | Self::PS256 => KeyType::Rsa,
            Self::ES256 => KeyType::Ec,
            Self::EdDSA => KeyType::Okp,
        }
    }
}

impl PublicJwks {
    /// Reads a JWK set (RFC 7517 §5) as a client registers it. The error says what is wrong, and quotes no key.
    pub fn parse(document: &Value) -> Result<Self, String> {
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("it is not an object with a list of keys")?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(format!("it needs 1 to {MAX_KEYS} keys"));
        }
        let mut parsed: Vec<PublicJwk> = Vec::new();
        for (place, key) in (1..).zip(keys) {
            let key = PublicJwk::parse(key).map_err(|problem| format!("key {place}: {problem}"))?;
            if key.kid.is_some() && parsed.iter().any(|known| known.kid == key.kid) {
                return Err(format!("key {place}: another key has the same kid"));
            }
            parsed.push(key);
        }
        Ok(Self { keys: parsed })
    }

    /// The keys of a set that somebody publishes, as far as they are for this: a set may have others, for other purposes
    /// or algorithms (RFC 7517 §5). Several may have one `kid`: the other members tell which it is (FAPI 2.0 Security
    /// Profile §5.4.3). None where it is no set.
    #[must_use]
    pub fn usable(document: &Value) -> Option<Self> {
        let published = document.get("keys")?.as_array()?;
        let keys = published.iter().filter_map(|key| PublicJwk::parse(key).ok());
        Some(Self {
            keys: keys.take(MAX_KEYS).collect(),
        })
    }

    /// The key that verifies a signature; where the signer names one, one of that name.
    #[must_use]
    pub fn signer(
        &self,
        kid: Option<&str>,
        algorithm: AssertionAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<&PublicJwk> {
        self.keys
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .find(|key| key.verify(algorithm, message, signature))
    }

    /// The key whose certificate this is (RFC 8705 §2.2.2): the very one, where the client registered its certificates,
    /// or any of the key that it registered.
    #[must_use]
    pub fn of_certificate(&self, der: &[u8], certified: &CertificateKey) -> Option<&PublicJwk> {
        self.keys.iter().find(|key| match key.certificate() {
            Some(own) => own == der,
            None => key.is(certified),
        })
    }
}

impl PublicJwk {
    /// Its `kid`, or its thumbprint (RFC 7638 §3.2).
    #[must_use]
    pub fn name(&self) -> String {
        self.kid.clone().unwrap_or_else(|| self.thumbprint().to_string())
    }

    /// Its certificate, where it was registered with one.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.x5c.as_ref()?.first()?).ok()
    }

    /// Whether a certificate's key is this one.
    #[must_use]
    pub fn is(&self, certified: &CertificateKey) -> bool {
        match (self.kty, certified) {
            (KeyType::Rsa, CertificateKey::Rsa { n, e }) => self
                .rsa()
                .is_some_and(|(own_n, own_e)| own_n == *n && own_e == *e),
            (KeyType::Ec, CertificateKey::P256(point)) => self.point().as_ref() == Some(point),
            (KeyType::Okp, CertificateKey::Ed25519(bytes)) => {
                coordinate(self.x.as_ref()).is_some_and(|x| x[..] == bytes[..])
            }
            (KeyType::Rsa | KeyType::Ec | KeyType::Okp, _) => false,
        }
    }

    /// Each of `x5c` is base64 of some length; whether the first is of this key is asked where certificates are read.
    fn check_x5c(&self) -> Result<(), String> {
        let Some(chain) = &self.x5c else { return Ok(()) };
        let small =
            (1..=MAX_CHAIN).contains(&chain.len()) && chain.iter().all(|one| one.len() <= MAX_CERTIFICATE);
        if !small || !chain.iter().all(|one| STANDARD.decode(one).is_ok()) {
            return Err(format!("its x5c needs 1 to {MAX_CHAIN} certificates in base64"));
        }
        Ok(())
    }

    /// Reads a public key that is strong enough and for signatures. The error says what is wrong, and quotes no key.
    pub fn parse(document: &Value) -> Result<Self, String> {
        let members = document.as_object().ok_or("it is not an object")?;
        if members.get("kty").and_then(Value::as_str) == Some("oct") {
            return Err("it is a symmetric key".to_owned());
        }
        if let Some(member) = SECRET_MEMBERS
            .iter()
            .find(|member| members.contains_key(**member))
        {
            return Err(format!(
                "it has the private member {member}: register the public key alone"
            ));
        }
        if let Some(uses) = members.get("key_ops") {
            let verify = |uses: &Vec<Value>| uses.iter().any(|one| one == "verify");
            if !uses.as_array().is_some_and(verify) {
                return Err("its key_ops do not have verify".to_owned());
            }
        }
        let key: Self = serde_json::from_value(document.clone())
            .map_err(|_| "it is no RSA, EC or OKP key whose members are text")?;
        key.check()?;
        key.check_x5c()?;
        Ok(key)
    }

    fn check(&self) -> Result<(), String> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("its use is not sig".to_owned());
        }
        if self
            .kid
            .as_ref()
            .is_some_and(|kid| kid.is_empty() || kid.len() > 200 || kid.contains('\0'))
        {
            return Err("its kid needs 1 to 200 characters, none of them NUL".to_owned());
        }
        let fits = |name: &String| {
            AssertionAlgorithm::named(name).is_some_and(|algorithm| algorithm.key_type() == self.kty)
        };
        if self.alg.as_ref().is_some_and(|alg| !fits(alg)) {
            return Err("its alg is not one that is accepted for its type".to_owned());
        }
        match self.kty {
            KeyType::Rsa => self.check_rsa(),
            KeyType::Ec if self.crv.as_deref() == Some("P-256") && self.is_on_curve() => Ok(()),
            KeyType::Ec => Err("it is not a point of P-256".to_owned()),
            KeyType::Okp if self.crv.as_deref() == Some("Ed25519") => match coordinate(self.x.as_ref()) {
                Some(x) if is_weak(&x) => {
                    Err("it is an Ed25519 point of small order, or not in canonical form".to_owned())
                }
                Some(_) => Ok(()),
                None => Err("it is not an Ed25519 key".to_owned()),
            },
            KeyType::Okp => Err("it is not an Ed25519 key".to_owned()),
        }
    }

    fn is_on_curve(&self) -> bool {
        self.point()
            .is_some_and(|point| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok())
    }

    fn check_rsa(&self) -> Result<(), String> {
        let (n, e) = self
            .rsa()
            .ok_or("its modulus or exponent is missing, or not base64url")?;
        // The top bit of the first byte: a modulus of 2047 bits has 256 bytes, too.
        let full = n.first().is_some_and(|first| n.len() > 256 || *first >= 0x80);
        if !RSA_MODULUS.contains(&n.len()) || !full {
            return Err("an RSA key needs 2048 to 8192 bits".to_owned());
        }
        let odd = e.last().is_some_and(|last| last % 2 == 1);
        if e.len() > 4 || !odd || e == [1] {
            return Err("its exponent is not an odd number from 3".to_owned());
        }
        // Spelled in two ways, one key would have two thumbprints.
        if !is_shortest(self.n.as_ref(), &n) || !is_shortest(self.e.as_ref(), &e) {
            return Err("its modulus or exponent begins with zeros (RFC 7518 §6.3.1)".to_owned());
        }
        Ok(())
    }

    /// The key's SHA-256 thumbprint (RFC 7638 §3): its required members, in order, as they were spelled.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        let members = match self.kty {
            KeyType::Rsa => vec![
                ("e", self.e.as_deref()),
                ("kty", Some("RSA")),
                ("n", self.n.as_deref()),
            ],
            KeyType::Ec => vec![
                ("crv", self.crv.as_deref()),
                ("kty", Some("EC")),
                ("x", self.x.as_deref()),
                ("y", self.y.as_deref()),
            ],
            KeyType::Okp => vec![
                ("crv", self.crv.as_deref()),
                ("kty", Some("OKP")),
                ("x", self.x.as_deref()),
            ],
        };
        // All of them are base64url or names of curves, which JSON does not escape.
        let members = members
            .into_iter()
            .map(|(name, value)| format!(r#""{name}":"{}""#, value.unwrap_or_default()));
        let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        Thumbprint::of(text.as_bytes())
    }

    /// Whether it verifies a signature.
    #[must_use]
    pub fn verify(&self, algorithm: AssertionAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        // The key decides, never the token (RFC 8725 §3.1).
        let other = self
            .alg
            .as_deref()
            .is_some_and(|alg| AssertionAlgorithm::named(alg) != Some(algorithm));
        if other || algorithm.key_type() != self.kty {
            return false;
        }
        let verified = match algorithm {
            AssertionAlgorithm::RS256 => self.verify_rsa(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            AssertionAlgorithm::PS256 => self.verify_rsa(&RSA_PSS_2048_8192_SHA256, message, signature),
            AssertionAlgorithm::ES256 => self.point().map(|point| {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }),
            AssertionAlgorithm::EdDSA => coordinate(self.x.as_ref()).map(|x| {
                UnparsedPublicKey::new(&ED25519, x)
                    .verify(message, signature)
                    .is_ok()
            }),
        };
        verified.unwrap_or(false)
    }

    fn verify_rsa(
        &self,
        parameters: &'static aws_lc_rs::signature::RsaParameters,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let (n, e) = self.rsa()?;
        let key = RsaPublicKeyComponents { n, e };
        Some(key.verify(parameters, message, signature).is_ok())
    }

    /// Modulus and exponent, without leading zeros.
    fn rsa(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let number = |text: &Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()?;
            Some(
                bytes
                    .into_iter()
                    .skip_while(|byte| *byte == 0)
                    .collect::<Vec<u8>>(),
            )
        };
        Some((number(&self.n)?, number(&self.e)?))
    }

    /// The uncompressed point (SEC 1 §2.3.3).
    fn point(&self) -> Option<Vec<u8>> {
        let (x, y) = (coordinate(self.x.as_ref())?, coordinate(self.y.as_ref())?);
        Some([&[4], &x[..], &y[..]].concat())
    }
}

/// Whether a number is spelled with as few bytes as it has (RFC 7518 §6.3.1.1).
fn is_shortest(text: Option<&String>, number: &[u8]) -> bool {
    text.is_some_and(|text| *text == URL_SAFE_NO_PAD.encode(number))
}

/// The y coordinates, in the form of RFC 8032 §5.1.2, of Ed25519's points of small order: under them anybody can sign.
const SMALL_ORDER: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Whether an Ed25519 public key is of small order, or has another form than the one of its point.
fn is_weak(key: &[u8; 32]) -> bool {
    let mut y = *key;
    // The sign of x.
    y[31] &= 0x7f;
    // From 2^255 - 19 on there is a smaller number that means the same.
    let canonical = y[0] < 0xed || y[1..31].iter().any(|byte| *byte != 0xff) || y[31] != 0x7f;
    !canonical || SMALL_ORDER.contains(&Digest(y).to_string().as_str())
}

fn coordinate(text: Option<&String>) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(key: &Value) -> String {
        PublicJwks::parse(&json!({ "keys": [key] })).unwrap_err()
    }

    fn number(bytes: usize, first: u8) -> String {
        let mut number = vec![0xff; bytes];
        number[0] = first;
        URL_SAFE_NO_PAD.encode(number)
    }

    #[test]
    fn only_public_keys_that_are_strong_enough_are_registered() {
        let coordinate = number(32, 1);
        let rsa = |n: String| json!({"kty": "RSA", "n": n, "e": "AQAB"});
        // The key of RFC 7515 appendix A.3.
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let ec =
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "x5t": "ignored", "key_ops": ["verify"]});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": coordinate, "use": "sig", "alg": "EdDSA"});
        let good = [
            rsa(number(256, 0x80)),
            rsa(number(512, 1)),
            ec.clone(),
            ed.clone(),
        ];
        for good in good {
            let parsed = PublicJwks::parse(&json!({ "keys": [good] }));
            assert!(parsed.is_ok(), "{good}: {parsed:?}");
        }
        for weak in [
            rsa(number(256, 0x7f)),
            rsa(number(128, 0x80)),
            rsa(number(256, 0)),
            rsa(number(1025, 1)),
        ] {
            assert!(problem(&weak).contains("2048 to 8192 bits"), "{weak}");
        }
        for (member, base) in [("d", &ec), ("d", &ed), ("p", &rsa(number(256, 0x80))), ("k", &ed)] {
            let mut key = base.clone();
            key[member] = json!("AQAB");
            assert!(problem(&key).contains("private member"), "{member}");
        }
        for (changed, base) in [
            (json!({"use": "enc"}), &ed),
            (json!({"alg": "HS256"}), &ed),
            (json!({"alg": "none"}), &ec),
            (json!({"alg": "RS256"}), &ec),
            (json!({"crv": "P-384"}), &ec),
            (json!({"crv": "X25519"}), &ed),
            (json!({"x": "AQAB"}), &ed),
            (json!({"x": coordinate}), &ec),
            (
                json!({"x": URL_SAFE_NO_PAD.encode([0; 32]), "y": URL_SAFE_NO_PAD.encode([0; 32])}),
                &ec,
            ),
            (json!({"key_ops": ["encrypt"]}), &ec),
            (json!({"key_ops": []}), &ed),
            (json!({"key_ops": "verify"}), &ed),
            (json!({"y": null}), &ec),
            (json!({"kty": "oct"}), &ec),
            (json!({"kid": ""}), &ec),
            (json!({"e": "AQ"}), &rsa(number(256, 0x80))),
            (json!({"e": "Ag"}), &rsa(number(256, 0x80))),
            (json!({"e": "AAEAAQ"}), &rsa(number(256, 0x80))),
            (json!({"n": number(513, 0)}), &rsa(number(256, 0x80))),
        ] {
            let mut key = base.clone();
            key.as_object_mut()
                .unwrap()
                .extend(changed.as_object().unwrap().clone());
            assert!(!problem(&key).is_empty(), "{changed}");
        }
    }

    #[test]
    fn a_set_has_keys_and_no_name_twice() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": number(32, 1)});
        let mut named = ed;
        named["kid"] = json!("a");
        assert!(PublicJwks::parse(&json!({"keys": [named, named]})).is_err());
        named["kid"] = json!("a\0");
        assert!(PublicJwk::parse(&named).is_err(), "the ledger could not name it");
        for broken in [
            json!([]),
            json!({"keys": []}),
            json!({"keys": {}}),
            json!({"keys": [1]}),
        ] {
            assert!(PublicJwks::parse(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_thumbprint_is_of_the_required_members_alone() {
        // The example of RFC 7638 §3.1, and that of RFC 8037 appendix A.3.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        for (key, thumbprint) in [
            (
                json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}),
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            let key = PublicJwk::parse(&key).unwrap();
            assert_eq!(key.thumbprint().to_string(), thumbprint);
        }
    }

    #[test]
    fn points_of_small_order_are_no_ed25519_keys() {
        let with_sign = |mut key: [u8; 32]| {
            key[31] |= 0x80;
            key
        };
        let mut weak: Vec<[u8; 32]> = SMALL_ORDER
            .iter()
            .map(|y| Digest::from_hex(y).unwrap().0)
            .collect();
        // The same again, 2^255 - 19 higher: 0 and 1.
        for low in [0xed, 0xee, 0xff] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, 0x7f);
            weak.push(key);
        }
        for key in weak {
            for key in [key, with_sign(key)] {
                let key = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key)});
                assert!(problem(&key).contains("small order"), "{key}");
            }
        }
    }

    #[test]
    fn no_other_algorithm_has_a_name() {
        for name in AssertionAlgorithm::NAMES {
            assert!(AssertionAlgorithm::named(name).is_some());
        }
        for name in [
            "none", "None", "HS256", "HS384", "HS512", "RS1", "rs256", "ES384", "",
        ] {
            assert_eq!(AssertionAlgorithm::named(name), None, "{name}");
        }
    }
}
