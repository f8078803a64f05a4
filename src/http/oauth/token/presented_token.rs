//! The tokens that a client presents to be exchanged (RFC 8693 §2.1): read by their signature, and then checked against
//! their own grants.

use chrono::DateTime;

use super::super::access_token::PresentedAccessToken;
use super::super::standing;
use crate::app::App;
use crate::credential::{self, Address, Kind};
use crate::domain::authorization_detail::Detail;
use crate::domain::confirmation::Confirmation;
use crate::domain::grant::{Act, ActiveToken, Basis, Grant, MayAct, TokenRef};
use crate::domain::value::ScopeSet;
use crate::ids::KeyId;
use crate::ledger::{LedgerError, UnitOfWork};

/// A type of token (RFC 8693 §3) that can be exchanged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    /// An access token of this server.
    AccessToken,
    /// The same, by the name of its form.
    Jwt,
    /// An ID token of this server.
    IdToken,
}

impl TokenType {
    const ALL: [Self; 3] = [Self::AccessToken, Self::Jwt, Self::IdToken];

    /// The type's identifier.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// A token whose form, signature and time are good.
pub(super) struct PresentedToken {
    address: Address,
    /// None: an opaque access token, which nothing signed.
    key: Option<KeyId>,
    sub: String,
    /// None: an ID token, which opens nothing itself and stands for all of its grant.
    scope: Option<ScopeSet>,
    /// Its authorization details; none: an ID token.
    pub(super) details: Option<Vec<Detail>>,
    exp: i64,
    act: Option<Act>,
    may_act: Option<MayAct>,
    /// The key that it is bound to.
    pub(super) confirmation: Option<Confirmation>,
}

impl PresentedToken {
    /// Reads a token of that type; none where it is not one of this server's, or its time is over.
    pub(super) async fn read(app: &App, kind: TokenType, text: &str) -> Result<Option<Self>, LedgerError> {
        let issuer = &app.settings.issuer;
        let address_key = app.ledger.vault().master().address_key();
        let address =
            |jti: &str| credential::parse(Kind::TokenId, address_key, jti).map(|presented| presented.address);
        match kind {
            TokenType::AccessToken | TokenType::Jwt => {
                let token = PresentedAccessToken::read(app, text).await?.ok();
                // RFC 8693 §3: an opaque token is no JWT.
                let token = token.filter(|token| kind == TokenType::AccessToken || token.key.is_some());
                Ok(token.map(|token| Self::of(&token)))
            }
            TokenType::IdToken => {
                Ok(app
                    .keys
                    .verify_id_token(text, issuer)
                    .await?
                    .and_then(|(claims, key)| {
                        Some(Self {
                            address: address(&claims.jti)?,
                            key: Some(key),
                            sub: claims.sub,
                            scope: None,
                            details: None,
                            exp: claims.exp,
                            act: None,
                            may_act: None,
                            confirmation: claims.cnf,
                        })
                    }))
            }
        }
    }

    fn of(token: &PresentedAccessToken) -> Self {
        let claims = &token.claims;
        Self {
            address: token.presented.address,
            key: token.key,
            sub: claims.sub.clone(),
            scope: Some(ScopeSet::parse(&claims.scope).unwrap_or_default()),
            details: Some(claims.authorization_details.clone()),
            exp: claims.exp,
            act: claims.act.clone(),
            may_act: claims.may_act.clone(),
            confirmation: claims.cnf,
        }
    }

    /// The token, where it is active at this moment; as the ledger has it, not as it says.
    pub(super) async fn active(&self, unit: &mut UnitOfWork<'_>) -> Result<Option<ActiveToken>, LedgerError> {
        if !standing::signer_stands(unit, self.key).await? {
            return Ok(None);
        }
        let grant = unit.load::<Grant>(self.address.grant.0).await?;
        let Some(family) = grant.access_at(self.address.sequence) else {
            return Ok(None);
        };
        let Some((client, circumstances)) = standing::carried(unit, family).await? else {
            return Ok(None);
        };
        let allowed = &circumstances.allowed_scope;
        let scope = match &self.scope {
            Some(scope) => scope.intersection(allowed),
            None => allowed.clone(),
        };
        let lineage = match family.basis.as_deref() {
            Some(Basis::Tokens(lineage)) => Some(lineage.clone()),
            Some(Basis::Trust(_)) | None => None,
        };
        let client_id = client
            .registration
            .as_ref()
            .map(|client| client.client_id.clone());
        Ok(Some(ActiveToken {
            token: TokenRef {
                grant: self.address.grant,
                sequence: self.address.sequence,
                client: family.client,
                key: self.key,
            },
            subject: family.subject,
            sub: self.sub.clone(),
            client_id: client_id.unwrap_or_default(),
            scope,
            expires_at: DateTime::from_timestamp(self.exp, 0).unwrap_or(DateTime::UNIX_EPOCH),
            act: self.act.clone(),
            may_act: self.may_act.clone(),
            lineage,
        }))
    }
}
