//! Types of authorization details (RFC 9396) as administrators define them, and details as the ledger keeps them: sealed,
//! since they may be personal.

use std::sync::Arc;

use super::{OperationError, Operations, run};
use crate::crypto::CryptoError;
use crate::crypto::vault::{DataKey, KeyOwner, Place};
use crate::domain::authorization_detail::{
    AuthorizationDetailType, AuthorizationDetailTypeCommand, Detail, DetailTypeDefinition, ShownDetail,
    covers,
};
use crate::domain::consent::Consent;
use crate::domain::grant::Family;
use crate::domain::value::Sealed;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Context, LedgerError};

/// The member of the events.
const FIELD: &str = "authorization_details";
/// Types are few: all are read at once.
const MOST: u32 = 10_000;

/// Where a grant's details stand, whichever of its events has them: a sealed value is good at one grant.
fn of_grant(grant: GrantId) -> Place<'static> {
    Place {
        aggregate_type: "grant",
        aggregate_id: grant.0,
        event_type: "*",
        field: FIELD,
    }
}

/// Where details stand that were consented to.
fn of_consent(subject: SubjectId, client: ClientKey) -> Place<'static> {
    Place {
        aggregate_type: "consent",
        aggregate_id: Consent::id(subject, client),
        event_type: "ConsentGiven",
        field: FIELD,
    }
}

/// Whose key seals details: the user's, or the client's where there is no user (yet).
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// A user.
    Subject(SubjectId),
    /// A client that acts for itself, or waits for a user.
    Client(ClientKey),
}

impl Holder {
    fn of(family: &Family) -> Self {
        family.subject.map_or(Self::Client(family.client), Self::Subject)
    }

    fn owner(self) -> KeyOwner {
        match self {
            Self::Subject(subject) => KeyOwner::subject(subject),
            Self::Client(client) => KeyOwner::client(client),
        }
    }
}

impl Operations {
    /// Defines, changes or retires a type.
    pub async fn command_authorization_detail_type(
        &self,
        context: &Context,
        name: &str,
        command: &AuthorizationDetailTypeCommand,
    ) -> Result<(), OperationError> {
        let id = AuthorizationDetailType::id(name);
        Ok(run!(self, context, AuthorizationDetailType, id, command).outcome?)
    }

    /// The type of that name, where its details may be granted.
    pub async fn authorization_detail_type(
        &self,
        name: &str,
    ) -> Result<Option<DetailTypeDefinition>, LedgerError> {
        let known = self
            .load::<AuthorizationDetailType>(AuthorizationDetailType::id(name))
            .await?;
        Ok(known.grantable().cloned())
    }

    /// Whether these types exist.
    pub(super) async fn check_detail_types(&self, types: &[String]) -> Result<(), OperationError> {
        for name in types {
            if self.authorization_detail_type(name).await?.is_none() {
                let problem = format!("the type {name} is not defined");
                return Err(OperationError::invalid("authorization_details_types", problem));
            }
        }
        Ok(())
    }

    /// The names of all types whose details may be granted, sorted.
    pub async fn authorization_detail_types(&self) -> Result<Vec<String>, LedgerError> {
        let types = self.list::<AuthorizationDetailType>(0, MOST).await?;
        let mut grantable: Vec<String> = types
            .iter()
            .filter_map(|listed| listed.loaded.grantable())
            .map(|known| known.name.clone())
            .collect();
        grantable.sort();
        Ok(grantable)
    }

    async fn key_of(&self, holder: Holder) -> Result<Arc<DataKey>, LedgerError> {
        let vault = self.ledger.vault();
        Ok(match holder {
            // No key is made: an erased subject gets no new one.
            Holder::Subject(_) => vault.find(&holder.owner()).await?.ok_or(CryptoError)?,
            Holder::Client(_) => vault.find_or_create(&holder.owner()).await?,
        })
    }

    /// Details as an event of a grant has them; none where there are none.
    pub async fn seal_details(
        &self,
        grant: GrantId,
        holder: Holder,
        details: &[Detail],
    ) -> Result<Option<Sealed>, LedgerError> {
        self.seal_at(&of_grant(grant), holder, details).await
    }

    /// Of details that a user allows a client: those that are not remembered as allowed, for the consent's event.
    pub async fn seal_unconsented(
        &self,
        (subject, client): (SubjectId, ClientKey),
        consent: &Consent,
        details: &[Detail],
    ) -> Result<Option<Sealed>, LedgerError> {
        if details.is_empty() {
            return Ok(None);
        }
        let known = self.consented_details(subject, client, consent).await?;
        let is_new = |detail: &&Detail| !covers(&known, std::slice::from_ref(*detail));
        let new: Vec<Detail> = details.iter().filter(is_new).cloned().collect();
        let place = of_consent(subject, client);
        self.seal_at(&place, Holder::Subject(subject), &new).await
    }

    async fn seal_at(
        &self,
        place: &Place<'_>,
        holder: Holder,
        details: &[Detail],
    ) -> Result<Option<Sealed>, LedgerError> {
        if details.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string(details).map_err(|_| CryptoError)?;
        let key = self.key_of(holder).await?;
        Ok(Some(key.seal(self.ledger.random(), place, &text)?))
    }

    /// The details of a grant; nothing where it has none, or its user was erased.
    pub async fn details_of(&self, grant: GrantId, family: &Family) -> Result<Vec<Detail>, LedgerError> {
        let Some(sealed) = &family.authorization_details else {
            return Ok(Vec::new());
        };
        let key = self.ledger.vault().find(&Holder::of(family).owner()).await?;
        key.map_or_else(|| Ok(Vec::new()), |key| open(&key, &of_grant(grant), sealed))
    }

    /// The details that a user is remembered to have allowed a client, the latest last.
    pub async fn consented_details(
        &self,
        subject: SubjectId,
        client: ClientKey,
        consent: &Consent,
    ) -> Result<Vec<Detail>, LedgerError> {
        if consent.authorization_details.is_empty() {
            return Ok(Vec::new());
        }
        let place = of_consent(subject, client);
        let key = self.ledger.vault().find(&KeyOwner::subject(subject)).await?;
        let Some(key) = key else { return Ok(Vec::new()) };
        let mut details = Vec::new();
        for sealed in &consent.authorization_details {
            details.extend(open(&key, &place, sealed)?);
        }
        Ok(details)
    }

    /// Details in words. Those of types that are gone show their members.
    pub async fn show_details(&self, details: &[Detail]) -> Result<Vec<ShownDetail>, LedgerError> {
        let mut shown = Vec::with_capacity(details.len());
        for detail in details {
            let known = self.authorization_detail_type(detail.type_name()).await?;
            shown.push(ShownDetail::of(detail, known.as_ref().map(|known| &known.terms)));
        }
        Ok(shown)
    }
}

fn open(key: &DataKey, place: &Place<'_>, sealed: &Sealed) -> Result<Vec<Detail>, LedgerError> {
    let text = key.open(place, sealed)?;
    Ok(serde_json::from_str(&text).map_err(|_| CryptoError)?)
}
