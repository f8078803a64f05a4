//! A user's name, e-mail address and further claims of OpenID Connect: what they may be, and how they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::user::{EMAIL, Profile, place};
use super::{OperationError, Operations};
use crate::crypto::CryptoError;
use crate::crypto::vault::{DataKey, KeyOwner};
use crate::domain::claim_value::{self, UnfitClaim};
use crate::domain::openid::Claim;
use crate::domain::user::{Account, ClaimsUpdated, ProfileUpdated, User, UserCommand, UserRefusal};
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError, UnitOfWork};

/// What changes of a user's claims; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfilePatch {
    /// The display name.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Further claims, as they are stored; none for one that is removed.
    pub claims: BTreeMap<Claim, Option<String>>,
}

impl ProfilePatch {
    /// Reads a JSON merge patch (RFC 7396) of claims: null removes one.
    pub fn read(members: Map<String, Value>) -> Result<Self, OperationError> {
        let mut patch = Self::default();
        for (name, value) in members {
            let Some(claim) = Claim::named(&name) else {
                let known: Vec<&str> = Claim::ALL.into_iter().map(Claim::name).collect();
                let problem = format!("{name} is none of {}", known.join(", "));
                return Err(OperationError::invalid("claims", problem));
            };
            let unfit = |unfit: UnfitClaim| OperationError::invalid(claim.name(), unfit.to_string());
            match (claim, value) {
                (Claim::Name, value) => patch.name = Some(text(claim, value)?),
                (Claim::Email, value) => patch.email = Some(text(claim, value)?),
                (claim, Value::Null) if !matches!(claim, Claim::PreferredUsername | Claim::UpdatedAt) => {
                    patch.claims.insert(claim, None);
                }
                (claim, value) => {
                    let stored = claim_value::store(claim, &value).map_err(unfit)?;
                    patch.claims.insert(claim, Some(stored));
                }
            }
        }
        Ok(patch)
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn text(claim: Claim, value: Value) -> Result<String, OperationError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Err(OperationError::invalid(claim.name(), "it cannot be removed")),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(
            OperationError::invalid(claim.name(), UnfitClaim::NotText.to_string()),
        ),
    }
}

pub(super) fn check_email(email: &str) -> Result<(), OperationError> {
    if !claim_value::is_addr_spec(email) {
        return Err(OperationError::invalid(
            "email",
            "it is not an e-mail address such as ada@example.com, of at most 254 bytes",
        ));
    }
    Ok(())
}

pub(super) fn check_name(name: &str) -> Result<(), OperationError> {
    if name.len() > 256 || !crate::domain::value::is_plain_text(name) {
        return Err(OperationError::invalid(
            "name",
            "it is longer than 256 bytes, or has a character that controls the text's direction or the terminal",
        ));
    }
    Ok(())
}

impl Operations {
    /// Changes name, e-mail address and further claims at once.
    pub async fn update_user(
        &self,
        context: &Context,
        subject: SubjectId,
        patch: &ProfilePatch,
    ) -> Result<(), OperationError> {
        patch.email.as_deref().map_or(Ok(()), check_email)?;
        patch.name.as_deref().map_or(Ok(()), check_name)?;
        // No key is made: an erased or unknown subject gets no new one.
        let vault = self.ledger.vault();
        let key = vault.find(&KeyOwner::subject(subject)).await;
        let key = key.map_err(LedgerError::from)?.ok_or(UserRefusal::Unknown)?;
        let claims = self.seal_claims((subject, &key), patch)?;
        let seal = |field: &'static str, value: &Option<String>| -> Result<_, CryptoError> {
            let value = value.as_deref();
            value
                .map(|value| key.seal(vault.random(), &place(subject, field), value))
                .transpose()
        };
        let profile = ProfileUpdated {
            name: seal("name", &patch.name).map_err(LedgerError::from)?,
            email: seal("email", &patch.email).map_err(LedgerError::from)?,
        };
        let profile = (profile.name.is_some() || profile.email.is_some()).then_some(profile);
        let command = UserCommand::Amend(profile, claims);
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let user = unit.load::<User>(subject.0).await?;
            if let (Some(account), Some(email)) = (&user.account, &patch.email) {
                self.rename(&mut unit, (subject, account), email).await?;
            }
            if let Some(concluded) = unit.conclude(&user, user.decide(&command)).await? {
                return Ok(concluded.outcome?);
            }
        }
    }

    /// Gives the old e-mail address up and claims the new one, which must be nobody else's.
    async fn rename(
        &self,
        unit: &mut UnitOfWork<'_>,
        (subject, account): (SubjectId, &Account),
        email: &str,
    ) -> Result<(), LedgerError> {
        let before = self.profile(subject, account).await?;
        let before = before
            .and_then(|Profile { email, .. }| email)
            .map(|email| email.to_lowercase());
        let email = email.to_lowercase();
        if before.as_ref() != Some(&email) {
            if let Some(before) = before {
                unit.release::<User>(EMAIL, &before, subject.0);
            }
            unit.claim::<User>(EMAIL, &email, subject.0);
        }
        Ok(())
    }

    /// The event of the claims that change, each sealed for its own name.
    pub(super) fn seal_claims(
        &self,
        (subject, key): (SubjectId, &Arc<DataKey>),
        patch: &ProfilePatch,
    ) -> Result<ClaimsUpdated, LedgerError> {
        let random = self.ledger.random();
        let mut claims = BTreeMap::new();
        let mut removed = Vec::new();
        for (claim, value) in &patch.claims {
            match value {
                None => removed.push(*claim),
                Some(value) => {
                    let sealed = key.seal(random, &place(subject, claim.name()), value)?;
                    claims.insert(*claim, sealed);
                }
            }
        }
        let at = self.ledger.clock().now();
        Ok(ClaimsUpdated { claims, removed, at })
    }
}
