//! `grant_management_action` and `grant_id` of an authorization request (Grant Management for OAuth 2.0 §5).

use std::collections::BTreeSet;

use super::error::{AuthorizeError, invalid_request};
use super::parameters::Parameters;
use crate::app::App;
use crate::domain::authorization_detail::{Detail, covers};
use crate::domain::grant::Management;
use crate::domain::openid::{Claim, IndividualClaims};
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::Scope;
use crate::domain::value::ScopeSet;
use crate::http::error::Rejection;
use crate::http::oauth::authorization_details::{self, Asked};
use crate::http::oauth::grant_management::Managed;
use crate::http::page::Lost;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{LedgerError, UnitOfWork};

/// What was granted under the id that a request is to be known by.
pub(super) struct Predecessor {
    /// Whose it is.
    pub(super) owner: SubjectId,
    /// Of its scope, what its client can use now.
    scope: ScopeSet,
    /// The same of the claims that were consented to one by one.
    claims: BTreeSet<Claim>,
    /// The same of its authorization details.
    details: Vec<Detail>,
}

impl Predecessor {
    /// What of it a request does not ask for again.
    pub(super) async fn lost(
        &self,
        app: &App,
        unit: &mut UnitOfWork<'_>,
        (scope, claims, details): (&ScopeSet, &BTreeSet<Claim>, &[Asked]),
    ) -> Result<Lost, LedgerError> {
        let mut lost = Lost::default();
        for name in self.scope.iter().filter(|name| !scope.contains(name)) {
            lost.scopes
                .extend(unit.load::<Scope>(Scope::id(name)).await?.grantable().cloned());
        }
        let stays = |claim: &Claim| claims.contains(claim) || scope.contains(claim.scope());
        lost.claims = self
            .claims
            .iter()
            .filter(|claim| !stays(claim))
            .copied()
            .collect();
        let asked = authorization_details::details(details);
        let is_lost = |detail: &&Detail| !covers(&asked, std::slice::from_ref(*detail));
        let gone: Vec<Detail> = self.details.iter().filter(is_lost).cloned().collect();
        lost.details = app.operations.show_details(&gone).await?;
        Ok(lost)
    }
}

/// What is to become of the grant; and what it replaces.
pub(super) async fn read(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
    client: ClientKey,
) -> Result<(Option<Management>, Option<Predecessor>), Rejection<AuthorizeError>> {
    let invalid = |what| Err(invalid_request(what, RefusalReason::GrantActionInvalid));
    match (
        parameters.get("grant_management_action"),
        parameters.get("grant_id"),
    ) {
        (None, None) if app.settings.grant_management_action_required => {
            let what = "The grant_management_action is missing, which this server requires.";
            Err(invalid_request(what, RefusalReason::GrantActionMissing))
        }
        (None, None) => Ok((None, None)),
        (None, Some(_)) => invalid("There is a grant_id without a grant_management_action."),
        (Some("create"), None) => Ok((Some(Management::Create), None)),
        (Some("create"), Some(_)) => invalid("A grant that is created has no grant_id yet."),
        (Some("replace"), None) => invalid("The grant_id of the grant that is to be replaced is missing."),
        (Some("replace"), Some(text)) => {
            let id = GrantId::parse(text).ok_or_else(invalid_grant_id)?;
            let managed = Managed::load(unit, id).await?;
            let managed = managed.filter(|managed| managed.client() == Some(client));
            let managed = managed.ok_or_else(invalid_grant_id)?;
            let family = managed.live(unit).await?.ok_or_else(invalid_grant_id)?;
            let predecessor = Predecessor {
                owner: family.subject.ok_or_else(invalid_grant_id)?,
                claims: family
                    .individual_claims()
                    .map(IndividualClaims::all)
                    .unwrap_or_default(),
                details: managed.details(app, unit, &family).await?,
                scope: family.scope,
            };
            Ok((Some(Management::Replace { grant: id }), Some(predecessor)))
        }
        (Some(_), _) => invalid("The grant_management_action is neither create nor replace."),
    }
}

fn invalid_grant_id() -> Rejection<AuthorizeError> {
    Rejection::new(AuthorizeError::InvalidGrantId, RefusalReason::GrantIdInvalid)
}
