//! Initial access tokens (RFC 7591 §1.2): issued, listed and revoked by administrators.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::initial_access_token::{
    InitialAccessToken, InitialAccessTokenCommand, InitialAccessTokenIssued, RegistrationPermit,
};
use crate::domain::value::{Digest, is_plain_text};
use crate::ledger::{Context, LedgerError};

/// What secret scanners find it by.
pub const PREFIX: &str = "gli_";
/// The longest that one is good for, in seconds: a year.
const LONGEST: u32 = 366 * 86_400;
/// The most clients that may be registered with one.
const MOST_USES: u32 = 100_000;

/// A presented initial access token, taken apart. It proves nothing until its digest is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedInitialToken {
    /// Which one it says it is.
    pub id: Uuid,
    /// SHA-256 of its random part.
    pub digest: Digest,
}

impl PresentedInitialToken {
    /// Takes one apart; none where it has not the form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (id, random) = bytes.split_first_chunk::<16>()?;
        (random.len() == 32).then(|| Self {
            id: Uuid::from_bytes(*id),
            digest: Digest::of(random),
        })
    }
}

/// What a new initial access token is to be.
#[derive(Clone, Debug)]
pub struct NewInitialToken {
    /// What it is for.
    pub label: String,
    /// How many clients may be registered with it.
    pub uses: u32,
    /// Seconds that it is good for.
    pub lifetime: u32,
    /// What clients may be registered with it.
    pub permits: RegistrationPermit,
}

impl NewInitialToken {
    fn check(&self) -> Result<(), OperationError> {
        let invalid = |field, problem: &str| Err(OperationError::invalid(field, problem));
        if self.label.len() > 200 || !is_plain_text(&self.label) {
            return invalid("label", "it needs at most 200 characters of plain text");
        }
        if !(1..=MOST_USES).contains(&self.uses) {
            return invalid("uses", "it needs 1 to 100000");
        }
        if !(1..=LONGEST).contains(&self.lifetime) {
            return invalid("expires-in", "it needs 1 second to 366 days");
        }
        let mut grant_types = self.permits.grant_types.iter().flatten();
        if grant_types.any(|kind| *kind == GrantType::Password) {
            return invalid(
                "grant-type",
                "no client may register itself for the password grant",
            );
        }
        Ok(())
    }
}

/// Whether one is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "InitialAccessTokenStanding")]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is.
    Usable,
    /// As many clients as it allows were registered with it.
    Spent,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Standing {
    /// The word in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// One as administrators are shown it; the token itself is nowhere.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownInitialToken {
    /// The position of its issuance; the next page begins after it.
    pub position: i64,
    /// When it was issued.
    pub created_at: Timestamp,
    /// Its id.
    pub id: Uuid,
    /// Whether it is still good.
    pub standing: Standing,
    /// What it is for.
    pub label: String,
    /// How many clients may be registered with it.
    pub uses: u32,
    /// How many still may.
    pub uses_left: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What clients may be registered with it.
    #[schemars(with = "Map<String, Value>")]
    pub permits: RegistrationPermit,
}

fn standing(token: &InitialAccessToken, now: Timestamp) -> Standing {
    let expires_at = token.issued.as_ref().map(|issued| issued.expires_at);
    if token.revoked {
        Standing::Revoked
    } else if expires_at.is_none_or(|end| now >= end) {
        Standing::Expired
    } else if token.uses_left() == 0 {
        Standing::Spent
    } else {
        Standing::Usable
    }
}

impl Operations {
    /// Those that were issued after a position, in that order.
    pub async fn shown_initial_tokens(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ShownInitialToken>, LedgerError> {
        let now = self.ledger.clock().now();
        let listed = self.list::<InitialAccessToken>(after, limit).await?;
        let shown = listed.into_iter().filter_map(|one| {
            let issued = one.loaded.issued.clone()?;
            Some(ShownInitialToken {
                position: one.position,
                created_at: one.created_at,
                id: one.loaded.id,
                standing: standing(&one.loaded, now),
                label: issued.label,
                uses: issued.uses,
                uses_left: one.loaded.uses_left(),
                expires_at: issued.expires_at,
                permits: issued.permits,
            })
        });
        Ok(shown.collect())
    }

    /// Issues one; the token is shown this once.
    pub async fn issue_initial_token(
        &self,
        context: &Context,
        new: NewInitialToken,
    ) -> Result<(Uuid, String), OperationError> {
        new.check()?;
        let id = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let random: [u8; 32] = self.ledger.random().bytes().map_err(LedgerError::from)?;
        let command = InitialAccessTokenCommand::Issue(InitialAccessTokenIssued {
            digest: Digest::of(&random),
            label: new.label,
            uses: new.uses,
            expires_at: self.ledger.clock().now() + TimeDelta::seconds(new.lifetime.into()),
            permits: new.permits,
        });
        run!(self, context, InitialAccessToken, id, &command).outcome?;
        let bytes = [id.as_bytes().as_slice(), &random].concat();
        Ok((id, format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Lets nobody register with it any more.
    pub async fn revoke_initial_token(
        &self,
        context: &Context,
        id: Uuid,
        reason: &str,
    ) -> Result<(), OperationError> {
        let reason = reason.to_owned();
        let command = InitialAccessTokenCommand::Revoke { reason };
        Ok(run!(self, context, InitialAccessToken, id, &command).outcome?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_an_initial_access_token_or_refused(
            text in "\\PC{0,100}",
            encoded in "gli_[A-Za-z0-9_-]{60,68}",
            id: [u8; 16],
            random: [u8; 32],
        ) {
            let _ = PresentedInitialToken::parse(&text);
            let _ = PresentedInitialToken::parse(&encoded);
            let good = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&id[..], &random].concat()));
            let parsed = PresentedInitialToken::parse(&good).unwrap();
            prop_assert_eq!((parsed.id, parsed.digest), (Uuid::from_bytes(id), Digest::of(&random)));
        }
    }
}
