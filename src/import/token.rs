//! An old refresh token as somebody presents it: what its grant is found by.

use serde::Deserialize;

use super::{IMPORTED_REFRESH, LONGEST_TOKEN, SHORTEST_TOKEN};
use crate::credential::{Address, Kind, Presented};
use crate::crypto::defuse::{Message, Secret};
use crate::domain::value::Digest;
use crate::ids::GrantId;
use crate::ledger::{Ledger, LedgerError};

/// The form of an old refresh token.
pub enum OldToken {
    /// An opaque value: itself what was digested at the import.
    Opaque(Digest),
    /// Encrypted by Passport: what was digested lies within.
    Encrypted(Message),
}

impl OldToken {
    /// The form of a presented text; none where it can be no old token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(Kind::Refresh.prefix()) {
            return None;
        }
        if let Some(message) = Message::parse(text) {
            return Some(Self::Encrypted(message));
        }
        let fits = (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&text.len());
        fits.then(|| Self::Opaque(Digest::of(text.as_bytes())))
    }
}

/// What League's authorization server puts into a refresh token, as far as it matters here.
#[derive(Deserialize)]
pub struct Content {
    client_id: Id,
    refresh_token_id: String,
    expire_time: i64,
}

/// Passport's client ids were numbers once.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl Content {
    /// Opens an encrypted token; none where it was not encrypted under this key. May cost a PBKDF2.
    #[must_use]
    pub fn open(secret: &Secret, message: &Message) -> Option<Self> {
        let plain = secret.decrypt(message).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    /// Whether it was issued to the client of that name.
    #[must_use]
    pub fn is_of(&self, client_id: &str) -> bool {
        match &self.client_id {
            Id::Text(text) => text == client_id,
            Id::Number(number) => number.to_string() == client_id,
        }
    }

    /// When it ends, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.expire_time
    }

    /// What was digested at the import.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.refresh_token_id.as_bytes())
    }
}

/// The imported grant of an old token; none where there is none.
pub async fn find(ledger: &Ledger, digest: Digest) -> Result<Option<Presented>, LedgerError> {
    let grant = ledger.find_name(IMPORTED_REFRESH, &digest.to_string()).await?;
    Ok(grant.map(|grant| Presented {
        address: Address {
            grant: GrantId(grant),
            sequence: 1,
        },
        digest,
    }))
}
