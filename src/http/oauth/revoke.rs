//! Token revocation, RFC 7009. A refresh token takes the whole grant with it; an access token goes alone.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;

use super::super::context::Origin;
use super::super::error::{Rejection, TokenError};
use super::access_token::PresentedAccessToken;
use super::token::was_issued;
use super::{ClientRequest, answer, imported, rounds};
use crate::app::App;
use crate::credential::{self, Kind, Presented};
use crate::domain::grant::{Grant, GrantRefusal, Reason, Revoke, Target};
use crate::ledger::{Actor, UnitOfWork};

const ENDPOINT: &str = "/oauth/revoke";

/// Revokes a token.
pub async fn revoke(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = end(&app, &origin, &headers, body).await;
    answer(&app, &origin, ENDPOINT, result).await
}

/// What a presented token would end.
struct Ends {
    presented: Presented,
    /// None: the refresh token, and with it the family.
    access_expires_at: Option<i64>,
}

async fn end(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Rejection<TokenError>> {
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    let request = ClientRequest::read(app, context, headers, body).await?;
    let result = revoke_presented(app, &request).await;
    request.end(app, result.map(|()| StatusCode::OK.into_response()))
}

async fn revoke_presented(app: &App, request: &ClientRequest) -> Result<(), Rejection<TokenError>> {
    let token = request.required("token")?;
    let ends = match read(app, token).await? {
        None => imported::recognise(app, request, token)
            .await?
            .map(|presented| Ends {
                presented,
                access_expires_at: None,
            }),
        ours => ours,
    };
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, ends.as_ref()))
}

async fn read(app: &App, text: &str) -> Result<Option<Ends>, Rejection<TokenError>> {
    let key = app.ledger.vault().master().address_key();
    if text.starts_with(Kind::Refresh.prefix()) {
        let presented = credential::parse(Kind::Refresh, key, text);
        return Ok(presented.map(|presented| Ends {
            presented,
            access_expires_at: None,
        }));
    }
    let token = PresentedAccessToken::read(app, text).await?;
    Ok(token.ok().map(|token| Ends {
        presented: token.presented,
        access_expires_at: Some(token.claims.exp),
    }))
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    ends: Option<&Ends>,
) -> Result<Option<()>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    // RFC 7009 §2.2: an invalid token is no error; what it asks for is already so.
    let Some(Ends {
        presented,
        access_expires_at,
    }) = ends
    else {
        return Ok(Some(()));
    };
    let grant_id = presented.address.grant;
    let grant = unit.load::<Grant>(grant_id.0).await?;
    let target = match access_expires_at {
        Some(exp) => Target::Access {
            sequence: presented.address.sequence,
            expires_at: DateTime::from_timestamp(*exp, 0).unwrap_or(DateTime::UNIX_EPOCH),
        },
        None if was_issued(&app.ledger, &grant, presented).await? => Target::Family,
        None => return Ok(unit.confirm().await?.then_some(())),
    };
    let subject = grant.family.as_ref().and_then(|family| family.subject);
    unit.about(subject);
    let command = Revoke {
        client: Some(client.key),
        target,
        reason: Reason::ClientRequest,
        at: unit.at(),
    };
    let Some(concluded) = unit.conclude(&grant, grant.revoke(&command)).await? else {
        return Ok(None);
    };
    match concluded.outcome {
        Ok(_) | Err(GrantRefusal::Unknown) => Ok(Some(())),
        // RFC 7009 §2.1: a token that was issued to another client is refused.
        Err(refusal) => Err(Rejection::from(refusal)
            .client(client.key)
            .grant(grant_id, subject)),
    }
}
