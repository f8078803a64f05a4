//! The floor: bare handlers that only parse, sign ES256 and append the same events through the same ledger.
//! They check nothing: no client, no digest, no scope, no precondition. What the endpoints take beyond them is
//! what checking costs.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::TimeDelta;
use serde_json::json;

use super::ledger_rows;
use crate::app::App;
use crate::credential::{self, Address, Kind};
use crate::crypto::jwt::AccessClaims;
use crate::domain::client::{GrantType, TokenAlgorithm};
use crate::domain::grant::{
    AccessToken, CodeRedeemed, GrantEvent, RefreshRotated, RefreshToken, TokenIssued,
};
use crate::domain::value::{Digest, ScopeSet};
use crate::http::form::Form;
use crate::ids::{ClientKey, GrantId};
use crate::ledger::Priority;

/// What a real event's metadata looks like, its sealed caller included.
const METADATA: &str = r#"{"actor":"client:00000000-0000-4000-8000-000000000000","caller":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","endpoint":"/oauth/token","network":"0000000000000000000000000000000000000000000000000000000000000000","request_id":"00000000-0000-4000-8000-000000000000"}"#;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/floor", post(token))
}

/// Anything that goes wrong is a 500: the benchmark stops.
async fn token(State(app): State<App>, body: String) -> Response {
    match issue(&app, &body).await {
        Ok(response) => response,
        Err(error) => (axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn issue(app: &App, body: &str) -> anyhow::Result<Response> {
    let form = Form::parse(body)?;
    let at = app.ledger.clock().now();
    let random: [u8; 32] = app.ledger.random().bytes()?;
    let refresh: [u8; 32] = app.ledger.random().bytes()?;
    let minted = Minted {
        random,
        refresh,
        at,
        issuer: app.settings.issuer.clone(),
    };
    let key = app.ledger.vault().master().address_key();
    let parse = |kind, name| credential::parse(kind, key, form.get(name).unwrap_or_default());
    let (grant, sequence, events) = match form.get("grant_type") {
        Some("refresh_token") => {
            let presented = parse(Kind::Refresh, "refresh_token").ok_or(anyhow::anyhow!("no token"))?;
            (
                presented.address.grant,
                presented.address.sequence,
                vec![minted.rotated()],
            )
        }
        Some("authorization_code") => {
            let presented = parse(Kind::Code, "code").ok_or(anyhow::anyhow!("no code"))?;
            (
                presented.address.grant,
                presented.address.sequence,
                vec![minted.redeemed(), minted.issued(true)],
            )
        }
        _ => (
            GrantId(app.ledger.random().uuid_at(at)?),
            0,
            vec![minted.issued(false)],
        ),
    };
    let command = ledger_rows::command(&app.ledger, grant.0, i64::from(sequence), &events, METADATA)?;
    app.ledger.append(command, Priority::Normal).await?;
    let issuing = sequence + u32::try_from(events.len())?;
    minted.answer(
        app,
        Address {
            grant,
            sequence: issuing,
        },
    )
}

struct Minted {
    random: [u8; 32],
    refresh: [u8; 32],
    at: crate::clock::Timestamp,
    issuer: String,
}

impl Minted {
    fn answer(&self, app: &App, address: Address) -> anyhow::Result<Response> {
        let key = app.ledger.vault().master().address_key();
        let claims = AccessClaims {
            act: None,
            may_act: None,
            authorization_details: Vec::new(),
            status: None,
            iss: self.issuer.clone(),
            sub: "00000000-0000-4000-8000-000000000000".to_owned(),
            aud: vec![self.issuer.clone()].into(),
            client_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            scope: "view-user".to_owned(),
            iat: self.at.timestamp(),
            exp: self.at.timestamp() + 3600,
            jti: credential::format(Kind::TokenId, key, address, &self.random),
            cnf: None,
        };
        Ok(Json(json!({
            "access_token": app.keys.sign(TokenAlgorithm::ES256, &claims)?,
            "expires_in": 3600,
            "refresh_token": credential::format(Kind::Refresh, key, address, &self.refresh),
            "scope": "view-user",
            "token_type": "Bearer",
        }))
        .into_response())
    }

    fn client() -> ClientKey {
        ClientKey(uuid::Uuid::nil())
    }

    fn scope() -> ScopeSet {
        ["view-user"].into_iter().collect()
    }

    fn access(&self) -> AccessToken {
        let digest: Digest = credential::digest(Kind::TokenId, &self.random);
        AccessToken {
            digest,
            expires_at: self.at + TimeDelta::seconds(3600),
            confirmation: None,
        }
    }

    fn refresh(&self) -> RefreshToken {
        let digest = credential::digest(Kind::Refresh, &self.refresh);
        RefreshToken {
            digest,
            expires_at: self.at + TimeDelta::days(30),
            generation: 1,
            confirmation: None,
        }
    }

    fn rotated(&self) -> GrantEvent {
        RefreshRotated {
            client: Self::client(),
            subject: Some(crate::ids::SubjectId(uuid::Uuid::nil())),
            scope: Self::scope(),
            audience: vec![self.issuer.clone()],
            details: None,
            access: self.access(),
            refresh: self.refresh(),
            issued_at: self.at,
        }
        .into()
    }

    fn redeemed(&self) -> GrantEvent {
        CodeRedeemed {
            client: Self::client(),
            at: self.at,
        }
        .into()
    }

    fn issued(&self, with_refresh: bool) -> GrantEvent {
        TokenIssued {
            flow: if with_refresh {
                GrantType::AuthorizationCode
            } else {
                GrantType::ClientCredentials
            },
            client: Self::client(),
            subject: with_refresh.then_some(crate::ids::SubjectId(uuid::Uuid::nil())),
            scope: Self::scope(),
            audience: vec![self.issuer.clone()],
            authorization_details: None,
            details: None,
            access: self.access(),
            refresh: with_refresh.then(|| self.refresh()),
            password_generation: 0,
            issued_at: self.at,
            grant_expires_at: self.at + TimeDelta::days(365),
        }
        .into()
    }
}
