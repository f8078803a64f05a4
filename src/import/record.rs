//! What a source's rows are read into, the same for every source.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::report::Remark;
use crate::clock::Timestamp;
use crate::crypto::password::{MAX_BCRYPT_COST, bcrypt_cost, is_argon2};
use crate::domain::client::GrantType;
use crate::domain::value::Digest;

/// Where a row stands, for the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) row: u64,
    pub(super) id: String,
}

impl Place {
    pub(super) fn remark(&self, table: &'static str, reason: impl Into<String>) -> Remark {
        Remark {
            table,
            row: self.row,
            id: self.id.clone(),
            reason: reason.into(),
        }
    }
}

/// A row that is left out, and why.
pub(super) type Read<T> = Result<T, (Place, String)>;

/// A client of the other server.
#[derive(Debug)]
pub(super) struct ClientRow {
    pub(super) place: Place,
    /// Its key in the other server's tables.
    pub(super) id: String,
    /// Its name on the wire.
    pub(super) client_id: String,
    pub(super) name: String,
    pub(super) secret: ClientSecret,
    pub(super) redirect_uris: Vec<String>,
    /// None: what its tokens show, or what its kind may do.
    pub(super) grant_types: Vec<GrantType>,
    /// How grants begin whose row does not say.
    pub(super) flow: GrantType,
    pub(super) owner: Option<String>,
    pub(super) is_live: bool,
    /// `home_page_url`, `logo_url`, `privacy_policy_url`.
    pub(super) pages: [Option<String>; 3],
    pub(super) notes: Vec<String>,
}

/// How a client authenticated.
pub(super) enum ClientSecret {
    None,
    Plain(String),
    Sha256(Digest),
    Argon2(String),
    Bcrypt(String),
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// How client secrets are stored in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SecretForm {
    /// bcrypt and argon2 hashes and 64 hexadecimal digits are hashes, the rest is plain
    Auto,
    /// All are plain, except bcrypt and argon2 hashes
    Plain,
    /// All are SHA-256 in hexadecimal, except bcrypt and argon2 hashes
    Sha256,
}

impl ClientSecret {
    /// Reads a stored secret.
    pub(super) fn read(stored: Option<&str>, form: SecretForm) -> Result<Self, String> {
        let Some(stored) = stored else {
            return Ok(Self::None);
        };
        if let Some(cost) = bcrypt_cost(stored) {
            if cost > MAX_BCRYPT_COST {
                return Err(format!("its secret's bcrypt cost is above {MAX_BCRYPT_COST}"));
            }
            return Ok(Self::Bcrypt(stored.to_owned()));
        }
        if stored.starts_with("$argon2") {
            if is_argon2(stored) {
                return Ok(Self::Argon2(stored.to_owned()));
            }
            return Err("its secret's argon2 hash is malformed or too costly".to_owned());
        }
        let digest = Digest::from_hex(&stored.to_ascii_lowercase());
        match (form, digest) {
            (SecretForm::Auto | SecretForm::Sha256, Some(digest)) => Ok(Self::Sha256(digest)),
            (SecretForm::Sha256, None) => Err("its secret is no SHA-256 in hexadecimal".to_owned()),
            (SecretForm::Auto | SecretForm::Plain, _) => {
                let printable = stored.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
                if !printable || stored.len() > 1024 {
                    return Err("its secret has characters that RFC 6749 does not allow".to_owned());
                }
                Ok(Self::Plain(stored.to_owned()))
            }
        }
    }
}

/// A resource owner of the other server.
pub(super) struct UserRow {
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) username: String,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) password: UserPassword,
    pub(super) notes: Vec<String>,
}

/// How a user's password is stored.
pub(super) enum UserPassword {
    None,
    /// bcrypt, or argon2 in PHC form.
    Hash(String),
    Plain(String),
}

impl UserPassword {
    /// Reads a stored password; what cannot be used is left out, and said.
    pub(super) fn read(stored: Option<&str>, plain: bool, notes: &mut Vec<String>) -> Self {
        let Some(stored) = stored else {
            return Self::None;
        };
        let usable = bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST) || is_argon2(stored);
        if usable {
            return Self::Hash(stored.to_owned());
        }
        if plain && !stored.starts_with('$') {
            return Self::Plain(stored.to_owned());
        }
        notes.push(
            "without its password, which is neither bcrypt nor argon2 of a bearable cost: set a new one"
                .to_owned(),
        );
        Self::None
    }
}

/// A refresh token of the other server, and what it stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TokenRow {
    pub(super) place: Place,
    /// SHA-256 of the token's value, or of the id inside it.
    pub(super) digest: Digest,
    /// The client's key in the other server's tables.
    pub(super) client: String,
    pub(super) user: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) audience: Vec<String>,
    pub(super) flow: Option<GrantType>,
    pub(super) expires_at: Timestamp,
}

/// What a client's tokens show of its use, by the client's key in the other server's tables.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) scopes: BTreeMap<String, BTreeSet<String>>,
    pub(super) grant_types: BTreeMap<String, BTreeSet<GrantType>>,
    /// The audiences that its refresh tokens name.
    pub(super) audiences: BTreeMap<String, BTreeSet<String>>,
}

impl Usage {
    /// The most scopes that one client's tokens may show.
    const MOST: usize = 64;

    pub(super) fn scopes_of(&mut self, client: &str, scopes: &[String]) {
        if !self.scopes.contains_key(client) {
            self.scopes.insert(client.to_owned(), BTreeSet::new());
        }
        if let Some(known) = self.scopes.get_mut(client) {
            for scope in scopes.iter().filter(|scope| scope.as_str() != "*") {
                if !known.contains(scope) && known.len() < Self::MOST {
                    known.insert(scope.clone());
                }
            }
        }
    }

    pub(super) fn audience_of(&mut self, client: &str, audience: Vec<String>) {
        if audience.is_empty() {
            return;
        }
        let known = self.audiences.entry(client.to_owned()).or_default();
        for one in audience {
            if known.len() < Self::MOST {
                known.insert(one);
            }
        }
    }

    pub(super) fn grant_type_of(&mut self, client: &str, grant_type: Option<GrantType>) {
        if let Some(grant_type) = grant_type {
            self.grant_types
                .entry(client.to_owned())
                .or_default()
                .insert(grant_type);
        }
    }
}

/// The id here of something that has an id there: the same UUID where it is one in its usual spelling, else one
/// derived from the import's name, the kind and the id, so that every run comes to the same.
#[must_use]
pub(super) fn id_here(source: &str, kind: &str, id: &str) -> Uuid {
    if let Ok(uuid) = Uuid::try_parse(id)
        && uuid.to_string() == id
        && !uuid.is_nil()
    {
        return uuid;
    }
    let Digest(digest) = Digest::of(format!("grantlog import\0{source}\0{kind}\0{id}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A token's id, as far as a report may show it.
#[must_use]
pub(super) fn shortened(id: &str) -> String {
    let short: String = id.chars().take(8).collect();
    if short.len() < id.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// The grant type with that wire name, where it is one of ours.
#[must_use]
pub(super) fn grant_type(name: &str) -> Option<GrantType> {
    [
        GrantType::AuthorizationCode,
        GrantType::RefreshToken,
        GrantType::ClientCredentials,
        GrantType::Password,
    ]
    .into_iter()
    .find(|known| known.name() == name)
}
