//! JSON Web Tokens: access tokens per RFC 9068, signed through jsonwebtoken with key pairs that are parsed once.
//!
//! jsonwebtoken asks its `CryptoProvider` for a signer at every signature, and the built-in one parses the
//! private key each time, which costs more than signing. Ours remembers parsed pairs.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, aws_lc};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, EncodingKey};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use signature::Signer;

use crate::domain::authorization_detail::Detail;
use crate::domain::client::TokenAlgorithm;
use crate::domain::confirmation::Confirmation;
use crate::domain::grant::{Act, MayAct};
use crate::domain::value::Digest;

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The issuer.
    pub iss: String,
    /// The user, or the client where it acts for itself.
    pub sub: String,
    /// The resource servers that it is for.
    pub aud: Audience,
    /// The client that it was issued to.
    pub client_id: String,
    /// The granted scope.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// When it was issued, seconds since 1970.
    pub iat: i64,
    /// When it ends, seconds since 1970.
    pub exp: i64,
    /// Its address in the ledger (see [`crate::credential`]).
    pub jti: String,
    /// The key that it is bound to (RFC 7800 §3.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// What was granted besides the scope (RFC 9396 §9.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Detail>,
    /// Who acts for the subject (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// Where its status is listed (draft-ietf-oauth-status-list §6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TokenStatus>,
    /// Who alone may act for the subject (RFC 8693 §4.4). Nothing here issues it; it is honoured where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<MayAct>,
}

/// Whether a `typ` names this media type (RFC 7515 §4.1.9): in any case, with or without `application/`.
#[must_use]
pub fn is_typ(typ: &str, media_type: &str) -> bool {
    let (kind, subtype) = typ.split_once('/').unwrap_or(("application", typ));
    kind.eq_ignore_ascii_case("application") && subtype.eq_ignore_ascii_case(media_type)
}

/// Where a token's status is listed (draft-ietf-oauth-status-list §6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// The list and the place in it.
    pub status_list: StatusReference,
}

/// A place in a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The index.
    pub idx: u32,
    /// The list.
    pub uri: String,
}

/// One audience or several (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single one, as a string.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Audience {
    /// Whether `audience` is among them.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|one| one == audience)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
        .map(String::as_str)
    }
}

impl From<Vec<String>> for Audience {
    fn from(mut audiences: Vec<String>) -> Self {
        match (audiences.pop(), audiences.is_empty()) {
            (Some(only), true) => Self::One(only),
            (last, _) => {
                audiences.extend(last);
                Self::Many(audiences)
            }
        }
    }
}

/// The jsonwebtoken algorithm of ours.
#[must_use]
pub fn jws_algorithm(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::ES256 => Algorithm::ES256,
        TokenAlgorithm::RS256 => Algorithm::RS256,
        TokenAlgorithm::PS256 => Algorithm::PS256,
        TokenAlgorithm::EdDSA => Algorithm::EdDSA,
        TokenAlgorithm::HS256 => Algorithm::HS256,
    }
}

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(|| CryptoProvider {
    signer_factory: cached_signer,
    verifier_factory: aws_lc::DEFAULT_PROVIDER.verifier_factory,
    key_utils: aws_lc::DEFAULT_PROVIDER.key_utils.clone(),
});

/// Makes jsonwebtoken use the provider that remembers parsed keys. May be called again.
pub fn install_provider() {
    // An error says that it is installed already.
    let _ = LazyLock::force(&PROVIDER).install_default();
}

enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    Ps256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Hs256(Box<hmac::Key>),
}

static PAIRS: LazyLock<Cache<(Digest, Algorithm), Arc<Pair>>> = LazyLock::new(|| Cache::new(64));

struct CachedSigner(Arc<Pair>);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the provider's signature")]
fn cached_signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let id = (Digest::of(key.as_bytes()), *algorithm);
    if let Some(pair) = PAIRS.get(&id) {
        return Ok(Box::new(CachedSigner(pair)));
    }
    let rsa = || RsaKeyPair::from_pkcs8(key.as_bytes()).map_err(|_| ErrorKind::InvalidKeyFormat);
    let pair = if *algorithm == Algorithm::RS256 {
        Pair::Rs256(rsa()?)
    } else if *algorithm == Algorithm::PS256 {
        Pair::Ps256(rsa()?)
    } else if *algorithm == Algorithm::EdDSA {
        Ed25519KeyPair::from_pkcs8(key.as_bytes())
            .map(Pair::EdDsa)
            .map_err(|_| ErrorKind::InvalidKeyFormat)?
    } else if *algorithm == Algorithm::ES256 {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes())
            .map(Pair::Es256)
            .map_err(|_| ErrorKind::InvalidEcdsaKey)?
    } else if *algorithm == Algorithm::HS256 {
        Pair::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
    } else {
        return Err(ErrorKind::InvalidAlgorithm.into());
    };
    let pair = Arc::new(pair);
    PAIRS.insert(id, Arc::clone(&pair));
    Ok(Box::new(CachedSigner(pair)))
}

impl Signer<Vec<u8>> for CachedSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let random = SystemRandom::new();
        match &*self.0 {
            Pair::Es256(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| signature::Error::new()),
            Pair::Rs256(pair) => sign_rsa(pair, &RSA_PKCS1_SHA256, message),
            Pair::Ps256(pair) => sign_rsa(pair, &RSA_PSS_SHA256, message),
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Hs256(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

fn sign_rsa(
    pair: &RsaKeyPair,
    padding: &'static dyn RsaEncoding,
    message: &[u8],
) -> Result<Vec<u8>, signature::Error> {
    let mut out = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut out)
        .map_err(|_| signature::Error::new())?;
    Ok(out)
}

impl JwtSigner for CachedSigner {
    fn algorithm(&self) -> Algorithm {
        match &*self.0 {
            Pair::Es256(_) => Algorithm::ES256,
            Pair::Rs256(_) => Algorithm::RS256,
            Pair::Ps256(_) => Algorithm::PS256,
            Pair::EdDsa(_) => Algorithm::EdDSA,
            Pair::Hs256(_) => Algorithm::HS256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typ_is_a_media_type_with_or_without_its_kind() {
        for good in [
            "dpop+jwt",
            "DPoP+JWT",
            "application/dpop+jwt",
            "Application/DPOP+jwt",
        ] {
            assert!(is_typ(good, "dpop+jwt"), "{good}");
        }
        for bad in [
            "",
            "JWT",
            "text/dpop+jwt",
            "application/",
            "x/application/dpop+jwt",
            "application/dpop+jwt/",
            " dpop+jwt",
        ] {
            assert!(!is_typ(bad, "dpop+jwt"), "{bad}");
        }
    }
}
