//! The master key and what is derived from it. It comes from configuration and is never stored with the data.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;

use super::CryptoError;
use crate::clock::Randomness;
use crate::domain::value::Digest;
use crate::ids::SubjectId;

/// The keys derived from the one master key, each for one purpose.
pub struct MasterKey {
    wrap: LessSafeKey,
    names: hmac::Key,
    network: hmac::Key,
    forms: hmac::Key,
    pairwise: hmac::Key,
    status_lists: hmac::Key,
    address: AddressKey,
}

struct Len32;

impl KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

impl MasterKey {
    /// The length of a master key in bytes.
    pub const LEN: usize = 32;

    /// Derives the keys (HKDF-SHA256, one label per purpose).
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "key lengths are constants that fit"
    )]
    pub fn from_bytes(mut bytes: [u8; Self::LEN]) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"grantlog master key v1").extract(&bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        let key = |label: &str| derive(&prk, label).expect("HKDF gives 32 bytes");
        Self {
            wrap: LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM, &key("wrap")).expect("the key has 32 bytes"),
            ),
            names: hmac::Key::new(hmac::HMAC_SHA256, &key("names")),
            network: hmac::Key::new(hmac::HMAC_SHA256, &key("network")),
            forms: hmac::Key::new(hmac::HMAC_SHA256, &key("forms")),
            pairwise: hmac::Key::new(hmac::HMAC_SHA256, &key("pairwise")),
            status_lists: hmac::Key::new(hmac::HMAC_SHA256, &key("status lists")),
            address: AddressKey::new(1, &key("address")).expect("the key has 32 bytes"),
        }
    }

    /// The key that hides grant ids in credentials.
    #[must_use]
    pub fn address_key(&self) -> &AddressKey {
        &self.address
    }

    /// The keyed digest by which a name is unique: it reveals nothing without this key.
    #[must_use]
    pub fn name_digest(&self, kind: &str, name: &str) -> [u8; 32] {
        mac(&self.names, &[kind.as_bytes(), b"\0", name.as_bytes()])
    }

    /// A digest of a network address that is comparable within one month only.
    #[must_use]
    pub fn network_digest(&self, month: &str, address: &str) -> Digest {
        Digest(mac(&self.network, &[month.as_bytes(), b"\0", address.as_bytes()]))
    }

    /// Authenticates what a form carries through a browser (cross-site request forgery tokens).
    #[must_use]
    pub fn form_token(&self, parts: &[&[u8]]) -> Digest {
        Digest(mac(&self.forms, parts))
    }

    /// What the clients of a sector know a user by (OpenID Connect Core §8.1): the same for all of them, and for no
    /// other sector.
    #[must_use]
    pub fn pairwise_subject(&self, sector: &str, subject: SubjectId) -> [u8; 32] {
        mac(&self.pairwise, &[sector.as_bytes(), subject.0.as_bytes()])
    }

    /// What shuffles the places of a status list, for one half of a place in one round: 16 bits.
    #[must_use]
    pub fn status_list_round(&self, list: i64, round: u8, half: u32) -> u16 {
        let parts: [&[u8]; 3] = [&list.to_be_bytes(), &[round], &half.to_be_bytes()];
        let [first, second, ..] = mac(&self.status_lists, &parts);
        u16::from_be_bytes([first, second])
    }

    /// Wraps a key for storage; `label` names what it is and must be given again.
    pub fn wrap(&self, random: &Randomness, label: &str, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        seal(&self.wrap, random, label.as_bytes(), key)
    }

    /// Unwraps a stored key.
    pub fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<Vec<u8>, CryptoError> {
        open(&self.wrap, label.as_bytes(), wrapped)
    }
}

fn derive(prk: &Prk, label: &str) -> Result<[u8; 32], CryptoError> {
    let mut key = [0; 32];
    prk.expand(&[label.as_bytes()], Len32)?.fill(&mut key)?;
    Ok(key)
}

/// Each part is preceded by its length, so that no two lists of parts are the same message.
fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// AES-256-GCM: nonce, ciphertext, tag.
pub(super) fn seal(
    key: &LessSafeKey,
    random: &Randomness,
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let nonce: [u8; NONCE_LEN] = random.bytes().map_err(|_| CryptoError)?;
    let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + 16);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let (_, body) = out.split_at_mut(NONCE_LEN);
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

pub(super) fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(CryptoError)?;
    let mut body = body.to_vec();
    let plain = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut body)?
        .len();
    body.truncate(plain);
    Ok(body)
}

/// Encrypts a grant id with one AES-256 block: a permutation of all 16-byte values.
pub struct AddressKey {
    number: u8,
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl AddressKey {
    fn new(number: u8, key: &[u8; 32]) -> Result<Self, CryptoError> {
        Ok(Self {
            number,
            encrypting: EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key)?)?,
            decrypting: DecryptingKey::ecb(UnboundCipherKey::new(&AES_256, key)?)?,
        })
    }

    /// Which address key this is.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Hides an id.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "one whole block is always encrypted"
    )]
    pub fn seal(&self, mut block: [u8; 16]) -> [u8; 16] {
        self.encrypting
            .encrypt(&mut block)
            .expect("one block is one block");
        block
    }

    /// Gives an id back.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "one whole block is always decrypted"
    )]
    pub fn open(&self, mut block: [u8; 16]) -> [u8; 16] {
        self.decrypting
            .decrypt(&mut block, DecryptionContext::None)
            .expect("one block is one block");
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairwise_subject_is_of_its_key_its_sector_and_its_user() {
        let (ours, other) = (MasterKey::from_bytes([1; 32]), MasterKey::from_bytes([2; 32]));
        let user = |number| SubjectId(uuid::Uuid::from_u128(number));
        let known = ours.pairwise_subject("app.example", user(1));
        assert_eq!(known, ours.pairwise_subject("app.example", user(1)));
        for elsewhere in [
            ours.pairwise_subject("app.example", user(2)),
            ours.pairwise_subject("other.example", user(1)),
            other.pairwise_subject("app.example", user(1)),
        ] {
            assert_ne!(known, elsewhere);
        }
    }
}
