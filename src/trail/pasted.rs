//! From what somebody pasted, a grant's id or a credential of it, to the grant. Nothing of a credential is kept but its
//! digest, for as long as it takes to compare it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::credential::{self, Kind, Presented};
use crate::crypto::master::AddressKey;
use crate::crypto::password::PasswordError;
use crate::domain::LedgerEvent;
use crate::domain::grant::{DeviceStage, Grant, GrantEvent};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ids::GrantId;
use crate::import::key;
use crate::import::token::{self, Content, OldToken};
use crate::ledger::{Aggregates, LedgerError, StoredEvent};
use crate::operations::Operations;
use crate::standing::{FailedCheck, GrantStanding, GrantState, login_over};

/// A grant that was named, by its id or by a credential.
#[derive(Clone, Copy, Debug)]
pub struct Pasted {
    /// The grant.
    pub grant: GrantId,
    /// The credential that it was named by.
    pub credential: Option<(Kind, Presented)>,
}

/// Why nothing was found. What was pasted is not repeated: it may be good.
#[derive(Debug, thiserror::Error)]
pub enum PastedError {
    /// It has the form of nothing that leads to a grant.
    #[error(
        "this is neither a grant's id nor a credential of this server (an authorization code, refresh token \
         or access token), nor an old refresh token that was imported (old access tokens never are)"
    )]
    Unknown,
    /// An encrypted old token, and no key for it.
    #[error(
        "this looks like a refresh token of Laravel Passport, but no Passport key is stored to open it with"
    )]
    NoPassportKey,
    /// An encrypted old token under another key.
    #[error("this looks like a refresh token of Laravel Passport, but not under the key that is stored")]
    OtherPassportKey,
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Opening an old token was not possible now.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// What a pasted credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Recognised {
    /// Its kind, in words.
    pub kind: &'static str,
    /// The sequence of the event that it says it was issued by.
    pub issued_at_sequence: u32,
    /// Whether that event did issue it.
    pub authentic: bool,
    /// When it ends; none where it is not authentic.
    pub expires_at: Option<Timestamp>,
    /// Whether it could be used, unless it has expired.
    pub usable_unless_expired: bool,
    /// Whether it could be used.
    pub usable: bool,
    /// What an authentic one fails at that cannot be used.
    pub failed: Option<FailedCheck>,
}

impl Pasted {
    /// The grant that a text leads to.
    pub async fn find(operations: &Operations, text: &str) -> Result<Self, PastedError> {
        let text = text.trim();
        let named = Uuid::try_parse(text).ok().map(GrantId);
        if let Some(grant) = named
            && !operations.grant_events(grant).await?.is_empty()
        {
            return Ok(Self::named(grant));
        }
        let parsed = parse(operations.ledger.vault().master().address_key(), text);
        let parsed = match parsed {
            None => old_token(operations, text).await?,
            parsed => parsed,
        };
        match (parsed, named) {
            (Some((kind, presented)), _) => Ok(Self {
                grant: presented.address.grant,
                credential: Some((kind, presented)),
            }),
            (None, Some(grant)) => Ok(Self::named(grant)),
            (None, None) => Err(PastedError::Unknown),
        }
    }

    /// A grant that was named by its id.
    #[must_use]
    pub fn named(grant: GrantId) -> Self {
        Self {
            grant,
            credential: None,
        }
    }

    /// What the pasted credential is, as of these events of its grant and the state that they come to, with what that rests
    /// on.
    pub async fn recognise(
        &self,
        events: &[StoredEvent],
        grant: &Grant,
        seen: &mut impl Aggregates,
    ) -> Result<Option<Recognised>, LedgerError> {
        let Some((kind, presented)) = &self.credential else {
            return Ok(None);
        };
        let sequence = presented.address.sequence;
        let issuing = events.iter().find(|event| event.sequence == i64::from(sequence));
        let event = issuing.map(decode).transpose()?;
        let issued = event
            .and_then(|event| issued(*kind, &event))
            .filter(|(digest, _)| digest.matches(&presented.digest));
        let expires_at = issued.map(|(_, expires_at)| expires_at);
        let failed = failed(*kind, sequence, grant, seen).await?;
        let usable_unless_expired = issued.is_some() && failed.is_none();
        let failed = failed.or_else(|| {
            let expired = expires_at.is_some_and(|end| seen.at() >= end);
            expired.then(|| expired_as(*kind).into())
        });
        Ok(Some(Recognised {
            kind: match kind {
                Kind::Code => "authorization code",
                Kind::Device => "device code",
                Kind::Refresh => "refresh token",
                Kind::Access | Kind::TokenId => "access token",
            },
            issued_at_sequence: sequence,
            authentic: issued.is_some(),
            expires_at,
            usable_unless_expired,
            usable: issued.is_some() && failed.is_none(),
            failed: failed.filter(|_| issued.is_some()),
        }))
    }
}

/// What was good for one use, and has had it.
const USED: FailedCheck = FailedCheck {
    reason: "used",
    check: "It was used; to use it again would end the whole grant.",
};

