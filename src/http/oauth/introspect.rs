//! Token introspection, RFC 7662. A client may ask about its own tokens, a resource server about tokens of its
//! audience, nobody about others.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::super::context::Origin;
use super::super::error::{Rejection, TokenError};
use super::access_token::PresentedAccessToken;
use super::introspection_jwt::{self, Form};
use super::{ClientRequest, answer, authorization_details, imported, rounds, sender, standing};
use crate::app::App;
use crate::credential::{self, Kind, Presented};
use crate::crypto::jwt::Audience;
use crate::domain::authorization_detail::Detail;
use crate::domain::client::Client;
use crate::domain::confirmation::Confirmation;
use crate::domain::grant::{Act, Family, Grant};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::ScopeSet;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::token_uses::Used;
use crate::ledger::{Actor, LedgerError, UnitOfWork};

const ENDPOINT: &str = "/oauth/introspect";

/// RFC 7662 §2.2.
#[derive(Serialize)]
#[serde(untagged)]
enum Introspection {
    Inactive { active: bool },
    Active(Box<ActiveToken>),
}

#[derive(Serialize)]
struct ActiveToken {
    active: bool,
    scope: String,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    exp: i64,
    iat: i64,
    sub: String,
    aud: Audience,
    iss: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// RFC 8705 §3.2, RFC 9449 §6.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// RFC 9396 §9.2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_details: Vec<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
    #[serde(skip)]
    used: Used,
}

const INACTIVE: Introspection = Introspection::Inactive { active: false };

/// The state of a token.
pub async fn introspect(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = state(&app, &origin, &headers, body).await;
    answer(&app, &origin, ENDPOINT, result).await
}

/// A token as it was presented, its form checked.
enum Token {
    Refresh(Presented),
    Access(PresentedAccessToken),
    Other,
}

async fn state(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Rejection<TokenError>> {
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    let request = ClientRequest::read(app, context, headers, body).await?;
    let text = request.required("token")?;
    let form = Form::wanted(headers);
    let result = examine(app, &request, (text, form)).await;
    let result = result.and_then(|state| match (form, request.authenticated.get()) {
        (Form::Jwt, Some(caller)) => {
            introspection_jwt::respond(app, caller, &state, app.ledger.clock().now())
        }
        (Form::Json | Form::Jwt, _) => Ok(Json(state).into_response()),
    });
    request.end(app, result)
}

async fn examine(
    app: &App,
    request: &ClientRequest,
    (text, form): (&str, Form),
) -> Result<Introspection, Rejection<TokenError>> {
    let token = match read(app, text).await? {
        Token::Other => imported::recognise(app, request, text)
            .await?
            .map_or(Token::Other, Token::Refresh),
        ours @ (Token::Refresh(_) | Token::Access(_)) => ours,
    };
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, (&token, form)))
}

async fn read(app: &App, text: &str) -> Result<Token, Rejection<TokenError>> {
    let key = app.ledger.vault().master().address_key();
    if text.starts_with(Kind::Refresh.prefix()) {
        return Ok(credential::parse(Kind::Refresh, key, text).map_or(Token::Other, Token::Refresh));
    }
    let token = PresentedAccessToken::read(app, text).await?;
    Ok(token.map_or(Token::Other, Token::Access))
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    (token, form): (&Token, Form),
) -> Result<Option<Introspection>, Rejection<TokenError>> {
    let caller = request.authenticate(app, unit).await?;
    if caller.registration.metadata.is_public() {
        // RFC 7662 §2.1: some form of authorization is required.
        let error = TokenError::InvalidClient { challenge: true };
        return Err(Rejection::new(error, RefusalReason::PublicClient).client(caller.key));
    }
    if form == Form::Jwt {
        let algorithm = introspection_jwt::algorithm(&caller.registration.metadata);
        standing::may_sign(app, unit, algorithm.key()).await?;
    }
    let introspection = match token {
        Token::Other => INACTIVE,
        Token::Access(token) => access(unit, &caller, (token, form)).await?,
        // No refresh token is for a resource server.
        Token::Refresh(_) if form == Form::Jwt => INACTIVE,
        Token::Refresh(presented) => refresh(app, unit, &caller, presented).await?,
    };
    if !unit.confirm().await? {
        return Ok(None);
    }
    if let Introspection::Active(token) = &introspection {
        app.uses.count(token.used, unit.context(), unit.at());
    }
    Ok(Some(introspection))
}

