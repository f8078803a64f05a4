//! What grants without a login of their own rest on, at this moment: the tokens that were exchanged for them (RFC 8693),
//! or the trust in the issuer of an assertion (RFC 7523 §2.1). Whatever is loaded here is a precondition of the append,
//! or is compared with the database before an answer: a token ends with what it rests on, on all nodes at once.

use super::{Checked, carries_alone, signer_stands};
use crate::domain::client::Registration;
use crate::domain::grant::{Basis, Circumstances, Family, Grant, Lineage, TokenRef};
use crate::domain::refusal::RefusalReason;
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::domain::value::ScopeSet;
use crate::ledger::{Aggregates, LedgerError};

/// Whether the rule or the trust that the grant came of still holds, for its audience; its scope goes no further than
/// that.
pub(super) async fn is_allowed(
    unit: &mut impl Aggregates,
    (family, client): (&Family, &Registration),
    circumstances: &mut Circumstances,
) -> Checked<()> {
    let trusted;
    let (widest, otherwise) = match family.basis.as_deref() {
        None => return Ok(Ok(())),
        Some(Basis::Tokens(lineage)) => (
            lineage
                .subjects
                .first()
                .and_then(|subject| client.exchange_rule(subject.client, lineage.mode))
                .filter(|rule| family.audience.iter().all(|one| rule.audience.contains(one)))
                .map(|rule| &rule.scope),
            RefusalReason::ExchangeNotAllowed,
        ),
        Some(Basis::Trust(issuer)) => {
            trusted = unit.load::<TrustedIssuer>(issuer.0).await?;
            let trust = trusted.trust_for(family.client);
            (trust.map(|trust| &trust.scope), RefusalReason::IssuerNotTrusted)
        }
    };
    let Some(widest) = widest else {
        return Ok(Err(otherwise));
    };
    circumstances.allowed_scope = circumstances.allowed_scope.intersection(widest);
    Ok(Ok(()))
}

/// Whether the tokens stand that the grant's own was exchanged for; its scope goes no further than theirs.
pub(super) async fn rests(
    unit: &mut impl Aggregates,
    family: &Family,
    circumstances: &mut Circumstances,
) -> Checked<()> {
    let Some(Basis::Tokens(Lineage { subjects, actors, .. })) = family.basis.as_deref() else {
        return Ok(Ok(()));
    };
    for token in subjects {
        match stands(unit, token).await? {
            Some(allowed) => {
                circumstances.allowed_scope = circumstances.allowed_scope.intersection(&allowed);
            }
            None => return Ok(Err(RefusalReason::SubjectTokenInactive)),
        }
    }
    for token in actors {
        if stands(unit, token).await?.is_none() {
            return Ok(Err(RefusalReason::ActorTokenInactive));
        }
    }
    Ok(Ok(()))
}

/// What of its grant's scope a token's client may use now, where the token stands. That it has expired is no matter:
/// what was exchanged for it ends by then.
async fn stands(unit: &mut impl Aggregates, token: &TokenRef) -> Result<Option<ScopeSet>, LedgerError> {
    if !signer_stands(unit, token.key).await? {
        return Ok(None);
    }
    let grant = unit.load::<Grant>(token.grant.0).await?;
    let Some(family) = grant.access_at(token.sequence) else {
        return Ok(None);
    };
    let carried = carries_alone(unit, family).await?;
    Ok(carried.ok().map(|(_, circumstances)| circumstances.allowed_scope))
}
