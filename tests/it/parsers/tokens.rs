//! JWTs as this server reads them once their signature is good, and those that are requests and grants.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use grantlog::crypto::signing;
use grantlog::crypto::software_statement::Publishers;
use grantlog::domain::value::ScopeSet;
use grantlog::http::form::Form;
use grantlog::http::oauth::{authorize, token};
use grantlog::operations::self_registration::{self, Terms};
use serde_json::json;

use super::jose::compact;
use super::{Read, text};

const ISSUER: &str = "https://id.example";

/// Its parameters are a form, in which nothing is there twice but a `resource`.
pub(super) fn request_object(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        match authorize::parameters_in_object(&compact(input)) {
            Some(parameters) => {
                let names: Vec<String> = url::form_urlencoded::parse(parameters.as_bytes())
                    .map(|(name, _)| name.into_owned())
                    .collect();
                for (at, name) in names.iter().enumerate() {
                    assert!(
                        name == "resource" || !names[..at].contains(name),
                        "{name} is there twice"
                    );
                }
                let _ = Form::parse(&parameters);
                Read::Accepted
            }
            None => Read::Refused,
        }
    })
}

pub(super) fn grant_assertion(bytes: &[u8]) -> Read {
    text(bytes, |input| Read::when(token::is_assertion(&compact(input))))
}

/// Signed under a secret that stands in for a key.
fn signed(input: &str) -> (String, [u8; 32]) {
    let secret = [7; 32];
    let Some((header, claims)) = input.split_once('\n') else {
        return (input.to_owned(), secret);
    };
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
    (format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)), secret)
}

fn tokens(input: &str) -> (bool, bool) {
    let (token, secret) = signed(input);
    let (access, id) = signing::tokens_in(&token, ISSUER, &secret);
    assert!(!(access && id), "it is both an access token and an ID token");
    if access || id {
        assert_eq!(
            signing::tokens_in(&token, "https://other.example", &secret),
            (false, false)
        );
        assert_eq!(signing::tokens_in(&token, ISSUER, &[8; 32]), (false, false));
    }
    (access, id)
}

pub(super) fn access_token(bytes: &[u8]) -> Read {
    text(bytes, |input| Read::when(tokens(input).0))
}

pub(super) fn id_token_hint(bytes: &[u8]) -> Read {
    text(bytes, |input| Read::when(tokens(input).1))
}

/// A publisher, and the key that it signs with.
static PUBLISHER: LazyLock<(Publishers, EcdsaKeyPair)> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = key.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": part(&point[1..33]), "y": part(&point[33..])});
    let name = format!("publisher-{}.json", std::process::id());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, json!({"keys": [jwk]}).to_string()).unwrap();
    let publishers = Publishers::read(&[format!("https://publisher.example={}", file.display())]).unwrap();
    std::fs::remove_file(file).unwrap();
    (publishers, key)
});

/// A statement that its publisher has signed, whatever it says: what it states is registered like a request, or refused.
pub(super) fn signed_statement(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        let Some((header, claims)) = input.split_once('\n') else {
            return Read::Refused;
        };
        let (publishers, key) = &*PUBLISHER;
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        let statement = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let Ok(statement) = publishers.verify(&statement, ISSUER, at) else {
            return Read::Refused;
        };
        assert_eq!(statement.accepted.issuer, "https://publisher.example");
        for claim in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
            assert!(!statement.members.contains_key(claim), "{claim} became metadata");
        }
        let scope = ScopeSet::parse("openid profile").unwrap();
        let terms = Terms {
            default_scope: scope.clone(),
            scope,
            grant_types: vec![grantlog::domain::client::GrantType::AuthorizationCode],
            authorization_details_types: Vec::new(),
            pkce_optional: true,
        };
        if let Ok(metadata) = self_registration::metadata(statement.members, &terms, None) {
            assert!(metadata.scope.is_subset(&terms.scope) && !metadata.legacy);
        }
        Read::Accepted
    })
}
