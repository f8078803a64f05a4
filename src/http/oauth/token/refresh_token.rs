//! `grant_type=refresh_token`, RFC 6749 §6, with rotation and replay detection (RFC 9700 §4.14).

use super::super::{ClientRequest, authorization_details, imported, resource, rounds, standing};
use super::{Place, Randoms, TokenResponse, allowed, parameter_audience, parameter_scope, unexpected};
use crate::app::App;
use crate::credential::{self, Kind, Presented};
use crate::domain::client::GrantType;
use crate::domain::grant::{Grant, GrantEvent, GrantRefusal, Outcome, Rotate};
use crate::http::error::{Rejection, TokenError};
use crate::http::oidc::id_token::IdTokenFor;
use crate::ledger::{Ledger, LedgerError, Loaded, UnitOfWork, recorded_event};

pub(super) async fn rotate(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let token = request.required("refresh_token")?;
    let ours = credential::parse(Kind::Refresh, app.ledger.vault().master().address_key(), token);
    let presented = match ours {
        None => imported::recognise(app, request, token).await?,
        ours => ours,
    };
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    let rotated = rounds!(unit, round(app, request, &mut unit, presented, &randoms));
    if ours.is_none() && presented.is_some() && rotated.is_err() {
        imported::count_failure(app, request);
    }
    rotated
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    presented: Option<Presented>,
    randoms: &Randoms,
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(app, unit, &client, GrantType::RefreshToken).await?;
    let (scope, audience) = (parameter_scope(request)?, parameter_audience(request)?);
    let asked = authorization_details::parameter(request)?;
    let Some(presented) = presented else {
        return Err(Rejection::from(GrantRefusal::Unknown).client(client.key));
    };
    let grant_id = presented.address.grant;
    let grant = unit.load::<Grant>(grant_id.0).await?;
    let was_issued = was_issued(&app.ledger, &grant, &presented).await?;
    let family = grant.family.as_deref();
    let subject = family.and_then(|family| family.subject);
    // Without a family the decision refuses, whatever would be minted.
    let flow = family.map_or(GrantType::RefreshToken, |family| family.flow);
    let mut circumstances = standing::circumstances(unit, (client.key, &client.registration), family).await?;
    circumstances.session_over = standing::session_over(unit, family).await?;
    let allowed_audience = resource::allowed_now(app, &client.registration, &circumstances.allowed_scope);
    unit.about(subject);
    let command = Rotate {
        sequence: presented.address.sequence,
        digest: presented.digest,
        was_issued,
        client: client.key,
        scope,
        audience,
        allowed_audience,
        details: authorization_details::of_grant(app, unit, &client, (&grant, asked)).await?,
        grace: client
            .registration
            .metadata
            .grace(grant.refresh_confirmation().is_some()),
        rotates: client.registration.metadata.rotates_refresh_tokens(),
        circumstances,
        mint: randoms.mint(&client.registration, flow, request.confirmation(&client)?),
        at: unit.at(),
    };
    let Some(concluded) = unit.conclude(&grant, grant.rotate_refresh(&command)).await? else {
        return Ok(None);
    };
    let place = Place::of(&grant, concluded.first_own);
    match concluded.outcome {
        Ok(Outcome::Tokens(issued)) => {
            let response = TokenResponse::new(app, &client.registration, place, &issued, randoms)?;
            let id_token = IdTokenFor {
                client: &client.registration,
                grant: &grant,
                issued: &issued,
                individual_claims: &command.circumstances.individual_claims,
                of_code: false,
            };
            response.with_id_token(app, id_token).await.map(Some)
        }
        Ok(Outcome::Code | Outcome::Answered | Outcome::Imported | Outcome::Revoked) => Err(unexpected()),
        Err(GrantRefusal::Unknown) => Err(Rejection::from(GrantRefusal::Unknown).client(client.key)),
        Err(refusal) => Err(Rejection::from(refusal)
            .client(client.key)
            .grant(grant_id, subject)),
    }
}

/// Whether the ledger ever issued this refresh token. The state knows the two generations that can still mean
/// something; an older one is one row, read only when it is presented.
pub(crate) async fn was_issued(
    ledger: &Ledger,
    grant: &Loaded<Grant>,
    presented: &Presented,
) -> Result<bool, LedgerError> {
    let sequence = presented.address.sequence;
    if grant.knows_refresh(sequence, &presented.digest) {
        return Ok(true);
    }
    if grant.family.is_none() || sequence == 0 || sequence > grant.state.sequence {
        return Ok(false);
    }
    let event = recorded_event::<Grant>(ledger.pool(), grant.id, i64::from(sequence)).await?;
    let refresh = match event {
        Some(GrantEvent::TokenIssued(event)) => event.refresh,
        Some(GrantEvent::GrantImported(event)) => Some(event.refresh),
        Some(GrantEvent::RefreshRotated(event)) => Some(event.refresh),
        Some(GrantEvent::RefreshRetried(event)) => Some(event.refresh),
        Some(
            GrantEvent::CodeIssued(_)
            | GrantEvent::AccessTokenRefreshed(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::CodeReplayed(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceAuthorizationDenied(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::DeviceCodeReplayed(_)
            | GrantEvent::RefreshReplayed(_)
            | GrantEvent::GrantReplaced(_)
            | GrantEvent::TokenRevoked(_),
        )
        | None => None,
    };
    Ok(refresh.is_some_and(|refresh| refresh.digest.matches(&presented.digest)))
}
