//! `/admin/clients`: what `grantlog client` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::administers;
use super::body::{JsonBody, PatchBody};
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::guard::{guard, only_in_full};
use super::parameters::{Because, MayBecause, Nothing, Page, PageQuery, Reason};
use super::scope::AdminScope;
use crate::domain::client::{Approval, Client, ClientCommand};
use crate::ids::ClientKey;
use crate::operations::client::{ClientRegistration, CreatedClient};
use crate::operations::client_shown::ShownClient;
use crate::operations::describe;

/// Which client.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The client's id.
    client_id: String,
}

/// A client that was just registered.
#[derive(Serialize, JsonSchema)]
struct Registered {
    /// When, in seconds since 1970 (RFC 7591 §3.2.1).
    client_id_issued_at: i64,
    /// Its secret, told this once, where it has one that was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// 0: it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<i64>,
    #[serde(flatten)]
    client: ShownClient,
}

/// A new secret.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// Seconds that the old secrets are still accepted.
    #[serde(default)]
    overlap_seconds: u32,
    /// Why; it is recorded.
    #[serde(default)]
    reason: Option<Reason>,
}

/// A new secret, told this once.
#[derive(Serialize, JsonSchema)]
struct Rotated {
    /// The client's id.
    client_id: String,
    /// The secret.
    client_secret: String,
    /// 0: it does not expire.
    client_secret_expires_at: i64,
    /// Seconds that the old secrets are still accepted.
    old_secrets_end_in: u32,
}

/// A token to manage a registration with (RFC 7592), told this once.
#[derive(Serialize, JsonSchema)]
struct RegistrationToken {
    /// The client's id.
    client_id: String,
    /// The token.
    registration_access_token: String,
}

/// A step of the approval of a restricted scope.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApprovalStep {
    /// The scope.
    scope: String,
    /// Which step.
    step: Approval,
    /// Why; it is recorded. Only an approval may be without.
    #[serde(default)]
    reason: Option<Reason>,
}

const ALL: &str = "/admin/clients";
const ONE: &str = "/admin/clients/{client_id}";

const LIST: About = About::get(
    ALL,
    ("listClients", "List clients in the order of their registration"),
);
const CREATE: About = About::post(
    AdminScope::Configure,
    ALL,
    ("createClient", "Register a client; its secret is told this once"),
)
.creates();
const SHOW: About = About::get(ONE, ("showClient", "Show a client, with what weakens it"));
const UPDATE: About = About::patch(ONE, ("updateClient", "Change members of a client's metadata"));
const SUSPEND: About = About::post(
    AdminScope::Operate,
    "/admin/clients/{client_id}/suspend",
    ("suspendClient", "Block a client until it is reinstated"),
);
const REINSTATE: About = About::post(
    AdminScope::Operate,
    "/admin/clients/{client_id}/reinstate",
    (
        "reinstateClient",
        "Unblock a client that is suspended, or throttled by a policy",
    ),
);
const REVOKE: About = About::post(
    AdminScope::Configure,
    "/admin/clients/{client_id}/revoke",
    ("revokeClient", "Block a client for good"),
);
const ROTATE: About = About::post(
    AdminScope::Configure,
    "/admin/clients/{client_id}/rotate-secret",
    (
        "rotateClientSecret",
        "Add a secret, told this once; the ones before end after an overlap",
    ),
);
const REGISTRATION_TOKEN: About = About::post(
    AdminScope::Configure,
    "/admin/clients/{client_id}/registration-token",
    (
        "issueRegistrationToken",
        "Give a client a new token to manage its registration with, told this once",
    ),
);
const APPROVE: About = About::post(
    AdminScope::Configure,
    "/admin/clients/{client_id}/approvals",
    (
        "approveScope",
        "Request, approve, reject or withdraw a restricted scope",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(CREATE, create),
        operation(SHOW, show),
        operation(UPDATE, update),
        operation(SUSPEND, suspend),
        operation(REINSTATE, reinstate),
        operation(REVOKE, revoke),
        operation(ROTATE, rotate),
        operation(REGISTRATION_TOKEN, registration_token),
        operation(APPROVE, approve),
    ]
}

