//! Making the keys that sign tokens.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::CryptoError;
use crate::domain::client::TokenAlgorithm;
use crate::domain::signing_key::KeyGenerated;
use crate::domain::value::Digest;

/// A key, fresh from the generator.
pub struct GeneratedKey {
    /// Its event.
    pub event: KeyGenerated,
    /// The private key, PKCS#8; or the symmetric key itself.
    pub private: Vec<u8>,
}

/// Makes a key.
pub fn generate(algorithm: TokenAlgorithm) -> Result<GeneratedKey, CryptoError> {
    let (private, jwk) = match algorithm {
        TokenAlgorithm::HS256 => return generate_symmetric(algorithm),
        TokenAlgorithm::ES256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
            let point = pair.public_key().as_ref();
            let (x, y) = point
                .get(1..)
                .and_then(|xy| xy.split_at_checked(32))
                .ok_or(CryptoError)?;
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            (
                pair.to_pkcs8v1()?.as_ref().to_vec(),
                json!({"crv": "P-256", "kty": "EC", "x": x, "y": y}),
            )
        }
        TokenAlgorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate()?;
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            (
                pair.to_pkcs8v1()?.as_ref().to_vec(),
                json!({"crv": "Ed25519", "kty": "OKP", "x": x}),
            )
        }
        // A key of its own for each of the two (RFC 8725 §3.5).
        TokenAlgorithm::RS256 | TokenAlgorithm::PS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            let (n, e) = (URL_SAFE_NO_PAD.encode(public.n), URL_SAFE_NO_PAD.encode(public.e));
            let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der()?;
            (private.as_ref().to_vec(), json!({"e": e, "kty": "RSA", "n": n}))
        }
    };
    // RFC 7638: the SHA-256 of the required members in lexicographic order, which is their canonical JSON.
    let required = crate::canonical::to_string(&jwk).map_err(|_| CryptoError)?;
    let kid = URL_SAFE_NO_PAD.encode(Digest::of(required.as_bytes()).0);
    let mut public = jwk;
    if let Value::Object(members) = &mut public {
        members.insert("alg".into(), algorithm.name().into());
        members.insert("kid".into(), kid.clone().into());
        members.insert("use".into(), "sig".into());
    }
    let public_jwk = crate::canonical::to_string(&public).map_err(|_| CryptoError)?;
    Ok(GeneratedKey {
        event: KeyGenerated {
            kid,
            algorithm: algorithm.name().to_owned(),
            public_jwk: Some(public_jwk),
        },
        private,
    })
}

/// RFC 7518 §3.2: a key as long as the hash. Its name is random: RFC 7638 §7 warns of thumbprints of secrets.
fn generate_symmetric(algorithm: TokenAlgorithm) -> Result<GeneratedKey, CryptoError> {
    let (mut key, mut name) = ([0; 32], [0; 32]);
    rand::fill(&mut key)?;
    rand::fill(&mut name)?;
    Ok(GeneratedKey {
        event: KeyGenerated {
            kid: URL_SAFE_NO_PAD.encode(name),
            algorithm: algorithm.name().to_owned(),
            public_jwk: None,
        },
        private: key.to_vec(),
    })
}
