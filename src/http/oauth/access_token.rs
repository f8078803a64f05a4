//! Access tokens as they are presented. A JWT (RFC 9068) says itself what it is, by its signature; of an opaque one, the
//! ledger's event says it, found by the address in the token and known by its digest.
//!
//! Here is checked what never changes, and the time. Whether the token is active is for its grant to say.

use std::sync::Arc;

use uuid::Uuid;

use crate::app::App;
use crate::clock::Timestamp;
use crate::credential::{self, Kind, Presented};
use crate::crypto::jwt::AccessClaims;
use crate::crypto::signing::TokenRefusal;
use crate::domain::authorization_detail::{Detail, Selection};
use crate::domain::client::{Client, GrantType, Registration};
use crate::domain::grant::{AccessToken, Act, Grant, GrantEvent, TokenExchanged};
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, GrantId, KeyId, SubjectId};
use crate::ledger::{Actor, Context, LedgerError, UnitOfWork, recorded_event};

use super::standing;

/// An access token of this server that is authentic and whose time is not over.
#[derive(Clone, Debug)]
pub(crate) struct PresentedAccessToken {
    /// What it says, or would say if it were a JWT. An opaque one has an empty `jti`.
    pub(crate) claims: Arc<AccessClaims>,
    /// Where it was issued.
    pub(crate) presented: Presented,
    /// The key that signed it; none for an opaque one.
    pub(crate) key: Option<KeyId>,
}

impl PresentedAccessToken {
    /// Reads a token of either form.
    pub(crate) async fn read(app: &App, text: &str) -> Result<Result<Self, TokenRefusal>, LedgerError> {
        if text.starts_with(Kind::Access.prefix()) {
            return opaque(app, text).await;
        }
        let token = match app.keys.verify(text, &app.settings.issuer).await? {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let key = app.ledger.vault().master().address_key();
        let presented = credential::parse(Kind::TokenId, key, &token.claims.jti);
        Ok(presented
            .map(|presented| Self {
                claims: token.claims,
                presented,
                key: Some(token.key),
            })
            .ok_or(TokenRefusal::NoAddress))
    }

    /// Whether the key that signed it is published now; true where there is none.
    pub(crate) async fn signer_stands(&self, unit: &mut UnitOfWork<'_>) -> Result<bool, LedgerError> {
        standing::signer_stands(unit, self.key).await
    }
}

async fn opaque(app: &App, text: &str) -> Result<Result<PresentedAccessToken, TokenRefusal>, LedgerError> {
    let key = app.ledger.vault().master().address_key();
    let Some(presented) = credential::parse(Kind::Access, key, text) else {
        return Ok(Err(TokenRefusal::Invalid));
    };
    let Some(issued) = Issued::find(app, &presented).await? else {
        return Ok(Err(TokenRefusal::Invalid));
    };
    // Compared in whole seconds, as the `exp` of a JWT is.
    if issued.access.expires_at.timestamp() <= app.ledger.clock().now().timestamp() {
        return Ok(Err(TokenRefusal::Expired));
    }
    let claims = issued.claims(app, presented.address.grant).await?;
    Ok(claims
        .map(|claims| PresentedAccessToken {
            claims: Arc::new(claims),
            presented,
            key: None,
        })
        .ok_or(TokenRefusal::Invalid))
}

/// What the issuing events have in common.
struct Issued {
    client: ClientKey,
    subject: Option<SubjectId>,
    scope: ScopeSet,
    audience: Vec<String>,
    details: Option<Selection>,
    access: AccessToken,
    at: Timestamp,
    exchanged: bool,
}

/// The token of an event that a refresh token was used for; the three types have the same members.
macro_rules! refreshed {
    ($event:expr) => {
        Some(Self {
            client: $event.client,
            subject: $event.subject,
            scope: $event.scope,
            audience: $event.audience,
            details: $event.details,
            access: $event.access,
            at: $event.issued_at,
            exchanged: false,
        })
    };
}

impl Issued {
    /// The event that issued the token with this digest. Events do not change: one that is found needs no second look.
    async fn find(app: &App, presented: &Presented) -> Result<Option<Self>, LedgerError> {
        let (grant, sequence) = (presented.address.grant, presented.address.sequence);
        let event = recorded_event::<Grant>(app.ledger.pool(), grant.0, i64::from(sequence)).await?;
        let issued = event.and_then(Self::of);
        Ok(issued.filter(|issued| issued.access.digest.matches(&presented.digest)))
    }