async fn list(call: Call, asked: Asked<Nothing, PageQuery>) -> Result<Page<ShownClient>, Rejected> {
    let PageQuery { after, limit } = asked.query;
    let clients = call.operations().shown_clients(after, limit.0).await?;
    Ok(Page::new(clients, limit, |client| {
        client.position.unwrap_or_default()
    }))
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    shown(&call, key).await
}

async fn shown(call: &Call, key: ClientKey) -> Result<ShownClient, Rejected> {
    let shown = call.operations().shown_client(key).await?;
    shown.ok_or_else(|| call.missing("There is no client of this id."))
}

async fn create(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<ClientRegistration>>,
) -> Result<Registered, Rejected> {
    let registration = asked.body.0;
    let created = call
        .operations()
        .create_client(&call.context, registration)
        .await?;
    let CreatedClient {
        key, client_secret, ..
    } = created;
    Ok(Registered {
        client_id_issued_at: call.app.ledger.clock().now().timestamp(),
        client_secret_expires_at: client_secret.as_ref().map(|_| 0),
        client_secret,
        client: shown(&call, key).await?,
    })
}

async fn update(
    call: Call,
    asked: Asked<Named, Nothing, PatchBody<ClientRegistration>>,
) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    guard(&call, key).await?;
    let client = call.operations().load::<Client>(key.0).await?;
    let missing = || call.missing("There is no client of this id.");
    let registration = client.registration.as_deref().ok_or_else(missing)?;
    let metadata = describe::merge(&registration.metadata, asked.body.members)?;
    call.operations()
        .update_client(&call.context, key, metadata)
        .await?;
    shown(&call, key).await
}

async fn command(call: &Call, key: ClientKey, command: &ClientCommand) -> Result<ShownClient, Rejected> {
    call.operations()
        .command_client(&call.context, key, command)
        .await?;
    shown(call, key).await
}

async fn suspend(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Because>>,
) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    guard(&call, key).await?;
    let reason = asked.body.0.reason.0;
    command(&call, key, &ClientCommand::Suspend { reason }).await
}

async fn reinstate(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<MayBecause>>,
) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    guard(&call, key).await?;
    let context = call.because(asked.body.0.reason.map(|reason| reason.0));
    let operations = call.operations();
    operations
        .command_client(&context, key, &ClientCommand::Reinstate)
        .await?;
    shown(&call, key).await
}

async fn revoke(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Because>>,
) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    guard(&call, key).await?;
    let reason = asked.body.0.reason.0;
    command(&call, key, &ClientCommand::Revoke { reason }).await
}

async fn rotate(call: Call, asked: Asked<Named, Nothing, JsonBody<Rotation>>) -> Result<Rotated, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    guard(&call, key).await?;
    let Rotation {
        overlap_seconds,
        reason,
    } = asked.body.0;
    let context = call.because(reason.map(|reason| reason.0));
    let operations = call.operations();
    let client_secret = operations
        .rotate_client_secret(&context, key, overlap_seconds)
        .await?;
    Ok(Rotated {
        client_id: shown(&call, key).await?.client_id,
        client_secret,
        client_secret_expires_at: 0,
        old_secrets_end_in: overlap_seconds,
    })
}

async fn registration_token(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<MayBecause>>,
) -> Result<RegistrationToken, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    guard(&call, key).await?;
    let context = call.because(asked.body.0.reason.map(|reason| reason.0));
    let token = call.operations().issue_registration_token(&context, key).await?;
    Ok(RegistrationToken {
        client_id: shown(&call, key).await?.client_id,
        registration_access_token: token,
    })
}

async fn approve(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<ApprovalStep>>,
) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    let ApprovalStep { scope, step, reason } = asked.body.0;
    if administers(&scope) && !call.administrator.is_full {
        return Err(only_in_full(&call));
    }
    let reason = reason.map(|reason| reason.0).unwrap_or_default();
    command(&call, key, &ClientCommand::Approval { scope, step, reason }).await
}
