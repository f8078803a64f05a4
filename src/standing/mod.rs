//! What client, user, consent and scopes say of a grant: at this moment, for whatever is asked with its tokens, or as of a
//! position, for whoever looks back. Both are the same rules.

mod lineage;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::crypto::CryptoError;
use crate::domain::client::{Client, Registration, Standing, TokenAlgorithm};
use crate::domain::consent::Consent;
use crate::domain::grant::{Circumstances, Family};
use crate::domain::openid::{Claim, IndividualClaims, OPENID};
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::Scope;
use crate::domain::session::Session;
use crate::domain::signing_key::SigningKey;
use crate::domain::user::User;
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, KeyId};
use crate::ledger::{Aggregates, LedgerError, Loaded, UnitOfWork};

/// Which of `asked` the client may have now: registered for it, defined, not retired, and approved where it is
/// restricted.
pub async fn allowed_scope(
    unit: &mut impl Aggregates,
    client: &Registration,
    asked: &ScopeSet,
) -> Result<ScopeSet, LedgerError> {
    let mut allowed = Vec::new();
    for name in asked.iter().filter(|name| client.metadata.scope.contains(name)) {
        let scope = unit.load::<Scope>(Scope::id(name)).await?;
        let grantable = scope
            .grantable()
            .is_some_and(|definition| !definition.restricted || client.is_approved(name));
        if grantable {
            allowed.push(name);
        }
    }
    Ok(allowed.into_iter().collect())
}

/// What a request without a scope asks for (RFC 6749 §3.3): the client's default; for a legacy client that is
/// marked so, every scope that it is registered for and that is not restricted, approved or not.
pub async fn omitted_scope(
    unit: &mut UnitOfWork<'_>,
    client: &Registration,
) -> Result<ScopeSet, LedgerError> {
    let metadata = &client.metadata;
    if !(metadata.legacy && metadata.legacy_full_scope) {
        return Ok(metadata.default_scopes.clone());
    }
    let mut unrestricted = Vec::new();
    for name in metadata.scope.iter() {
        let scope = unit.load::<Scope>(Scope::id(name)).await?;
        if scope.grantable().is_some_and(|definition| !definition.restricted) {
            unrestricted.push(name);
        }
    }
    Ok(unrestricted.into_iter().collect())
}

/// As [`allowed_scope`], of claims: one is had where the scope that opens it could be.
pub async fn allowed_claims(
    unit: &mut impl Aggregates,
    client: &Registration,
    asked: &IndividualClaims,
) -> Result<IndividualClaims, LedgerError> {
    let opening = asked.all().into_iter().map(Claim::scope).collect();
    let allowed = allowed_scope(unit, client, &opening).await?;
    Ok(asked.within(&allowed))
}

/// What a decision on a grant of this client depends on besides the grant. Whether it ended with its login is not looked at.
pub async fn circumstances(
    unit: &mut impl Aggregates,
    client: (ClientKey, &Registration),
    family: Option<&Family>,
) -> Result<Circumstances, LedgerError> {
    let (key, registration) = client;
    let subject = family.and_then(|family| family.subject);
    let (user, consent) = match subject {
        None => (None, None),
        Some(subject) => {
            let user: Loaded<User> = unit.load(subject.0).await?;
            let consent: Loaded<Consent> = unit.load(Consent::id(subject, key)).await?;
            (Some(user), Some(consent))
        }
    };
    Ok(Circumstances {
        user_may_act: user.as_ref().is_none_or(|user| user.may_act()),
        client_serves_user: subject.is_none_or(|subject| registration.metadata.serves(subject)),
        password_generation: user.map_or(0, |user| user.password_generation),
        consent_withdrawals: consent.map_or(0, |consent| consent.withdrawals),
        session_over: false,
        allowed_scope: match family {
            Some(family) => allowed_scope(unit, registration, &family.scope).await?,
            None => ScopeSet::default(),
        },
        individual_claims: match family.and_then(Family::individual_claims) {
            Some(claims) => allowed_claims(unit, registration, claims).await?,
            None => IndividualClaims::default(),
        },
    })
}

/// Whether a grant ended with the login that it was given in. The login becomes a precondition, so that nothing is
/// issued and nothing called active once its end is acknowledged.
pub async fn session_over(unit: &mut impl Aggregates, family: Option<&Family>) -> Result<bool, LedgerError> {
    let Some((session, scope)) = family.and_then(|family| Some((family.session?, &family.scope))) else {
        return Ok(false);
    };
    let session = unit.load::<Session>(session.0).await?;
    Ok(session.took(scope))
}

/// As [`session_over`], for a code: an ID token must not say of a login that it is when it was. With `openid`, the end of
/// the login ends every code that was not redeemed.
pub async fn login_over(unit: &mut impl Aggregates, family: Option<&Family>) -> Result<bool, LedgerError> {
    let over = session_over(unit, family).await?;
    let Some((session, scope)) = family.and_then(|family| Some((family.session?, &family.scope))) else {
        return Ok(over);
    };
    let session = unit.load::<Session>(session.0).await?;
    Ok(over || (session.ended.is_some() && scope.contains(OPENID)))
}

/// Whether a signing key is published now: a token of a retired one is worth nothing, on any node.
pub async fn is_published(unit: &mut impl Aggregates, key: KeyId) -> Result<bool, LedgerError> {
    let key = unit.load::<SigningKey>(key.0).await?;
    Ok(matches!(*key.state, SigningKey::Published { .. }))
}

