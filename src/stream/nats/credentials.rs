//! How a connection to NATS authenticates.

use async_nats::ConnectOptions;

/// The characters of a seed: base32 of two bytes that say whose it is, 32 of the seed and two of a checksum.
const SEED_LENGTH: usize = 58;
/// What the seed of a user begins with.
const SEED_PREFIX: &str = "SU";
/// What tells a `.creds` file from anything else.
const CREDS: &str = "-----BEGIN NATS USER JWT-----";

/// What `--credentials` names. Its `Debug` shows none of it.
pub(crate) enum Credentials {
    /// The server asks for none.
    Nothing,
    /// A token.
    Token(String),
    /// A user's name and password.
    User(String, String),
    /// The seed of a user's `NKey`, which signs what the server asks.
    Nkey(String),
    /// A `.creds` file: a user's JWT and the seed of the key that it names.
    Creds(String),
}

/// The credentials are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "credentials of NATS are USER:PASSWORD, a token, the seed of a user's NKey (SU…) or a whole .creds file"
)]
pub(crate) struct NotCredentials;

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Token(_) => "Token",
            Self::User(..) => "User",
            Self::Nkey(_) => "Nkey",
            Self::Creds(_) => "Creds",
        })
    }
}

impl Credentials {
    /// Tells by their form which they are.
    pub(crate) fn parse(secret: &[u8]) -> Result<Self, NotCredentials> {
        let text = std::str::from_utf8(secret).map_err(|_| NotCredentials)?.trim();
        if text.contains(CREDS) {
            // Its reader wants a whole last line.
            let whole = format!("{text}\n");
            let read = ConnectOptions::with_credentials(&whole);
            return read.map(|_| Self::Creds(whole)).map_err(|_| NotCredentials);
        }
        if text.is_empty() || text.contains(char::is_control) || text.starts_with("-----") {
            return Err(NotCredentials);
        }
        if is_seed(text) {
            return Ok(Self::Nkey(text.to_owned()));
        }
        Ok(match text.split_once(':') {
            Some((user, password)) => Self::User(user.to_owned(), password.to_owned()),
            None => Self::Token(text.to_owned()),
        })
    }

    /// A connection that uses them.
    pub(crate) fn options(&self) -> Result<ConnectOptions, NotCredentials> {
        Ok(match self {
            Self::Nothing => ConnectOptions::new(),
            Self::Token(token) => ConnectOptions::with_token(token.clone()),
            Self::User(user, password) => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            Self::Nkey(seed) => ConnectOptions::with_nkey(seed.clone()),
            Self::Creds(text) => ConnectOptions::with_credentials(text).map_err(|_| NotCredentials)?,
        })
    }
}

fn is_seed(text: &str) -> bool {
    let base32 = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
    text.len() == SEED_LENGTH && text.starts_with(SEED_PREFIX) && text.bytes().all(base32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_are_told_apart_by_their_form() {
        let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
        let creds = format!(
            "{CREDS}\neyJ0eXAi.eyJqdGki.c2ln\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let kind = |text: &str| Credentials::parse(text.as_bytes()).map(|read| format!("{read:?}"));
        for (text, expected) in [
            ("ledger:pass:word\n", "User"),
            ("t0k3n", "Token"),
            (seed, "Nkey"),
            (creds.as_str(), "Creds"),
        ] {
            assert_eq!(kind(text).as_deref(), Ok(expected), "{text}");
        }
        let first_line = creds.lines().next().unwrap();
        let other_key = creds.replace(seed, "SUAAAA");
        for bad in [
            "",
            " \n",
            "two\nlines",
            first_line,
            &other_key,
            "-----BEGIN X-----",
        ] {
            assert_eq!(kind(bad), Err(NotCredentials), "{bad}");
        }
        assert_eq!(Credentials::parse(&[0xff]).unwrap_err(), NotCredentials);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_credentials_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            text in "(-----BEGIN NATS USER JWT-----)?\\PC{0,80}",
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(read) = Credentials::parse(bytes) {
                    prop_assert!(read.options().is_ok());
                }
            }
        }
    }
}
