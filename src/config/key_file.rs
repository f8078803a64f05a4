//! The master key: where it comes from, and that nobody else can read it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::Settings;
use crate::crypto::master::MasterKey;
use crate::domain::value::Digest;

impl Settings {
    /// The master key. [`super::load`] has made sure that there is one.
    pub fn master_key(&self) -> Result<MasterKey, String> {
        key_bytes(self)
            .map(MasterKey::from_bytes)
            .map_err(|(field, what)| format!("{field}: {what}"))
    }
}

/// What is wrong with the master key's settings.
pub(super) fn problem(settings: &Settings) -> Option<(&'static str, String)> {
    key_bytes(settings).err()
}

fn key_bytes(settings: &Settings) -> Result<[u8; MasterKey::LEN], (&'static str, String)> {
    match (&settings.master_key, &settings.master_key_file) {
        (Some(_), Some(_)) => Err((
            "master_key",
            "master_key_file is set too: keep one of them".to_owned(),
        )),
        (None, None) => Err((
            "master_key_file",
            "it must be set, or master_key (the key that encrypts the stored keys)".to_owned(),
        )),
        (Some(secret), None) => {
            parse_master_key(&secret.0).ok_or_else(|| ("master_key", NOT_A_KEY.to_owned()))
        }
        (None, Some(path)) => read(path).map_err(|what| ("master_key_file", what)),
    }
}

const NOT_A_KEY: &str = "it is not exactly 32 bytes in base64url or in 64 hexadecimal digits";

fn read(path: &Path) -> Result<[u8; MasterKey::LEN], String> {
    let place = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| format!("{place} cannot be read: {error}"))?;
    let mode = metadata.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!(
            "everybody can open {place} (mode {:03o}): chmod 600 it",
            mode & 0o777
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place} cannot be read: {error}"))?;
    let text = Zeroizing::new(text);
    parse_master_key(&text).ok_or_else(|| format!("{place}: {NOT_A_KEY}"))
}

/// Whether a group other than the owner can read the key's file, which is worth a warning: some secret stores
/// mount files so.
#[must_use]
pub fn warn_of_readers(settings: &Settings) -> Option<String> {
    let path = settings.master_key_file.as_ref()?;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o070 != 0).then(|| {
        format!(
            "the group of {} can read the master key (mode {:03o})",
            path.display(),
            mode & 0o777
        )
    })
}

/// Reads 32 bytes from base64url (with or without padding) or hexadecimal; white space around is ignored.
#[must_use]
pub fn parse_master_key(text: &str) -> Option<[u8; MasterKey::LEN]> {
    let text = text.trim();
    if let Some(Digest(bytes)) = Digest::from_hex(&text.to_ascii_lowercase()) {
        return Some(bytes);
    }
    let decoded = URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()?;
    Zeroizing::new(decoded).as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_key_is_32_bytes_in_either_spelling() {
        let key = [0xab; 32];
        let hex = "AB".repeat(32);
        assert_eq!(parse_master_key(&hex), Some(key));
        assert_eq!(parse_master_key(&format!(" {}\n", hex.to_lowercase())), Some(key));
        assert_eq!(parse_master_key(&URL_SAFE_NO_PAD.encode(key)), Some(key));
        assert_eq!(parse_master_key(&URL_SAFE.encode(key)), Some(key));
        for bad in [
            "",
            "ab",
            &"ab".repeat(31),
            &URL_SAFE_NO_PAD.encode([1; 31]),
            &URL_SAFE_NO_PAD.encode([1; 33]),
        ] {
            assert_eq!(parse_master_key(bad), None, "{bad}");
        }
    }
}