/// As [`is_published`], of the key that signed an access token; an opaque one has none.
pub async fn signer_stands(unit: &mut impl Aggregates, key: Option<KeyId>) -> Result<bool, LedgerError> {
    match key {
        Some(key) => is_published(unit, key).await,
        None => Ok(true),
    }
}

/// Makes it a precondition of the append that the key which signs this algorithm's tokens is not retired. The node
/// that signs knows no older a set of keys than the one that was compared here.
pub async fn may_sign(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    algorithm: TokenAlgorithm,
) -> Result<(), LedgerError> {
    for reread in [false, true] {
        if reread {
            app.keys.reload().await?;
        }
        if let Some(key) = app.keys.signer(algorithm)
            && is_published(unit, key.id).await?
        {
            return Ok(());
        }
    }
    Err(CryptoError.into())
}

/// What was checked: what holds, or the check that failed.
type Checked<T> = Result<Result<T, RefusalReason>, LedgerError>;

/// The client of a grant and what holds of it, where a token of that grant is active as far as they go; none
/// where the client is blocked, or user, password or consent no longer carry the grant.
pub async fn carried(
    unit: &mut UnitOfWork<'_>,
    family: &Family,
) -> Result<Option<(Loaded<Client>, Circumstances)>, LedgerError> {
    Ok(carries(unit, family).await?.ok())
}

/// As [`carried`], with the check that failed.
async fn carries(seen: &mut impl Aggregates, family: &Family) -> Checked<(Loaded<Client>, Circumstances)> {
    let (client, mut circumstances) = match carries_alone(seen, family).await? {
        Ok(carried) => carried,
        Err(reason) => return Ok(Err(reason)),
    };
    let rests = lineage::rests(seen, family, &mut circumstances).await?;
    Ok(rests.map(|()| (client, circumstances)))
}

/// As [`carries`], whatever becomes of the tokens that were exchanged for the grant's own.
async fn carries_alone(
    seen: &mut impl Aggregates,
    family: &Family,
) -> Checked<(Loaded<Client>, Circumstances)> {
    let client = seen.load::<Client>(family.client.0).await?;
    let registration = match client.registration.as_ref() {
        None => return Ok(Err(RefusalReason::UnknownClient)),
        Some(registration) => match registration.standing {
            Standing::Active => registration,
            Standing::Suspended => return Ok(Err(RefusalReason::ClientSuspended)),
            Standing::Revoked => return Ok(Err(RefusalReason::ClientRevoked)),
        },
    };
    let mut circumstances = circumstances(seen, (family.client, registration), Some(family)).await?;
    circumstances.session_over = session_over(seen, Some(family)).await?;
    if let Err(refusal) = family.stands(&circumstances, seen.at()) {
        return Ok(Err(refusal.reason()));
    }
    let allowed = lineage::is_allowed(seen, (family, registration), &mut circumstances).await?;
    Ok(allowed.map(|()| (client, circumstances)))
}

/// How a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// It has not ended, and its tokens are good as far as it goes.
    Live,
    /// It was not revoked, and yet its tokens are refused everywhere: what it rests on (client, user, password, consent,
    /// login, other tokens, trust) does not carry it.
    Blocked,
    /// Its time is over.
    Expired,
    /// It ended before its time.
    Revoked,
}

/// A check that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailedCheck {
    /// In a word, as the refusal would be recorded; `used` of what was good for one use.
    pub reason: &'static str,
    /// In a sentence.
    pub check: &'static str,
}

impl From<RefusalReason> for FailedCheck {
    fn from(reason: RefusalReason) -> Self {
        Self {
            reason: reason.name(),
            check: reason.check(),
        }
    }
}

impl std::fmt::Display for FailedCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.check.trim_end_matches('.'), self.reason)
    }
}

/// How a grant stands, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GrantStanding {
    /// How.
    pub state: GrantState,
    /// What its tokens fail at; none where it is live.
    pub failed: Option<FailedCheck>,
    /// Of a live one: the scopes that were granted and that its tokens no longer have, in order. The client lost them or their
    /// approval, they were retired, or what the grant rests on does not reach as far any more.
    pub lapsed: Vec<String>,
    /// The same of the claims that the user consented to one by one: their scope lapsed.
    pub lapsed_claims: Vec<String>,
}

impl GrantStanding {
    /// How a grant stands, with all that it rests on.
    pub async fn of(seen: &mut impl Aggregates, family: &Family) -> Result<Self, LedgerError> {
        let (mut lapsed, mut lapsed_claims) = (Vec::new(), Vec::new());
        let (state, failed) = if family.revoked.is_some() {
            (GrantState::Revoked, Some(RefusalReason::GrantRevoked))
        } else if seen.at() >= family.expires_at {
            (GrantState::Expired, Some(RefusalReason::GrantExpired))
        } else {
            match carries(seen, family).await? {
                Ok((_, circumstances)) => {
                    let allowed = &circumstances.allowed_scope;
                    let lost = family.scope.iter().filter(|scope| !allowed.contains(scope));
                    lapsed.extend(lost.map(str::to_owned));
                    if let Some(granted) = family.individual_claims() {
                        let (granted, left) = (granted.all(), circumstances.individual_claims.all());
                        lapsed_claims.extend(granted.difference(&left).map(|claim| claim.name().to_owned()));
                    }
                    (GrantState::Live, None)
                }
                Err(reason) => (GrantState::Blocked, Some(reason)),
            }
        };
        let failed = failed.map(FailedCheck::from);
        Ok(Self {
            state,
            failed,
            lapsed,
            lapsed_claims,
        })
    }
}
