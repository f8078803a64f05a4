//! Credential values: each carries the address of the one event that issued it.
//!
//! `glc_` (authorization code), `gld_` (device code), `glr_` (refresh token), `gla_` (opaque access token) and a JWT's
//! `jti` are base64url of
//!
//! | bytes | what |
//! |---|---|
//! | 1 | number of the address key |
//! | 16 | the grant id, encrypted with one AES block, so that birth times and links between tokens stay hidden |
//! | 4 | the sequence of the issuing event, big-endian |
//! | 32 (16 in a `jti`) | random; only its SHA-256 is stored |
//!
//! So a check reads one grant by primary key: no look-up table, nothing that lags.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::crypto::master::AddressKey;
use crate::domain::value::Digest;
use crate::ids::GrantId;

/// The kinds of credential values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An authorization code, `glc_…`.
    Code,
    /// A device code, `gld_…`.
    Device,
    /// A refresh token, `glr_…`.
    Refresh,
    /// An opaque access token, `gla_…`.
    Access,
    /// A JWT's `jti`.
    TokenId,
}

impl Kind {
    /// The prefix by which secret scanners find it.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Code => "glc_",
            Self::Device => "gld_",
            Self::Refresh => "glr_",
            Self::Access => "gla_",
            Self::TokenId => "",
        }
    }

    fn random_len(self) -> usize {
        match self {
            Self::Code | Self::Device | Self::Refresh | Self::Access => 32,
            Self::TokenId => 16,
        }
    }
}

/// Whether a text looks like a credential of this server (`gl?_…`) or a JWT, right or wrong: it is not to be repeated.
#[must_use]
pub fn resembles(text: &str) -> bool {
    let text = text.trim().as_bytes();
    matches!(text, [b'g', b'l', b'a'..=b'z', b'_', ..]) || text.starts_with(b"eyJ")
}

/// Where a credential was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The grant.
    pub grant: GrantId,
    /// The sequence of the issuing event.
    pub sequence: u32,
}

/// A presented credential, taken apart. It proves nothing until its digest is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Where it says it was issued.
    pub address: Address,
    /// SHA-256 of its random part.
    pub digest: Digest,
}

const ADDRESS_LEN: usize = 1 + 16 + 4;

/// The credential's text. `random` has 32 bytes, of which a `jti` takes the first 16.
#[must_use]
pub fn format(kind: Kind, key: &AddressKey, address: Address, random: &[u8; 32]) -> String {
    let mut bytes = Vec::with_capacity(ADDRESS_LEN + 32);
    bytes.push(key.number());
    bytes.extend_from_slice(&key.seal(address.grant.0.into_bytes()));
    bytes.extend_from_slice(&address.sequence.to_be_bytes());
    bytes.extend_from_slice(random_part(kind, random));
    let mut text = String::with_capacity(kind.prefix().len() + 72);
    text.push_str(kind.prefix());
    URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
    text
}

/// The digest that is stored for a credential made of `random`.
#[must_use]
pub fn digest(kind: Kind, random: &[u8; 32]) -> Digest {
    Digest::of(random_part(kind, random))
}

/// Takes a presented credential apart; none where it has not the form.
#[must_use]
pub fn parse(kind: Kind, key: &AddressKey, text: &str) -> Option<Presented> {
    let encoded = text.strip_prefix(kind.prefix())?;
    let len = ADDRESS_LEN + kind.random_len();
    if encoded.len() != (len * 4).div_ceil(3) {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let (number, rest) = bytes.split_first()?;
    let (sealed, rest) = rest.split_first_chunk::<16>()?;
    let (sequence, random) = rest.split_first_chunk::<4>()?;
    if *number != key.number() || random.len() != kind.random_len() {
        return None;
    }
    let grant = GrantId(Uuid::from_bytes(key.open(*sealed)));
    let address = Address {
        grant,
        sequence: u32::from_be_bytes(*sequence),
    };
    Some(Presented {
        address,
        digest: Digest::of(random),
    })
}

fn random_part(kind: Kind, random: &[u8; 32]) -> &[u8] {
    random.get(..kind.random_len()).unwrap_or(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::master::MasterKey;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_credential_leads_back_to_its_event(grant: [u8; 16], sequence: u32, random: [u8; 32], other: [u8; 32]) {
            let keys = MasterKey::from_bytes([7; 32]);
            let address = Address { grant: GrantId(Uuid::from_bytes(grant)), sequence };
            for kind in [Kind::Code, Kind::Device, Kind::Refresh, Kind::Access, Kind::TokenId] {
                let text = format(kind, keys.address_key(), address, &random);
                let presented = parse(kind, keys.address_key(), &text).unwrap();
                prop_assert_eq!(presented.address, address);
                prop_assert!(presented.digest.matches(&digest(kind, &random)));
                prop_assert_eq!(presented.digest.matches(&digest(kind, &other)), random == other);
            }
        }

        #[test]
        fn any_text_is_taken_apart_or_refused(text in "\\PC{0,120}", valid in "glr_[A-Za-z0-9_-]{71}") {
            let keys = MasterKey::from_bytes([7; 32]);
            for kind in [Kind::Code, Kind::Device, Kind::Refresh, Kind::Access, Kind::TokenId] {
                let _ = parse(kind, keys.address_key(), &text);
                let _ = parse(kind, keys.address_key(), &valid);
            }
        }
    }
}
