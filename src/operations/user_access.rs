//! A user's logins and consents as administrators are shown them, and end them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::account::{Application, BrowserLogin};
use super::{OperationError, Operations};
use crate::clock::Timestamp;
use crate::domain::openid::Claim;
use crate::ids::{SessionId, SubjectId};
use crate::ledger::Caller;

/// A browser login that holds.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownLogin {
    /// Its id, the `sid` of ID tokens.
    pub session: SessionId,
    /// When it began.
    pub started_at: Timestamp,
    /// When the user last proved who they are (`auth_time`).
    pub authenticated_at: Timestamp,
    /// How (RFC 8176 `amr` values).
    pub amr: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// From where it was last authenticated, where that is asked for and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
}

/// What a user allows a client.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownConsent {
    /// The client's id.
    pub client_id: String,
    /// The client's name.
    pub client_name: String,
    /// The scopes that are allowed.
    pub scope: Vec<String>,
    /// Those of them that are allowed for named resources alone (RFC 8707), and for which.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub only_for: BTreeMap<String, BTreeSet<String>>,
    /// The claims of the user that are allowed one by one (OpenID Connect Core §5.5.1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<&'static str>,
    /// The types of the authorization details that are remembered as allowed (RFC 9396).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details_types: Vec<String>,
    /// Since when.
    pub since: Timestamp,
    /// When the client last got a token, or one of its tokens was last used here; null where neither ever was.
    pub last_used: Option<Timestamp>,
}

impl ShownLogin {
    fn new(login: BrowserLogin, reveal: bool) -> Self {
        let BrowserLogin {
            id,
            started_at,
            login,
            caller,
        } = login;
        Self {
            session: id,
            started_at,
            authenticated_at: login.authenticated_at,
            amr: login.amr,
            expires_at: login.expires_at,
            caller: caller.filter(|_| reveal),
        }
    }
}

impl From<Application> for ShownConsent {
    fn from(application: Application) -> Self {
        let Application {
            key: _,
            registration,
            scopes,
            only_for,
            claims,
            details,
            since,
            last_used,
        } = application;
        let mut types: Vec<String> = details.into_iter().map(|detail| detail.type_name).collect();
        types.sort();
        types.dedup();
        Self {
            client_id: registration.client_id,
            client_name: registration.metadata.client_name,
            scope: scopes.into_iter().map(|scope| scope.name).collect(),
            only_for,
            claims: claims.into_iter().map(Claim::name).collect(),
            authorization_details_types: types,
            since,
            last_used,
        }
    }
}

impl Operations {
    /// The browser logins of a user that hold now, the latest first; with the callers' addresses where they are revealed.
    pub async fn shown_logins(
        &self,
        subject: SubjectId,
        reveal: bool,
    ) -> Result<Vec<ShownLogin>, OperationError> {
        let logins = self.browser_logins(subject).await?;
        Ok(logins
            .into_iter()
            .map(|login| ShownLogin::new(login, reveal))
            .collect())
    }

    /// What a user allows clients: by a consent that stands, or by tokens that are alive.
    pub async fn shown_consents(&self, subject: SubjectId) -> Result<Vec<ShownConsent>, OperationError> {
        let applications = self.applications(subject).await?;
        Ok(applications.into_iter().map(ShownConsent::from).collect())
    }
}
