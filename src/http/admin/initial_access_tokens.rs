//! `/admin/initial-access-tokens`: what `grantlog client initial-access-token` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Id, Nothing, Page, PageQuery};
use super::scope::AdminScope;
use crate::domain::client::GrantType;
use crate::domain::initial_access_token::RegistrationPermit;
use crate::domain::value::ScopeSet;
use crate::operations::initial_access_token::{NewInitialToken, ShownInitialToken, Standing};

/// Which one.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its id, which is not the token.
    id: Id,
}

/// What a new one is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New {
    /// What it is for, in your words.
    #[serde(default)]
    label: String,
    /// How many clients may be registered with it.
    #[serde(default = "once")]
    uses: u32,
    /// Seconds that it is good for; a week where nothing is said.
    #[serde(default = "a_week")]
    expires_in: u32,
    /// The scopes that its clients may have, separated by spaces, in place of the setting `registration_scopes`.
    #[serde(default)]
    scope: Option<String>,
    /// The grant types that its clients may use, in place of the setting `registration_grant_types`.
    #[serde(default)]
    grant_types: Option<Vec<GrantType>>,
    /// The types of authorization details that its clients may ask for, in place of the setting
    /// `registration_authorization_details_types`.
    #[serde(default)]
    authorization_details_types: Option<Vec<String>>,
    /// Whether its clients need a software statement.
    #[serde(default)]
    software_statement: bool,
    /// Whether its confidential clients may leave PKCE out, as with the setting `registration_pkce_optional`.
    #[serde(default)]
    pkce_optional: bool,
}

fn once() -> u32 {
    1
}

fn a_week() -> u32 {
    7 * 86_400
}

/// A new one, told this once.
#[derive(Serialize, JsonSchema)]
struct Issued {
    /// Its id.
    id: Uuid,
    /// The token.
    initial_access_token: String,
    /// How many clients may be registered with it.
    uses: u32,
    /// Seconds that it is good for.
    expires_in: u32,
}

/// One that is over.
#[derive(Serialize, JsonSchema)]
struct Revoked {
    /// Its id.
    id: Uuid,
    /// How it stands.
    standing: Standing,
}

const ALL: &str = "/admin/initial-access-tokens";

const LIST: About = About::get(
    ALL,
    (
        "listInitialAccessTokens",
        "List initial access tokens in the order of their creation",
    ),
);
const CREATE: About = About::post(
    AdminScope::Full,
    ALL,
    (
        "createInitialAccessToken",
        "Let others register clients, a number of them and for a time; the token is told this once",
    ),
)
.creates();
const REVOKE: About = About::post(
    AdminScope::Operate,
    "/admin/initial-access-tokens/{id}/revoke",
    (
        "revokeInitialAccessToken",
        "Let nobody register with one any more; clients registered with it stay",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(CREATE, create),
        operation(REVOKE, revoke),
    ]
}

async fn list(call: Call, asked: Asked<Nothing, PageQuery>) -> Result<Page<ShownInitialToken>, Rejected> {
    let PageQuery { after, limit } = asked.query;
    let shown = call.operations().shown_initial_tokens(after, limit.0).await?;
    Ok(Page::new(shown, limit, |token| token.position))
}

async fn create(call: Call, asked: Asked<Nothing, Nothing, JsonBody<New>>) -> Result<Issued, Rejected> {
    let new = asked.body.0;
    let scope = new.scope.as_deref().map(ScopeSet::parse).transpose();
    let token = NewInitialToken {
        label: new.label,
        uses: new.uses,
        lifetime: new.expires_in,
        permits: RegistrationPermit {
            scope: scope.map_err(|error| call.invalid(format!("scope: {error}")))?,
            grant_types: new.grant_types,
            authorization_details_types: new.authorization_details_types,
            software_statement: new.software_statement,
            pkce_optional: new.pkce_optional,
        },
    };
    let operations = call.operations();
    let (id, initial_access_token) = operations.issue_initial_token(&call.context, token).await?;
    Ok(Issued {
        id,
        initial_access_token,
        uses: new.uses,
        expires_in: new.expires_in,
    })
}

async fn revoke(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<Revoked, Rejected> {
    let id = asked.path.id.0;
    let reason = asked.body.0.reason.0;
    call.operations()
        .revoke_initial_token(&call.context, id, &reason)
        .await?;
    let standing = Standing::Revoked;
    Ok(Revoked { id, standing })
}
