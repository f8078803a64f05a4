//! The successful answer, RFC 6749 §5.1.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::sender::token_type;
use super::super::status_list;
use super::Randoms;
use crate::app::App;
use crate::credential::{self, Address, Kind};
use crate::crypto::jwt::{AccessClaims, TokenStatus};
use crate::crypto::master::AddressKey;
use crate::domain::authorization_detail::Detail;
use crate::domain::client::{Registration, ResponseProfile, TokenFormat};
use crate::domain::grant::{Grant, Issued};
use crate::domain::value::Digest;
use crate::http::error::{Rejection, TokenError};
use crate::http::oidc::id_token::IdTokenFor;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, Loaded};

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
    /// RFC 6749 §3.3: it has a name in it, where it is there.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip)]
    id_token_jti: String,
    /// RFC 9396 §7.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_details: Vec<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// Grant Management for OAuth 2.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<GrantId>,
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
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    authorization_details: &'a [Detail],
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<GrantId>,
}

/// The grant that tokens were issued in, and where its events stand.
#[derive(Clone, Copy)]
pub(super) struct Place {
    grant: GrantId,
    before: i64,
    first: Option<i64>,
    /// The id that the client knows it by.
    known_as: Option<GrantId>,
}

impl Place {
    /// Of a grant as it was before its command, and the position of its first new event.
    pub(super) fn of(grant: &Loaded<Grant>, first: Option<i64>) -> Self {
        let id = GrantId(grant.id);
        let management = grant.family.as_ref().and_then(|family| family.management);
        Self {
            grant: id,
            before: grant.sequence,
            first,
            known_as: management.map(|management| management.grant_id(id)),
        }
    }

    /// Where the status of the access token is listed. Not that of one that rests on other tokens, or on an assertion: it
    /// ends with those, which no list of tokens shows.
    fn status(self, app: &App, issued: &Issued) -> Option<TokenStatus> {
        if issued.rests_on_others {
            return None;
        }
        let after_first = i64::from(issued.sequence) - self.before - 1;
        status_list::status(app, self.first? + after_first)
    }
}

impl TokenResponse {
    /// Signs or spells the access token, and spells the refresh token, that an append has just made durable.
    pub(super) fn new(
        app: &App,
        client: &Registration,
        place: Place,
        issued: &Issued,
        randoms: &Randoms,
    ) -> Result<Self, Rejection<TokenError>> {
        let address = Address {
            grant: place.grant,
            sequence: issued.sequence,
        };
        let key = app.ledger.vault().master().address_key();
        let scope = issued.scope.to_string();
        let access_token = match client.metadata.access_token_format {
            TokenFormat::Opaque => credential::format(Kind::Access, key, address, &randoms.access),
            TokenFormat::Jwt => sign(app, client, issued, (address, randoms, place.status(app, issued)))?,
        };
        let refresh_token = issued
            .refresh
            .then(|| credential::format(Kind::Refresh, key, address, &randoms.refresh));
        Ok(Self {
            profile: client.metadata.response_profile,
            token_type: token_type(issued.confirmation),
            expires_in: issued.access_expires_at.timestamp() - issued.issued_at.timestamp(),
            access_token,
            refresh_token,
            scope,
            id_token: None,
            id_token_jti: id_token_jti(
                key,
                address,
                (client.metadata.access_token_format, &randoms.access),
            ),
            authorization_details: issued.details.clone(),
            issued_token_type: None,
            grant_id: place.known_as,
        })
    }

    /// Adds the ID token, where the grant has one to give (OpenID Connect Core §3.1.3.3).
    pub(super) async fn with_id_token(
        mut self,
        app: &App,
        authenticated: IdTokenFor<'_>,
    ) -> Result<Self, Rejection<TokenError>> {
        self.id_token = authenticated
            .sign(app, &self.access_token, &self.id_token_jti)
            .await?;
        Ok(self)
    }

    /// Says of which type the token is (RFC 8693 §2.2.1).
    pub(super) fn issued_as(self, issued_token_type: &'static str) -> Self {
        Self {
            issued_token_type: Some(issued_token_type),
            ..self
        }
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
                authorization_details: &self.authorization_details,
                issued_token_type: self.issued_token_type,
                grant_id: self.grant_id,
            })
            .into_response(),
        }
    }
}

/// The access token as a JWT (RFC 9068 §2).
fn sign(
    app: &App,
    client: &Registration,
    issued: &Issued,
    (address, randoms, status): (Address, &Randoms, Option<TokenStatus>),
) -> Result<String, Rejection<TokenError>> {
    let key = app.ledger.vault().master().address_key();
    let exchanged = issued.exchanged.as_deref();
    let claims = AccessClaims {
        iss: app.settings.issuer.clone(),
        sub: match (issued.subject, exchanged) {
            (Some(subject), _) => app.operations.subject_for(client, subject),
            (None, Some(exchanged)) => exchanged.client_subject.clone().unwrap_or_default(),
            (None, None) => client.client_id.clone(),
        },
        aud: issued.audience.clone().into(),
        client_id: client.client_id.clone(),
        scope: issued.scope.to_string(),
        iat: issued.issued_at.timestamp(),
        exp: issued.access_expires_at.timestamp(),
        jti: credential::format(Kind::TokenId, key, address, &randoms.access),
        cnf: issued.confirmation,
        authorization_details: issued.details.clone(),
        act: exchanged.and_then(|exchanged| exchanged.act.clone()),
        status,
        may_act: None,
    };
    let signed = app.keys.sign(client.metadata.access_token_algorithm, &claims);
    Ok(signed.map_err(LedgerError::from)?)
}

/// The address of an ID token: that of the access token beside it. Nothing is stored of the random part: the signature
/// tells. Beside a JWT it is the other half of the random bytes; an opaque token uses all of them up, and an ID token
/// travels where an access token must not, so there it is what only leads away from them.
fn id_token_jti(key: &AddressKey, address: Address, (format, random): (TokenFormat, &[u8; 32])) -> String {
    let random = match format {
        TokenFormat::Jwt => {
            let mut random = *random;
            random.rotate_left(16);
            random
        }
        TokenFormat::Opaque => Digest::of(&[b"ID token".as_slice(), random].concat()).0,
    };
    credential::format(Kind::TokenId, key, address, &random)
}
