//! The message format of defuse/php-encryption version 2, which Laravel Passport's server library encrypts refresh
//! tokens in (`CryptoDetails.md` of that library):
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `DE F5 02 00` |
//! | 32 | salt |
//! | 16 | initialisation vector |
//! | n | AES-256-CTR ciphertext |
//! | 32 | HMAC-SHA256 of all before |
//!
//! in hexadecimal. Both keys are HKDF-SHA256 of the key and the salt; a password becomes a key by
//! PBKDF2-SHA256 (100,000 rounds) of its SHA-256. A serialised key is `DE F0 00 00`, 32 bytes, and the SHA-256 of
//! both.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use super::CryptoError;

const MESSAGE: [u8; 4] = [0xde, 0xf5, 0x02, 0x00];
const KEY: [u8; 4] = [0xde, 0xf0, 0x00, 0x00];
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const SALT_LEN: usize = 32;
const IV_LEN: usize = 16;
const TAG_LEN: usize = 32;
/// The least length of a message in hexadecimal digits.
const SHORTEST: usize = 2 * (MESSAGE.len() + SALT_LEN + IV_LEN + TAG_LEN);
/// The longest message that is looked at: a refresh token has about 700 digits, more with many scopes.
const LONGEST: usize = 8192;

/// What messages are encrypted with.
#[derive(Clone)]
pub enum Secret {
    /// A password: each message costs a PBKDF2.
    Password(Zeroizing<Vec<u8>>),
    /// A key: cheap.
    Key(Zeroizing<[u8; 32]>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Secret::Password(…)",
            Self::Key(_) => "Secret::Key(…)",
        })
    }
}

/// Why a text is no encryption key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// `base64:` and then something else.
    #[error("what follows base64: is not base64")]
    NotBase64,
    /// A Laravel key has 16 or 32 bytes.
    #[error("a Laravel key has 16 or 32 bytes, not {0}")]
    Length(usize),
    /// `def00000`, but damaged.
    #[error("it begins like a serialised Defuse key, but its length or checksum is wrong")]
    DamagedKey,
}

impl Secret {
    /// Reads a Laravel `APP_KEY` (`base64:…`), a serialised Defuse key (`def00000…`), or a line
    /// `APP_KEY=…` of an environment file. Any other text is itself the password, as Passport takes it.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("APP_KEY="))
            .unwrap_or(text)
            .trim()
            .trim_matches(['"', '\'']);
        if line.is_empty() {
            return Err(SecretError::Empty);
        }
        if line
            .get(..8)
            .is_some_and(|head| head.eq_ignore_ascii_case("def00000"))
        {
            return serialised_key(line).ok_or(SecretError::DamagedKey);
        }
        let Some(encoded) = line.strip_prefix("base64:") else {
            return Ok(Self::Password(Zeroizing::new(line.as_bytes().to_vec())));
        };
        let bytes = STANDARD
            .decode(encoded)
            .or_else(|_| STANDARD_NO_PAD.decode(encoded))
            .map_err(|_| SecretError::NotBase64)?;
        let bytes = Zeroizing::new(bytes);
        if !matches!(bytes.len(), 16 | 32) {
            return Err(SecretError::Length(bytes.len()));
        }
        Ok(Self::Password(bytes))
    }

    /// For storage, wrapped: a byte that says which kind, and the secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Password(password) => (b'p', password),
            Self::Key(key) => (b'k', key.as_slice()),
        };
        let mut out = Zeroizing::new(vec![kind]);
        out.extend_from_slice(bytes);
        out
    }

    /// What [`Self::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'p', password) => Some(Self::Password(Zeroizing::new(password.to_vec()))),
            (b'k', key) => Some(Self::Key(Zeroizing::new(key.try_into().ok()?))),
            _ => None,
        }
    }

    /// Decrypts a message. With a password this takes tens of milliseconds.
    pub fn decrypt(&self, message: &Message) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (signed, tag) = message.0.split_last_chunk::<TAG_LEN>().ok_or(CryptoError)?;
        let (_, rest) = signed.split_first_chunk::<4>().ok_or(CryptoError)?;
        let (salt, rest) = rest.split_first_chunk::<SALT_LEN>().ok_or(CryptoError)?;
        let (iv, encrypted) = rest.split_first_chunk::<IV_LEN>().ok_or(CryptoError)?;
        let key = match self {
            Self::Password(password) => stretch(password, salt),
            Self::Key(key) => key.clone(),
        };
        let authentication = derive(&key, salt, b"DefusePHP|V2|KeyForAuthentication")?;
        let authentication = hmac::Key::new(hmac::HMAC_SHA256, authentication.as_slice());
        hmac::verify(&authentication, signed, tag)?;
        let encryption = derive(&key, salt, b"DefusePHP|V2|KeyForEncryption")?;
        let cipher = DecryptingKey::ctr(UnboundCipherKey::new(&AES_256, encryption.as_slice())?)?;
        let mut plain = Zeroizing::new(encrypted.to_vec());
        cipher.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(iv)))?;
        Ok(plain)
    }
}

