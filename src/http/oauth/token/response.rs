//! The successful answer, RFC 6749 §5.1.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::sender::token_type;
use super::Randoms;
use crate::app::App;
use crate::credential::{self, Address, Kind};
use crate::crypto::jwt::AccessClaims;
use crate::domain::client::{Registration, ResponseProfile};
use crate::domain::grant::Issued;
use crate::http::error::{Rejection, TokenError};
use crate::http::oidc::id_token::IdTokenFor;
use crate::ids::GrantId;
use crate::ledger::LedgerError;

/// Tokens, as the client is given them.
#[derive(Serialize)]
pub struct TokenResponse {
    #[serde(skip)]
    profile: ResponseProfile,
    token_type: &'static str,
    expires_in: i64,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

/// The same in camel case, for clients that know nothing else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CamelCase<'a> {
    token_type: &'a str,
    expires_in: i64,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

impl TokenResponse {
    /// Signs the access token and spells the refresh token that an append has just made durable.
    pub(super) fn new(
        app: &App,
        client: &Registration,
        grant: GrantId,
        issued: &Issued,
        randoms: &Randoms,
    ) -> Result<Self, Rejection<TokenError>> {
        let address = Address {
            grant,
            sequence: issued.sequence,
        };
        let key = app.ledger.vault().master().address_key();
        let scope = issued.scope.to_string();
        let claims = AccessClaims {
            iss: app.settings.issuer.clone(),
            sub: issued.subject.map_or_else(
                || client.client_id.clone(),
                |subject| app.operations.subject_for(client, subject),
            ),
            aud: issued.audience.clone().into(),
            client_id: client.client_id.clone(),
            scope: scope.clone(),
            iat: issued.issued_at.timestamp(),
            exp: issued.access_expires_at.timestamp(),
            jti: credential::format(Kind::TokenId, key, address, &randoms.access),
            cnf: issued.confirmation,
        };
        let access_token = app
            .keys
            .sign(client.metadata.access_token_algorithm, &claims)
            .map_err(LedgerError::from)?;
        let refresh_token = issued
            .refresh
            .then(|| credential::format(Kind::Refresh, key, address, &randoms.refresh));
        Ok(Self {
            profile: client.metadata.response_profile,
            token_type: token_type(issued.confirmation),
            expires_in: claims.exp - claims.iat,
            access_token,
            refresh_token,
            scope,
            id_token: None,
        })
    }

    /// Adds the ID token, where the grant has one to give (OpenID Connect Core §3.1.3.3).
    pub(super) async fn with_id_token(
        mut self,
        app: &App,
        authenticated: IdTokenFor<'_>,
    ) -> Result<Self, Rejection<TokenError>> {
        self.id_token = authenticated.sign(app, &self.access_token).await?;
        Ok(self)
    }

    pub(super) fn into_response(self) -> Response {
        match self.profile {
            ResponseProfile::Standard => Json(self).into_response(),
            ResponseProfile::CamelCase => Json(CamelCase {
                token_type: self.token_type,
                expires_in: self.expires_in,
                access_token: &self.access_token,
                refresh_token: self.refresh_token.as_deref(),
                scope: &self.scope,
                id_token: self.id_token.as_deref(),
            })
            .into_response(),
        }
    }
}
