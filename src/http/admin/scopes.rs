//! `/admin/scopes`: what `grantlog scope` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::administers;
use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing, Reason};
use super::scope::AdminScope;
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::ScopeCommand;
use crate::http::error::{AdminError, ApiError};
use crate::ledger::Context;
use crate::operations::scope::ShownScope;

/// Which scope.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its name.
    scope: String,
}

/// All scopes.
#[derive(Serialize, JsonSchema)]
struct Scopes {
    /// In the order in which they were defined, also retired ones.
    items: Vec<ShownScope>,
}

/// What a scope is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Definition {
    /// What it allows, in the words of the consent page.
    description: String,
    /// Whether each client needs an administrator's approval to use it.
    #[serde(default)]
    restricted: bool,
}

/// What of a scope is to be different.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// What it allows, in the words of the consent page.
    #[serde(default)]
    description: Option<String>,
    /// Whether each client needs an administrator's approval to use it.
    #[serde(default)]
    restricted: Option<bool>,
    /// Why; it is recorded.
    #[serde(default)]
    reason: Option<Reason>,
}

pub(super) fn operations() -> Vec<Operation> {
    const ONE: &str = "/admin/scopes/{scope}";
    vec![
        operation(
            About::get("/admin/scopes", ("listScopes", "List scopes, also retired ones")),
            list,
        ),
        operation(About::get(ONE, ("showScope", "Show a scope")), show),
        operation(
            About::put(
                ONE,
                ("defineScope", "Define a scope, or change it where it exists"),
            ),
            define,
        ),
        operation(
            About::patch(
                ONE,
                ("changeScope", "Change a scope's description or restriction"),
            ),
            change,
        ),
        operation(
            About::post(
                AdminScope::Configure,
                "/admin/scopes/{scope}/retire",
                (
                    "retireScope",
                    "Let nobody be granted a scope any more; tokens lose it at once",
                ),
            ),
            retire,
        ),
    ]
}

async fn list(call: Call, _: Asked) -> Result<Scopes, Rejected> {
    let items = call.operations().scopes().await?;
    Ok(Scopes { items })
}

async fn shown(call: &Call, name: &str) -> Result<ShownScope, Rejected> {
    let scope = call.operations().scope(name).await?;
    scope.ok_or_else(|| call.missing("There is no such scope."))
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownScope, Rejected> {
    shown(&call, &asked.path.scope).await
}

/// The scopes that administer are for whoever may administer everything.
async fn command(
    call: &Call,
    context: &Context,
    (name, command): (&str, &ScopeCommand),
) -> Result<ShownScope, Rejected> {
    if administers(name) && !call.administrator.is_full {
        return Err(call.refuse(
            AdminError::from(ApiError::PermissionDenied),
            RefusalReason::AdministrationOfAdministrators,
        ));
    }
    call.operations().command_scope(context, name, command).await?;
    shown(call, name).await
}

async fn define(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Definition>>,
) -> Result<ShownScope, Rejected> {
    let name = asked.path.scope;
    let Definition {
        description,
        restricted,
    } = asked.body.0;
    let define = ScopeCommand::Define {
        name: name.clone(),
        description,
        restricted,
    };
    command(&call, &call.context, (&name, &define)).await
}

async fn change(call: Call, asked: Asked<Named, Nothing, JsonBody<Change>>) -> Result<ShownScope, Rejected> {
    let Change {
        description,
        restricted,
        reason,
    } = asked.body.0;
    if description.is_none() && restricted.is_none() {
        return Err(call.invalid("It changes nothing: give description or restricted."));
    }
    let change = ScopeCommand::Change {
        description,
        restricted,
    };
    let context = call.because(reason.map(|reason| reason.0));
    command(&call, &context, (&asked.path.scope, &change)).await
}

async fn retire(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<ShownScope, Rejected> {
    shown(&call, &asked.path.scope).await?;
    let context = call.because(Some(asked.body.0.reason.0));
    command(&call, &context, (&asked.path.scope, &ScopeCommand::Retire)).await
}