/// A text that has the form of an encrypted message. Proves nothing until it is decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Reads the hexadecimal form; none where the text is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !(SHORTEST..=LONGEST).contains(&text.len()) || !text.starts_with("def50200") {
            return None;
        }
        decode_hex(text).map(Self)
    }
}

fn serialised_key(text: &str) -> Option<Secret> {
    let bytes = Zeroizing::new(decode_hex(text)?);
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    let (header, key) = body.split_first_chunk::<4>()?;
    let intact = *header == KEY && digest(&SHA256, body).as_ref() == sum.as_slice();
    let key: [u8; 32] = key.try_into().ok()?;
    intact.then(|| Secret::Key(Zeroizing::new(key)))
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect()
}

fn stretch(password: &[u8], salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let hashed = digest(&SHA256, password);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        salt,
        hashed.as_ref(),
        key.as_mut_slice(),
    );
    key
}

struct Len32;

impl KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

fn derive(key: &[u8; 32], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let mut out = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(key)
        .expand(&[info], Len32)?
        .fill(out.as_mut_slice())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const APP_KEY: &str = "base64:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk=";
    const PAYLOAD: &str = r#"{"client_id":"9a7f1b52-0000-4000-8000-00000000c11e","refresh_token_id":"abababababababababababababababababababababababababababababababababababababababab","access_token_id":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","scopes":["view-user"],"user_id":"42","expire_time":4102444800}"#;
    /// What the PHP library itself made of the payload with `Crypto::encryptWithPassword`.
    const WITH_PASSWORD: &str = "def50200435223230fd5a1c68d4aee9e2b61484fdefcc9e9fe174afab93543b1132ca9f3ee2eaef7fdc398cb06e399ce60327499d07ae8f93a7997bfca23cd2782b68aceac777edea78e2d49b1613293a8868f002f7e82007becf2bbfdf353e3601a610989273f7ce606e7e021219871d5b28b0a2fb37b7a46cc9e7d99ed9cec531a8feb3e47d5f213ab11fae43b79552cb6d3b8387e32f949218e3b8a2742e2b31b948227c944bdb934e8b3c9f94609708c6f10b4ebf3fe75b6ba8e8c01482cb043a2cd2394596fb1b393ea86924a8dc8b93591d0505731be939de9142943d815bbe43c836a12552febd7a4c737ebdb18378d5e13f1631496285a3491b14fa18599607314f7e2083929698b6a489a8a4e535ee08a81821c8268d61b174851cb7edce89035023cbdab6f3203785fc5f00f684aed392cb478502c3c27661c7d12574e937e1d1d01767b302e3476ce4b7259bf7d4e008dac8bcf6fd55dbbc8e181a9fc62684f6e1e807f39ae743746e223cb93c7d2d1e413530679ccceda1a5fe45e72625fa733a06bf23b48ff80bc38550593";
    const SERIALISED: &str = "def00000ac05b2d84d28f10af36d9dd84a9fa02ba38fa505717b2da60fd378b8d87a58d176f0625d30fcfb5ef7f39dc551069ca6389e3fad4a9281ccad846b7ad80cd8fc";
    /// And with `Crypto::encrypt` under that key.
    const WITH_KEY: &str = "def502007e09c354c95bcbb1b4cc1012a9849ebadd5c6087a09fe2a6bca2814b5164fa8e22ecaf7d6bd1fba8ed88ee9111970496a0de3b05de81af635dcf9cfb537f657fc8132ca40184b6862305fdd795c424fa2f5c03ce58309ad4d3852e043e42cd8194aff47252b8beb5ac3d71445cb334555986d1ed49559fe9c338b87753b1dc0a6969ffd6427705a203565ec2f9bdf86b5677edd8158205f06e2ccae6a75a3653b5a8e1c496c417dd0f370b0c4e2efb189a974012dc5ec7487739216ba4e7d3831746239d59e93cda19b5728d51f247a11155abd6db94b964c3aef330924a99a0fc262e3652c17b58be919ce8287826dbe005840119981c2568ec98a2deb30855807121c5d1db4ae8d631abae9fe766c1feff9953457f295cb4ed32ef979ab85db51acc6e5e8077f65b4da3c7fdcd26703effd4e600d9a2ec2a3610fdfb2d395db0dc098ac0a1a1be101a0c57b035ef0958b25d1c2834e10cc0d9e5de94e164810947814888ea6011cb3ec17620948f09155ab0d9b6ffc4bcdcf8e1379fb838e553e2a9930385a9b329fb52fe04ca";

    #[test]
    fn what_the_php_library_encrypted_with_a_password_is_decrypted() {
        let secret = Secret::parse(APP_KEY).unwrap();
        let message = Message::parse(WITH_PASSWORD).unwrap();
        assert_eq!(secret.decrypt(&message).unwrap().as_slice(), PAYLOAD.as_bytes());
        let other = Secret::parse("base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        assert!(other.decrypt(&message).is_err());
    }

    #[test]
    fn what_the_php_library_encrypted_with_a_key_is_decrypted() {
        let secret = Secret::parse(SERIALISED).unwrap();
        let message = Message::parse(WITH_KEY).unwrap();
        assert_eq!(secret.decrypt(&message).unwrap().as_slice(), PAYLOAD.as_bytes());
        let stored = Secret::from_bytes(&secret.to_bytes()).unwrap();
        assert!(stored.decrypt(&message).is_ok());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let secret = Secret::parse(SERIALISED).unwrap();
        let Message(bytes) = Message::parse(WITH_KEY).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            assert!(secret.decrypt(&Message(changed)).is_err(), "byte {place}");
        }
    }

    #[test]
    fn keys_are_read_in_every_form_that_laravel_has() {
        for line in [
            APP_KEY.to_owned(),
            format!("\n{APP_KEY}\n"),
            format!("APP_NAME=x\nAPP_KEY={APP_KEY}\nB=c"),
            format!("APP_KEY=\"{APP_KEY}\""),
        ] {
            let Ok(Secret::Password(bytes)) = Secret::parse(&line) else {
                panic!("{line}")
            };
            assert_eq!((bytes.len(), bytes[1]), (32, 7));
        }
        assert_eq!(Secret::parse(" ").unwrap_err(), SecretError::Empty);
        assert_eq!(Secret::parse("base64:***").unwrap_err(), SecretError::NotBase64);
        assert_eq!(Secret::parse("base64:AAAA").unwrap_err(), SecretError::Length(3));
        let mut damaged = SERIALISED.to_owned();
        damaged.replace_range(20..21, "0");
        damaged.replace_range(21..22, "1");
        assert_eq!(Secret::parse(&damaged).unwrap_err(), SecretError::DamagedKey);
        assert!(!format!("{:?}", Secret::parse(APP_KEY).unwrap()).contains("AAcO"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}", tail in "[0-9a-f]{0,400}") {
            let _ = (Message::parse(&text), Secret::parse(&text));
            if let Some(message) = Message::parse(&format!("def50200{tail}")) {
                prop_assert!(Secret::Key(Zeroizing::new([1; 32])).decrypt(&message).is_err());
            }
        }
    }
}
