//! `/admin/trusted-issuers`: what `grantlog trust` does. Issuers are URLs, so that they go by parameters and not by paths.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Nothing, Reason};
use super::scope::AdminScope;
use crate::domain::client::PublicJwks;
use crate::domain::trusted_issuer::{IssuerKeys, SubjectMapping, Trust};
use crate::domain::value::ScopeSet;
use crate::operations::OperationError;
use crate::operations::trust::ShownTrust;

/// Which issuers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// That one only: the `iss` of its assertions.
    issuer: Option<String>,
}

/// Issuers that are or were trusted.
#[derive(Serialize, JsonSchema)]
struct Issuers {
    /// In the order in which they first were.
    items: Vec<ShownTrust>,
}

/// An issuer and how far it is trusted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The `iss` of its assertions.
    issuer: String,
    /// Its public keys: a JWK set (RFC 7517 §5). This or `jwks_uri`.
    jwks: Option<Map<String, Value>>,
    /// Where it publishes them instead; they are fetched when they are needed.
    jwks_uri: Option<String>,
    /// Whom the subject of an assertion is here.
    subject_is: SubjectMapping,
    /// The only `sub` values that are taken; needed where the subject is the client.
    #[serde(default)]
    subjects: Vec<String>,
    /// The ids of the clients that may use its assertions.
    clients: Vec<String>,
    /// The widest scope of the tokens, separated by spaces.
    scope: String,
    /// The types of authorization details that the tokens may have (RFC 9396).
    #[serde(default)]
    authorization_details_types: Vec<String>,
    /// Seconds that an access token lives at most.
    #[serde(default = "usual_lifetime")]
    max_lifetime: u32,
    /// Whether an assertion may have no `jti`. It is good once all the same.
    #[serde(default)]
    jti_optional: bool,
}

fn usual_lifetime() -> u32 {
    3_600
}

/// An issuer that is trusted no more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// The `iss` of its assertions.
    issuer: String,
    /// Why; it is recorded.
    reason: Reason,
}

const ALL: &str = "/admin/trusted-issuers";

const LIST: About = About::get(
    ALL,
    (
        "listTrustedIssuers",
        "List the servers whose assertions are or were good here",
    ),
);
const TRUST: About = About::put(
    ALL,
    (
        "trustIssuer",
        "Trust an issuer of assertions, or change how far it is trusted",
    ),
)
.scope(AdminScope::Full);
const REMOVE: About = About::post(
    AdminScope::Full,
    "/admin/trusted-issuers/remove",
    (
        "distrustIssuer",
        "Trust an issuer no more; tokens that came of its assertions end at once",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(TRUST, trust),
        operation(REMOVE, remove),
    ]
}

async fn shown(call: &Call, issuer: &str) -> Result<ShownTrust, Rejected> {
    let shown = call.operations().shown_trust(issuer).await?;
    let shown = shown.ok_or_else(|| call.missing("This issuer was never trusted."))?;
    call.looked
        .at(|reading| reading.resource.clone_from(&shown.issuer));
    Ok(shown)
}

async fn list(call: Call, asked: Asked<Nothing, Filter>) -> Result<Issuers, Rejected> {
    let items = match asked.query.issuer {
        None => call.operations().shown_trusts().await?,
        Some(issuer) => vec![shown(&call, &issuer).await?],
    };
    Ok(Issuers { items })
}

async fn trust(call: Call, asked: Asked<Nothing, Nothing, JsonBody<Wanted>>) -> Result<ShownTrust, Rejected> {
    let wanted = asked.body.0;
    let jwks = wanted.jwks.map(|jwks| PublicJwks::parse(&Value::Object(jwks)));
    let jwks = jwks.transpose();
    let jwks = jwks.map_err(|error| call.invalid(format!("jwks: {error}")))?;
    let scope = ScopeSet::parse(&wanted.scope);
    let mut clients = Vec::with_capacity(wanted.clients.len());
    for client in &wanted.clients {
        let known = call.operations().known_client(client).await?;
        clients.push(known.ok_or_else(|| call.invalid("clients: there is no client of one of these ids."))?);
    }
    let trust = Trust {
        keys: IssuerKeys::of(jwks, wanted.jwks_uri).map_err(OperationError::from)?,
        subject_is: wanted.subject_is,
        subjects: wanted.subjects,
        clients,
        scope: scope.map_err(|error| call.invalid(format!("scope: {error}")))?,
        authorization_details_types: wanted.authorization_details_types,
        max_lifetime: wanted.max_lifetime,
        jti_optional: wanted.jti_optional,
    };
    let operations = call.operations();
    operations
        .trust_issuer(&call.context, &wanted.issuer, trust)
        .await?;
    shown(&call, &wanted.issuer).await
}

async fn remove(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<Removal>>,
) -> Result<ShownTrust, Rejected> {
    let Removal { issuer, reason } = asked.body.0;
    let operations = call.operations();
    operations
        .distrust_issuer(&call.context, &issuer, &reason.0)
        .await?;
    shown(&call, &issuer).await
}