    fn of(event: GrantEvent) -> Option<Self> {
        match event {
            GrantEvent::TokenIssued(event) => Some(Self {
                client: event.client,
                subject: event.subject,
                scope: event.scope,
                audience: event.audience,
                details: event.details,
                access: event.access,
                at: event.issued_at,
                exchanged: event.flow == GrantType::TokenExchange,
            }),
            GrantEvent::RefreshRotated(event) => refreshed!(event),
            GrantEvent::AccessTokenRefreshed(event) => refreshed!(event),
            GrantEvent::RefreshRetried(event) => refreshed!(event),
            GrantEvent::CodeIssued(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::CodeReplayed(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceAuthorizationDenied(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::DeviceCodeReplayed(_)
            | GrantEvent::GrantImported(_)
            | GrantEvent::RefreshReplayed(_)
            | GrantEvent::GrantReplaced(_)
            | GrantEvent::TokenRevoked(_) => None,
        }
    }

    /// The claims of RFC 9068 §2.2 for it; none where its client is not known.
    async fn claims(self, app: &App, grant: GrantId) -> Result<Option<AccessClaims>, LedgerError> {
        let Some(client) = registration(app, self.client).await? else {
            return Ok(None);
        };
        let (act, root) = match (self.exchanged, self.subject) {
            (false, _) => (None, self.client),
            (true, _) => exchanged(app, grant).await?.unwrap_or((None, self.client)),
        };
        let sub = match self.subject {
            Some(subject) => app.operations.subject_for(&client, subject),
            None if root == self.client => client.client_id.clone(),
            None => match registration(app, root).await? {
                Some(root) => root.client_id.clone(),
                None => return Ok(None),
            },
        };
        let authorization_details = match &self.details {
            Some(selection) => granted(app, grant, selection).await?,
            None => Vec::new(),
        };
        Ok(Some(AccessClaims {
            iss: app.settings.issuer.clone(),
            sub,
            aud: self.audience.into(),
            client_id: client.client_id.clone(),
            scope: self.scope.to_string(),
            iat: self.at.timestamp(),
            exp: self.access.expires_at.timestamp(),
            jti: String::new(),
            cnf: self.access.confirmation,
            authorization_details,
            act,
            status: None,
            may_act: None,
        }))
    }
}

/// Who acts (RFC 8693 §4.1) by an exchanged token, and the client that the first of the exchanged tokens was issued to:
/// where there is no user, that one is the subject.
async fn exchanged(app: &App, grant: GrantId) -> Result<Option<(Option<Act>, ClientKey)>, LedgerError> {
    let event = recorded_event::<Grant>(app.ledger.pool(), grant.0, 1).await?;
    let Some(GrantEvent::TokenExchanged(event)) = event else {
        return Ok(None);
    };
    let TokenExchanged {
        act,
        subject_token,
        earlier_subjects,
        ..
    } = event;
    let root = earlier_subjects.last().unwrap_or(&subject_token).client;
    Ok(Some((act, root)))
}

/// What a token has of its grant's authorization details. A grant keeps those that it began with.
async fn granted(app: &App, id: GrantId, selection: &Selection) -> Result<Vec<Detail>, LedgerError> {
    let context = Context::local(Uuid::nil(), Actor::System, "access token");
    let mut unit = app.ledger.unit_of_work(&context);
    let grant = unit.load::<Grant>(id.0).await?;
    let Some(family) = grant.family.as_deref() else {
        return Ok(Vec::new());
    };
    Ok(selection.apply(&app.operations.details_of(id, family).await?))
}

/// A client's registration, as this node knows it: its name never changes. What may change of it is for the standing of
/// the grant to say, which is compared with the database.
async fn registration(app: &App, client: ClientKey) -> Result<Option<Arc<Registration>>, LedgerError> {
    let context = Context::local(Uuid::nil(), Actor::System, "access token");
    let mut unit = app.ledger.unit_of_work(&context);
    let client = unit.load::<Client>(client.0).await?;
    Ok(client.registration.clone())
}
