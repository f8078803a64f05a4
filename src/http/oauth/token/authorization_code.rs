//! `grant_type=authorization_code`, RFC 6749 §4.1.3, with PKCE (RFC 7636 §4.5).

use super::super::{ClientRequest, authorization_details, grant_management, resource, rounds, standing};
use super::{Place, Randoms, TokenResponse, allowed, parameter_audience, unexpected};
use crate::app::App;
use crate::credential::{self, Kind, Presented};
use crate::domain::client::GrantType;
use crate::domain::grant::{Grant, GrantRefusal, Outcome, RedeemCode};
use crate::http::error::{Rejection, TokenError};
use crate::http::oidc::id_token::IdTokenFor;
use crate::ledger::UnitOfWork;

pub(super) async fn redeem(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let code = request.required("code")?;
    let presented = credential::parse(Kind::Code, app.ledger.vault().master().address_key(), code)
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
    allowed(app, unit, &client, GrantType::AuthorizationCode).await?;
    let audience = parameter_audience(request)?;
    let asked = authorization_details::parameter(request)?;
    let Some(Presented { address, digest }) = presented else {
        return Err(Rejection::from(GrantRefusal::Unknown).client(client.key));
    };
    let grant = unit.load::<Grant>(address.grant.0).await?;
    let subject = grant.family.as_ref().and_then(|family| family.subject);
    let family = grant.family.as_deref();
    let mut circumstances = standing::circumstances(unit, (client.key, &client.registration), family).await?;
    circumstances.session_over = standing::login_over(unit, family).await?;
    let metadata = &client.registration.metadata;
    let allowed_audience = resource::allowed_now(app, &client.registration, &circumstances.allowed_scope);
    let sent_to = family.and_then(|family| Some(family.code.as_ref()?.redirect_uri.as_str()));
    unit.about(subject);
    let command = RedeemCode {
        digest,
        client: client.key,
        redirect_uri: request.form.get("redirect_uri").map(str::to_owned),
        verifier: request.form.get("code_verifier").map(str::to_owned),
        audience,
        allowed_audience,
        details: authorization_details::of_grant(app, unit, &client, (&grant, asked)).await?,
        redirect_uri_registered: sent_to.is_none_or(|uri| metadata.registered_redirect_uri(uri).is_some()),
        circumstances,
        mint: randoms.mint(
            &client.registration,
            GrantType::AuthorizationCode,
            request.confirmation(&client)?,
        ),
        at: unit.at(),
    };
    let decision = grant_management::replacing(unit, (address.grant, family), grant.redeem(&command)).await?;
    let Some(concluded) = unit.conclude(&grant, decision).await? else {
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
        Err(refusal) => Err(Rejection::from(refusal)
            .client(client.key)
            .grant(address.grant, subject)),
    }
}
