//! JWTs, keys, and values that are credentials.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use grantlog::credential::{self, Kind};
use grantlog::crypto::defuse;
use grantlog::crypto::master::MasterKey;
use grantlog::crypto::software_statement::{Publishers, StatementRefusal};
use grantlog::domain::client::PublicJwks;
use grantlog::domain::confirmation::Thumbprint;
use grantlog::domain::pkce::{self, Challenge, Method};
use grantlog::http::{client_assertion, dpop};
use grantlog::operations::initial_access_token::PresentedInitialToken;
use serde_json::Value;

use super::{Read, text};

/// A JWT of a header and claims that stand on lines of their own, so that changes reach what is encoded; any other text as
/// it is.
pub(super) fn compact(text: &str) -> String {
    match text.split_once('\n') {
        Some((header, claims)) => format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        ),
        None => text.to_owned(),
    }
}

pub(super) fn client_assertion(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        Read::when(client_assertion::client_named_in(&compact(input)).is_some())
    })
}

pub(super) fn dpop_proof(bytes: &[u8]) -> Read {
    text(bytes, |input| Read::when(dpop::is_proof(&compact(input))))
}

/// Nobody's key signed it: all that is read is refused for its signature, or because nobody is trusted.
pub(super) fn software_statement(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        let at = DateTime::UNIX_EPOCH;
        let refusal = Publishers::default().verify(&compact(input), "https://id.example", at);
        let refusal = refusal.unwrap_err();
        Read::when(refusal == StatementRefusal::Unapproved)
    })
}

pub(super) fn jwks(bytes: &[u8]) -> Read {
    let parse = |bytes: &[u8]| PublicJwks::parse(&serde_json::from_slice::<Value>(bytes).ok()?).ok();
    match parse(bytes) {
        Some(jwks) => {
            for key in &jwks.keys {
                // What is computed of a key that was taken.
                let _ = (key.thumbprint(), key.name(), key.certificate());
            }
            Read::As(serde_json::to_vec(&jwks).unwrap())
        }
        None => Read::Refused,
    }
}

pub(super) fn thumbprint(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        let read = Thumbprint::parse(input);
        if let Some(thumbprint) = read {
            assert_eq!(thumbprint.to_string(), input, "two spellings of one thumbprint");
        }
        Read::text(read.map(|thumbprint| thumbprint.to_string()))
    })
}

/// A challenge, and on the next line a verifier.
pub(super) fn pkce(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        let (challenge, verifier) = input.split_once('\n').unwrap_or((input, ""));
        let mut read = false;
        for method in [Method::S256, Method::Plain] {
            if let Ok(challenge) = Challenge::parse(challenge, method) {
                let proved = pkce::verify(Some(&challenge), Some(verifier));
                read = true;
                assert!(proved.is_err() || (43..=128).contains(&verifier.len()));
            }
        }
        Read::when(read)
    })
}

pub(super) fn credential(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        let master = MasterKey::from_bytes([42; 32]);
        let key = master.address_key();
        let kinds = [Kind::Code, Kind::Device, Kind::Refresh, Kind::TokenId];
        let read: Vec<_> = kinds
            .into_iter()
            .filter_map(|kind| credential::parse(kind, key, input))
            .collect();
        assert!(read.len() <= 1, "it is of two kinds");
        Read::when(!read.is_empty())
    })
}

pub(super) fn initial_access_token(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        Read::when(PresentedInitialToken::parse(input).is_some())
    })
}

/// A refresh token of Laravel Passport, as it is looked at before anything is decrypted.
pub(super) fn encrypted_token(bytes: &[u8]) -> Read {
    text(bytes, |input| Read::when(defuse::Message::parse(input).is_some()))
}
