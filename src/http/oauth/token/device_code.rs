//! `grant_type=urn:ietf:params:oauth:grant-type:device_code`, RFC 8628 §3.4: a device polls until its user has
//! answered.

use super::super::{ClientRequest, authorization_details, device, resource, rounds, standing};
use super::{Place, Randoms, TokenResponse, allowed, parameter_audience, unexpected};
use crate::app::App;
use crate::credential::{self, Kind, Presented};
use crate::domain::client::GrantType;
use crate::domain::grant::{Grant, GrantRefusal, Outcome, RedeemDeviceCode};
use crate::domain::refusal::RefusalReason;
use crate::http::error::{Rejection, TokenError};
use crate::http::oidc::id_token::IdTokenFor;
use crate::ledger::UnitOfWork;

pub(super) async fn redeem(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let code = request.required("device_code")?;
    let presented = credential::parse(Kind::Device, app.ledger.vault().master().address_key(), code)
        .filter(|presented| presented.address.sequence == 1);
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, presented, &randoms))
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    presented: Option<Presented>,
    randoms: &Randoms,
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(app, unit, &client, GrantType::DeviceCode).await?;
    let audience = parameter_audience(request)?;
    let asked = authorization_details::parameter(request)?;
    let Some(Presented { address, digest }) = presented else {
        return Err(Rejection::from(GrantRefusal::Unknown).client(client.key));
    };
    let grant = unit.load::<Grant>(address.grant.0).await?;
    let family = grant.family.as_deref();
    let subject = family.and_then(|family| family.subject);
    let mut circumstances = standing::circumstances(unit, (client.key, &client.registration), family).await?;
    circumstances.session_over = standing::login_over(unit, family).await?;
    let details = authorization_details::of_grant(app, unit, &client, (&grant, asked)).await?;
    unit.about(subject);
    let at = unit.at();
    let command = RedeemDeviceCode {
        digest,
        client: client.key,
        audience,
        allowed_audience: resource::allowed_now(app, &client.registration, &circumstances.allowed_scope),
        details,
        circumstances,
        mint: randoms.mint(
            &client.registration,
            GrantType::DeviceCode,
            request.confirmation(&client)?,
        ),
        at,
    };
    let Some(concluded) = unit.conclude(&grant, grant.redeem_device(&command)).await? else {
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
                of_code: true,
            };
            response.with_id_token(app, id_token).await.map(Some)
        }
        Ok(Outcome::Code | Outcome::Answered | Outcome::Imported | Outcome::Revoked) => Err(unexpected()),
        Err(GrantRefusal::Unknown) => Err(Rejection::from(GrantRefusal::Unknown).client(client.key)),
        Err(GrantRefusal::DevicePending) if device::polls_too_fast(app, address.grant, at).await? => Err(
            Rejection::new(TokenError::SlowDown, RefusalReason::DevicePollsTooFast),
        ),
        Err(refusal) => Err(Rejection::from(refusal)
            .client(client.key)
            .grant(address.grant, subject)),
    }
}
