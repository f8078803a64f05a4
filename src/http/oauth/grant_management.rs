//! Grants by the id that their client knows (Grant Management for OAuth 2.0): queried and revoked here, replaced where the
//! code of another is redeemed.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{answer, authorization_details, rounds, standing};
use crate::app::App;
use crate::config::Settings;
use crate::domain::authorization_detail::Detail;
use crate::domain::client::Client;
use crate::domain::grant::{Decision, Family, Grant, GrantRefusal, Management, Reason, Revoke, Target};
use crate::domain::openid::{Claim, IndividualClaims, OPENID};
use crate::domain::refusal::RefusalReason;
use crate::http::api::bearer::{ActiveToken, BearerToken};
use crate::http::api::respond;
use crate::http::context::Origin;
use crate::http::error::{ApiError, BearerError, Rejection, no_store};
use crate::ids::{ClientKey, GrantId};
use crate::ledger::{Actor, LedgerError, Loaded, UnitOfWork};

/// The path of the endpoint; a grant's id follows (§6.1).
const PATH: &str = "/oauth/grants";
/// One grant.
pub const GRANT: &str = "/oauth/grants/{grant_id}";
/// The scope that querying needs (§6.3).
const QUERY: &str = "grant_management_query";
/// The scope that revoking needs (§6.3).
const REVOKE: &str = "grant_management_revoke";

type BearerRejection = Rejection<BearerError>;

/// What the metadata document says of it (§7.1).
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the wire's names")]
pub(super) struct GrantManagementMetadata {
    grant_management_actions_supported: [&'static str; 4],
    grant_management_endpoint: String,
    grant_management_action_required: bool,
}

impl GrantManagementMetadata {
    /// With these settings.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            // Merging is not among them: a grant is one authorization, with one login, consent and audience.
            grant_management_actions_supported: ["create", "replace", "query", "revoke"],
            grant_management_endpoint: format!("{}{PATH}", settings.issuer),
            grant_management_action_required: settings.grant_management_action_required,
        }
    }
}

/// What stands behind a `grant_id`. The first grant under it and the current one are preconditions of the append.
pub(super) struct Managed {
    first: Loaded<Grant>,
    /// What has replaced the first one.
    replacement: Option<Loaded<Grant>>,
}

impl Managed {
    /// None where no client knows a grant by this id.
    pub(super) async fn load(unit: &mut UnitOfWork<'_>, id: GrantId) -> Result<Option<Self>, LedgerError> {
        let mut first = unit.load::<Grant>(id.0).await?;
        let mut seen = None;
        loop {
            let Some(family) = first.managed() else {
                return Ok(None);
            };
            let by = family.replaced_by;
            let replacement = match by {
                Some(by) => Some(unit.load::<Grant>(by.0).await?),
                None => None,
            };
            // Replaced in its turn after the first was read: without a second look, what lives would seem to be over.
            let has_moved = replacement.as_ref().is_some_and(|grant| grant.gave_way()) && by != seen;
            if !has_moved {
                return Ok(Some(Self { first, replacement }));
            }
            seen = by;
            first = unit.reload::<Grant>(id.0).await?;
        }
    }

    /// What the current grant has of authorization details that its client may use now (RFC 9396).
    pub(super) async fn details(
        &self,
        app: &App,
        unit: &mut UnitOfWork<'_>,
        family: &Family,
    ) -> Result<Vec<Detail>, LedgerError> {
        let granted = app
            .operations
            .details_of(GrantId(self.current().id), family)
            .await?;
        let client = unit.load::<Client>(family.client.0).await?;
        match client.active() {
            Some(client) => authorization_details::usable(unit, (client, family), &granted, None).await,
            None => Ok(Vec::new()),
        }
    }

    fn current(&self) -> &Loaded<Grant> {
        self.replacement.as_ref().unwrap_or(&self.first)
    }

    /// Whose it is.
    pub(super) fn client(&self) -> Option<ClientKey> {
        Some(self.first.family.as_ref()?.client)
    }

    /// The current grant, where tokens of it are or could be active; with what of its scope its client may use now.
    pub(super) async fn live(&self, unit: &mut UnitOfWork<'_>) -> Result<Option<Family>, LedgerError> {
        let family = self.current().family.as_deref();
        let Some(family) = family.filter(|family| family.revoked.is_none()) else {
            return Ok(None);
        };
        let carried = standing::carried(unit, family).await?;
        Ok(carried.map(|(_, circumstances)| family.within(&circumstances)))
    }
}

/// The decision on a code; where its grant takes another's place, with that one's end in the same append.
pub(super) async fn replacing(
    unit: &mut UnitOfWork<'_>,
    (by, family): (GrantId, Option<&Family>),
    decision: Decision,
) -> Result<Decision, LedgerError> {
    let Some(family) = family.filter(|_| decision.outcome.is_ok()) else {
        return Ok(decision);
    };
    Ok(match replace(unit, by, family).await? {
        Ok(()) => decision,
        Err(refusal) => Decision::refuse(refusal),
    })
}

