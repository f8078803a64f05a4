//! `grant_type=password`, RFC 6749 §4.3: discouraged (RFC 9700 §2.4), off unless server and client allow it.

use chrono::TimeDelta;

use super::super::{ClientRequest, authorization_details, rounds};
use super::{Place, Randoms, TokenResponse, allowed, audience, requested_scope, unexpected};
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::grant::{Grant, GrantRefusal, IssueToken, Outcome};
use crate::domain::refusal::RefusalReason;
use crate::domain::user::User;
use crate::http::error::{Rejection, TokenError};
use crate::http::login::{self, Recognised};
use crate::http::session::Verified;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, UnitOfWork};
use crate::operations::authorization_detail::Holder;

pub(super) async fn issue(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let username = request.required("username")?;
    let password = request.required("password")?;
    // Before the password: only a client that may use this grant may try passwords.
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, permitted(app, request, &mut unit))?;
    let verified = verify(app, request, username, password).await?;
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, &verified, &randoms))
}

async fn permitted(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
) -> Result<Option<()>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(app, unit, &client, GrantType::Password).await?;
    Ok(Some(()))
}

/// Compares the password; failures count against the address and the user name.
async fn verify(
    app: &App,
    request: &ClientRequest,
    username: &str,
    password: &str,
) -> Result<Verified, Rejection<TokenError>> {
    let now = app.ledger.clock().now();
    let counted = login::counted(username, &request.context);
    app.limits.check_failures(&counted, now)?;
    match login::recognise(app, &request.context, username, password).await? {
        Ok(Recognised { verified, rehashed }) => {
            login::rehash(app, &request.context, verified.subject, rehashed).await;
            Ok(verified)
        }
        Err(refusal) => Err(match refusal.wait {
            Some(wait) => Rejection::new(TokenError::TooMany(wait.retry_after), refusal.reason),
            None => Rejection::new(TokenError::InvalidGrant, refusal.reason),
        }),
    }
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    verified: &Verified,
    randoms: &Randoms,
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(app, unit, &client, GrantType::Password).await?;
    let user = unit.load::<User>(verified.subject.0).await?;
    if !user.may_act() || user.password_generation != verified.password_generation {
        return Err(Rejection::new(TokenError::InvalidGrant, RefusalReason::UserChanged).client(client.key));
    }
    if !client.registration.metadata.serves(verified.subject) {
        return Err(Rejection::from(GrantRefusal::ClientNotLive).client(client.key));
    }
    let scope = requested_scope(request, unit, &client).await?;
    let audience = audience(app, request, &client)?;
    let confirmation = request.confirmation(&client)?;
    let at = unit.at();
    unit.about(Some(verified.subject));
    let id = GrantId(app.ledger.random().uuid_at(at).map_err(LedgerError::from)?);
    let own = (id, Holder::Subject(verified.subject));
    let details = authorization_details::of_new_grant(app, unit, (request, &client), &audience, own).await?;
    let grant = unit.create::<Grant>(id.0);
    let command = IssueToken {
        flow: GrantType::Password,
        client: client.key,
        subject: Some(verified.subject),
        scope,
        audience,
        details,
        password_generation: verified.password_generation,
        grant_expires_at: at + TimeDelta::days(i64::from(app.settings.grant_lifetime_days)),
        mint: randoms.mint(&client.registration, GrantType::Password, confirmation),
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
