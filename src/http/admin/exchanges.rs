//! `/admin/clients/{client_id}/allow-exchange` and `disallow-exchange`: whose tokens a client may exchange (RFC 8693).

use schemars::JsonSchema;
use serde::Deserialize;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Nothing, Reason};
use super::scope::AdminScope;
use crate::domain::client::{ClientCommand, ExchangeMode, ExchangeRule};
use crate::domain::value::ScopeSet;
use crate::ids::ClientKey;
use crate::operations::client_shown::ShownClient;

/// Which client exchanges.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The client's id.
    client_id: String,
}

/// A rule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// The id of the client that the subject tokens were issued to.
    subject_client: String,
    /// What the exchanged tokens say of who acts.
    mode: ExchangeMode,
    /// The widest scope of the exchanged tokens, separated by spaces.
    scope: String,
    /// Whom they may be for: each is one of the audience of the client that exchanges.
    audience: Vec<String>,
}

/// A rule that ends.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Disallowed {
    /// The id of the client that the subject tokens were issued to.
    subject_client: String,
    /// In which mode.
    mode: ExchangeMode,
    /// Why; it is recorded.
    reason: Reason,
}

const ALLOW: About = About::post(
    AdminScope::Full,
    "/admin/clients/{client_id}/allow-exchange",
    ("allowExchange", "Let a client exchange tokens of another client"),
);
const DISALLOW: About = About::post(
    AdminScope::Full,
    "/admin/clients/{client_id}/disallow-exchange",
    (
        "disallowExchange",
        "Let a client exchange them no more; tokens that came of it end at once",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(ALLOW, allow), operation(DISALLOW, disallow)]
}

async fn subject_client(call: &Call, client_id: &str) -> Result<ClientKey, Rejected> {
    let known = call.operations().known_client(client_id).await?;
    known.ok_or_else(|| call.invalid("subject_client: there is no client of this id."))
}

async fn shown(call: &Call, key: ClientKey) -> Result<ShownClient, Rejected> {
    let shown = call.operations().shown_client(key).await?;
    shown.ok_or_else(|| call.missing("There is no client of this id."))
}

async fn allow(call: Call, asked: Asked<Named, Nothing, JsonBody<Allowed>>) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    let wanted = asked.body.0;
    let scope = ScopeSet::parse(&wanted.scope);
    let rule = ExchangeRule {
        subject_client: subject_client(&call, &wanted.subject_client).await?,
        mode: wanted.mode,
        scope: scope.map_err(|error| call.invalid(format!("scope: {error}")))?,
        audience: wanted.audience,
    };
    call.operations().allow_exchange(&call.context, key, rule).await?;
    shown(&call, key).await
}

async fn disallow(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Disallowed>>,
) -> Result<ShownClient, Rejected> {
    let key = call.client(&asked.path.client_id).await?;
    let Disallowed {
        subject_client: other,
        mode,
        reason,
    } = asked.body.0;
    let command = ClientCommand::DisallowExchange {
        subject_client: subject_client(&call, &other).await?,
        mode,
        reason: reason.0,
    };
    call.operations()
        .command_client(&call.context, key, &command)
        .await?;
    shown(&call, key).await
}