/// Where a grant takes another's place, adds what ends that one to the append. A grant that was revoked meanwhile is not
/// brought back.
async fn replace(
    unit: &mut UnitOfWork<'_>,
    by: GrantId,
    family: &Family,
) -> Result<Result<(), GrantRefusal>, LedgerError> {
    let Some(Management::Replace { grant }) = family.management else {
        return Ok(Ok(()));
    };
    let managed = Managed::load(unit, grant).await?;
    let Some(managed) = managed.filter(|managed| managed.client() == Some(family.client)) else {
        return Ok(Err(GrantRefusal::Unknown));
    };
    let at = unit.at();
    let (handed_on, ended) = (managed.first.hand_on(by, at), managed.current().give_way(at));
    if let Err(refusal) = handed_on.outcome.and(ended.outcome) {
        return Ok(Err(refusal));
    }
    if managed.replacement.is_some() {
        unit.also(&managed.first, &handed_on.events)?;
        unit.also(managed.current(), &ended.events)?;
    } else {
        let events: Vec<_> = handed_on.events.into_iter().chain(ended.events).collect();
        unit.also(&managed.first, &events)?;
    }
    Ok(Ok(()))
}

/// What a grant is good for (§6.4).
#[derive(Debug, PartialEq, Eq, Serialize)]
struct GrantBody {
    scopes: [ScopeBody; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    claims: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_details: Vec<Detail>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ScopeBody {
    scope: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
}

impl GrantBody {
    fn of(family: Family, authorization_details: Vec<Detail>) -> Self {
        let individual = family.individual_claims().map(IndividualClaims::all);
        let individual = individual.unwrap_or_default();
        let opened = |claim: &Claim| {
            let is_allowed = family.scope.contains(claim.scope()) || individual.contains(claim);
            family.scope.contains(OPENID) && is_allowed
        };
        Self {
            claims: Claim::ALL.into_iter().filter(opened).map(Claim::name).collect(),
            scopes: [ScopeBody {
                scope: family.scope.to_string(),
                resources: family.audience,
            }],
            authorization_details,
        }
    }
}

/// What a grant is good for; needs `grant_management_query`.
pub async fn query(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let result = queried(&app, &origin, (&headers, id)).await;
    let result = result.map(respond).map_err(BearerRejection::from);
    answer(&app, &origin, GRANT, result).await
}

async fn queried(
    app: &App,
    origin: &Origin,
    (headers, id): (&HeaderMap, Result<Path<String>, PathRejection>),
) -> Result<GrantBody, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let context = origin.context(GRANT, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let id = grant_in(id);
    rounds!(unit, query_round(app, &mut unit, &token, id))
}

async fn query_round(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
    id: Option<GrantId>,
) -> Result<Option<GrantBody>, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    active.require(unit, QUERY).await?;
    let managed = own(unit, &active, id).await?;
    let live = managed.live(unit).await?;
    let family = live.ok_or_else(|| active.about(no_such_grant()))?;
    let details = managed.details(app, unit, &family).await?;
    Ok(unit.confirm().await?.then(|| GrantBody::of(family, details)))
}

/// Revokes a grant and all that came of it; needs `grant_management_revoke`.
pub async fn revoke(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let result = revoked(&app, &origin, (&headers, id)).await;
    let result = result.map(|()| {
        let mut response = StatusCode::NO_CONTENT.into_response();
        no_store(&mut response);
        response
    });
    let result = result.map_err(BearerRejection::from);
    answer(&app, &origin, GRANT, result).await
}

async fn revoked(
    app: &App,
    origin: &Origin,
    (headers, id): (&HeaderMap, Result<Path<String>, PathRejection>),
) -> Result<(), Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let id = grant_in(id);
    // Whose token it is, for the event to say.
    let context = origin.context(GRANT, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let client = rounds!(unit, caller(&mut unit, &token))?;
    let context = origin.context(GRANT, Actor::Client(client));
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, revoke_round(&mut unit, &token, id))
}

async fn caller(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
) -> Result<Option<ClientKey>, Rejection<ApiError>> {
    let client = token.active(unit).await?.client();
    Ok(unit.confirm().await?.then_some(client))
}

async fn revoke_round(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
    id: Option<GrantId>,
) -> Result<Option<()>, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    active.require(unit, REVOKE).await?;
    let managed = own(unit, &active, id).await?;
    let grant = managed.current();
    let family = grant.family.as_deref();
    let Some(family) = family.filter(|family| family.revoked.is_none()) else {
        return Err(active.about(no_such_grant()));
    };
    unit.about(family.subject);
    let command = Revoke {
        client: Some(active.client()),
        target: Target::Family,
        reason: Reason::ClientRequest,
        at: unit.at(),
    };
    let Some(concluded) = unit.conclude(grant, grant.revoke(&command)).await? else {
        return Ok(None);
    };
    match concluded.outcome {
        Ok(_) => Ok(Some(())),
        Err(refusal) => Err(active.about(Rejection::new(ApiError::PermissionDenied, refusal.reason()))),
    }
}

/// What is behind the id, where it is this client's (§6.6: another's is forbidden, what there is not is not found).
async fn own(
    unit: &mut UnitOfWork<'_>,
    active: &ActiveToken,
    id: Option<GrantId>,
) -> Result<Managed, Rejection<ApiError>> {
    let managed = match id {
        Some(id) => Managed::load(unit, id).await?,
        None => None,
    };
    let managed = managed.ok_or_else(|| active.about(no_such_grant()))?;
    if managed.client() == Some(active.client()) {
        return Ok(managed);
    }
    let refused = Rejection::new(ApiError::PermissionDenied, RefusalReason::OtherClient);
    Err(active.about(refused))
}

fn grant_in(path: Result<Path<String>, PathRejection>) -> Option<GrantId> {
    path.ok().and_then(|Path(text)| GrantId::parse(&text))
}

fn no_such_grant() -> Rejection<ApiError> {
    let error = ApiError::ResourceNotFound("There is no grant with this grant_id, or it is over.");
    Rejection::new(error, RefusalReason::NoSuchGrant)
}