async fn access(
    unit: &mut UnitOfWork<'_>,
    caller: &AuthenticatedClient,
    (token, form): (&PresentedAccessToken, Form),
) -> Result<Introspection, Rejection<TokenError>> {
    let PresentedAccessToken {
        claims, presented, ..
    } = token;
    if !token.signer_stands(unit).await? {
        return Ok(INACTIVE);
    }
    let introspects = &caller.registration.metadata.introspects;
    let of_its_audience = introspects.iter().any(|one| claims.aud.contains(one));
    // RFC 9701 §5: as a JWT, to those that the token is for alone. So a resource server, whose own token for another one
    // may come back to it, must be told that it is for another (RFC 7662 §4).
    let is_client = form == Form::Json && introspects.is_empty();
    let own = is_client && caller.registration.client_id == claims.client_id;
    if !own && !of_its_audience {
        return Ok(INACTIVE);
    }
    let grant = unit.load::<Grant>(presented.address.grant.0).await?;
    let Some(family) = grant.access_at(presented.address.sequence) else {
        return Ok(INACTIVE);
    };
    let Some((client, circumstances)) = standing::carried(unit, family).await? else {
        return Ok(INACTIVE);
    };
    let audience = (!own).then(|| introspected(caller, &claims.aud));
    let granted = &claims.authorization_details;
    let authorization_details = details(unit, (&client, family), granted, audience.as_deref()).await?;
    let scope = ScopeSet::parse(&claims.scope).unwrap_or_default();
    let scope = scope.intersection(&circumstances.allowed_scope);
    Ok(Introspection::Active(Box::new(ActiveToken {
        active: true,
        scope: scope.to_string(),
        client_id: claims.client_id.clone(),
        token_type: Some(sender::token_type(claims.cnf)),
        exp: claims.exp,
        iat: claims.iat,
        sub: claims.sub.clone(),
        aud: claims.aud.clone(),
        iss: claims.iss.clone(),
        jti: Some(claims.jti.clone()).filter(|jti| !jti.is_empty()),
        cnf: claims.cnf,
        authorization_details,
        act: claims.act.clone(),
        used: used(presented, family, caller),
    })))
}

/// The resource servers that the caller asks for, of those that the token is for.
fn introspected(caller: &AuthenticatedClient, audience: &Audience) -> Vec<String> {
    let own = &caller.registration.metadata.introspects;
    own.iter().filter(|one| audience.contains(one)).cloned().collect()
}

/// What of a token's authorization details may be used now, at these resource servers.
async fn details(
    unit: &mut UnitOfWork<'_>,
    (client, family): (&Client, &Family),
    granted: &[Detail],
    audience: Option<&[String]>,
) -> Result<Vec<Detail>, LedgerError> {
    match client.active() {
        Some(registration) => {
            authorization_details::usable(unit, (registration, family), granted, audience).await
        }
        None => Ok(Vec::new()),
    }
}

/// Whose token it is, and who asks.
fn used(presented: &Presented, family: &Family, caller: &AuthenticatedClient) -> Used {
    Used {
        grant: presented.address.grant,
        client: family.client,
        subject: family.subject,
        asked_by: Some(caller.key),
    }
}

async fn refresh(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    caller: &AuthenticatedClient,
    presented: &Presented,
) -> Result<Introspection, Rejection<TokenError>> {
    let at = unit.at();
    let grant = unit.load::<Grant>(presented.address.grant.0).await?;
    let live = grant.live_refresh(presented.address.sequence, &presented.digest, at);
    let metadata = &caller.registration.metadata;
    let usable = |family: &Family| family.client == caller.key && metadata.may_refresh(family.flow);
    let Some((family, generation)) = live.filter(|(family, _)| usable(family)) else {
        return Ok(INACTIVE);
    };
    let Some((client, circumstances)) = standing::carried(unit, family).await? else {
        return Ok(INACTIVE);
    };
    let granted = app.operations.details_of(presented.address.grant, family).await?;
    let authorization_details = details(unit, (&client, family), &granted, None).await?;
    let issued_at = family.refresh.as_ref().map_or(at, |refresh| refresh.rotated_at);
    let client_id = caller.registration.client_id.clone();
    Ok(Introspection::Active(Box::new(ActiveToken {
        active: true,
        scope: circumstances.allowed_scope.to_string(),
        token_type: None,
        exp: generation.expires_at.timestamp(),
        iat: issued_at.timestamp(),
        sub: family.subject.map_or_else(
            || client_id.clone(),
            |subject| app.operations.subject_for(&caller.registration, subject),
        ),
        aud: family.audience.clone().into(),
        iss: app.settings.issuer.clone(),
        client_id,
        jti: None,
        cnf: generation.confirmation,
        authorization_details,
        act: None,
        used: used(presented, family, caller),
    })))
}
