//! `grant_type=client_credentials`, RFC 6749 §4.4: a fresh grant for each issuance, without a refresh token unless
//! a legacy client is marked as one that gets them.

use chrono::TimeDelta;

use super::super::{ClientRequest, authorization_details, rounds};
use super::{Place, Randoms, TokenResponse, allowed, audience, requested_scope, unexpected};
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::grant::{Grant, IssueToken, Outcome};
use crate::http::error::{Rejection, TokenError};
use crate::ids::GrantId;
use crate::ledger::{LedgerError, UnitOfWork};
use crate::operations::authorization_detail::Holder;

pub(super) async fn issue(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, &randoms))
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    randoms: &Randoms,
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(app, unit, &client, GrantType::ClientCredentials).await?;
    let scope = requested_scope(request, unit, &client).await?;
    let audience = audience(app, request, &client)?;
    let at = unit.at();
    let id = GrantId(app.ledger.random().uuid_at(at).map_err(LedgerError::from)?);
    let own = (id, Holder::Client(client.key));
    let details = authorization_details::of_new_grant(app, unit, (request, &client), &audience, own).await?;
    let grant = unit.create::<Grant>(id.0);
    let confirmation = request.confirmation(&client)?;
    let mint = randoms.mint(&client.registration, GrantType::ClientCredentials, confirmation);
    // What cannot be refreshed is over with its access token.
    let grant_expires_at = if mint.refresh.is_some() {
        at + TimeDelta::days(i64::from(app.settings.grant_lifetime_days))
    } else {
        at + TimeDelta::seconds(i64::from(mint.access_lifetime))
    };
    let command = IssueToken {
        flow: GrantType::ClientCredentials,
        client: client.key,
        subject: None,
        scope,
        audience,
        details,
        password_generation: 0,
        grant_expires_at,
        mint,
        at,
    };
    let Some(concluded) = unit.conclude(&grant, grant.issue(&command)).await? else {
        return Ok(None);
    };
    let place = Place::of(&grant, concluded.first_own);
    match concluded.outcome {
        Ok(Outcome::Tokens(issued)) => {
            TokenResponse::new(app, &client.registration, place, &issued, randoms).map(Some)
        }
        Ok(Outcome::Code | Outcome::Answered | Outcome::Imported | Outcome::Revoked) => Err(unexpected()),
        Err(refusal) => Err(Rejection::from(refusal).client(client.key)),
    }
}