/// What a credential fails at, its own expiry apart.
async fn failed(
    kind: Kind,
    sequence: u32,
    grant: &Grant,
    seen: &mut impl Aggregates,
) -> Result<Option<FailedCheck>, LedgerError> {
    let Some(family) = grant.family.as_deref() else {
        return Ok(Some(RefusalReason::UnknownCredential.into()));
    };
    let standing = GrantStanding::of(seen, family).await?;
    if standing.state == GrantState::Revoked {
        return Ok(standing.failed);
    }
    if let Some(spent) = spent(kind, sequence, grant) {
        return Ok(Some(spent));
    }
    if standing.failed.is_none()
        && matches!(kind, Kind::Code | Kind::Device)
        && login_over(seen, Some(family)).await?
    {
        return Ok(Some(RefusalReason::SessionEnded.into()));
    }
    Ok(standing.failed)
}

/// What a credential fails at as far as its grant alone says.
fn spent(kind: Kind, sequence: u32, grant: &Grant) -> Option<FailedCheck> {
    let family = grant.family.as_deref()?;
    match kind {
        Kind::Code => family.code.as_ref().filter(|code| code.redeemed).map(|_| USED),
        Kind::Device => match family.device.as_ref()?.stage {
            DeviceStage::Denied => Some(RefusalReason::UserDenied.into()),
            DeviceStage::Redeemed => Some(USED),
            DeviceStage::Pending | DeviceStage::Approved => None,
        },
        Kind::Refresh => {
            let current = family.refresh.as_ref().map(|refresh| refresh.current.sequence);
            (current != Some(sequence)).then_some(USED)
        }
        Kind::Access | Kind::TokenId => grant
            .access_at(sequence)
            .is_none()
            .then(|| RefusalReason::TokenRevoked.into()),
    }
}

fn expired_as(kind: Kind) -> RefusalReason {
    match kind {
        Kind::Code => RefusalReason::CodeExpired,
        Kind::Device => RefusalReason::DeviceCodeExpired,
        Kind::Refresh => RefusalReason::RefreshExpired,
        Kind::Access | Kind::TokenId => RefusalReason::TokenExpired,
    }
}

/// A code, a refresh token, an opaque access token, or a JWT by its `jti`, whose signature is not asked for: the digest
/// will tell.
fn parse(key: &AddressKey, text: &str) -> Option<(Kind, Presented)> {
    for kind in [Kind::Code, Kind::Device, Kind::Refresh, Kind::Access] {
        if let Some(presented) = credential::parse(kind, key, text) {
            return Some((kind, presented));
        }
    }
    let claims = text.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let jti = claims.get("jti")?.as_str()?;
    Some((Kind::TokenId, credential::parse(Kind::TokenId, key, jti)?))
}

/// An imported refresh token of the server before.
async fn old_token(operations: &Operations, text: &str) -> Result<Option<(Kind, Presented)>, PastedError> {
    let digest = match OldToken::parse(text) {
        None => return Ok(None),
        Some(OldToken::Opaque(digest)) => digest,
        Some(OldToken::Encrypted(message)) => {
            let secret = key::load(&operations.ledger).await?;
            let secret = secret.ok_or(PastedError::NoPassportKey)?;
            let opened = operations.hasher.run(move || Content::open(&secret, &message));
            opened.await?.ok_or(PastedError::OtherPassportKey)?.digest()
        }
    };
    let found = token::find(&operations.ledger, digest).await?;
    Ok(found.map(|presented| (Kind::Refresh, presented)))
}

/// An event of a grant.
pub(crate) fn decode(event: &StoredEvent) -> Result<GrantEvent, LedgerError> {
    Ok(GrantEvent::decode(
        &event.event_type,
        event.event_version,
        &event.payload,
    )?)
}

/// The digest of the credential of that kind that an event issued, and when it ends.
fn issued(kind: Kind, event: &GrantEvent) -> Option<(Digest, Timestamp)> {
    let (code, access, refresh) = match event {
        GrantEvent::CodeIssued(event) => (Some((event.digest, event.expires_at)), None, None),
        GrantEvent::DeviceAuthorizationRequested(event) => {
            (Some((event.digest, event.expires_at)), None, None)
        }
        GrantEvent::TokenIssued(event) => (None, Some(event.access), event.refresh),
        GrantEvent::GrantImported(event) => (None, None, Some(event.refresh)),
        GrantEvent::RefreshRotated(event) => (None, Some(event.access), Some(event.refresh)),
        GrantEvent::AccessTokenRefreshed(event) => (None, Some(event.access), None),
        GrantEvent::RefreshRetried(event) => (None, Some(event.access), Some(event.refresh)),
        GrantEvent::CodeRedeemed(_)
        | GrantEvent::TokenExchanged(_)
        | GrantEvent::AssertionAccepted(_)
        | GrantEvent::CodeReplayed(_)
        | GrantEvent::DeviceAuthorizationApproved(_)
        | GrantEvent::DeviceAuthorizationDenied(_)
        | GrantEvent::DeviceCodeRedeemed(_)
        | GrantEvent::DeviceCodeReplayed(_)
        | GrantEvent::RefreshReplayed(_)
        | GrantEvent::GrantReplaced(_)
        | GrantEvent::TokenRevoked(_) => (None, None, None),
    };
    match kind {
        Kind::Code | Kind::Device => code,
        Kind::Refresh => refresh.map(|token| (token.digest, token.expires_at)),
        Kind::Access | Kind::TokenId => access.map(|token| (token.digest, token.expires_at)),
    }
}
