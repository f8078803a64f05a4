//! `/admin/authorization-detail-types`: what `grantlog authorization-detail-type` does (RFC 9396).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing};
use super::scope::AdminScope;
use crate::domain::authorization_detail::{AuthorizationDetailTypeCommand, DetailTypeTerms, parse};
use crate::operations::authorization_detail_shown::{CheckedDetail, ShownDetailType};

/// Which type.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its name.
    r#type: String,
}

/// All types.
#[derive(Serialize, JsonSchema)]
struct Types {
    /// In the order in which they were first defined; retired ones too.
    items: Vec<ShownDetailType>,
}

/// What the details of a type are, and how they are shown.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Definition {
    /// The JSON Schema (2020-12) that its details conform to, `type` among them; `additionalProperties` or
    /// `unevaluatedProperties` is false at its top.
    schema: Map<String, Value>,
    /// The sentence of the consent page, with `{member}` or `{member.member}` for what a detail says. Without: users see the
    /// members.
    #[serde(default)]
    template: Option<String>,
    /// The resource servers that its details are for, as in the audience of clients. Without: any.
    #[serde(default)]
    resources: Vec<String>,
    /// Whether the user is asked each time, whatever was allowed before: for what is done once, such as a payment.
    #[serde(default)]
    asked_each_time: bool,
}

/// Details to check.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Details {
    /// As a request would have them.
    authorization_details: Vec<Map<String, Value>>,
}

/// How they would be taken.
#[derive(Serialize, JsonSchema)]
struct Checked {
    /// Each of them.
    items: Vec<CheckedDetail>,
}

const ALL: &str = "/admin/authorization-detail-types";
const ONE: &str = "/admin/authorization-detail-types/{type}";

const LIST: About = About::get(
    ALL,
    (
        "listAuthorizationDetailTypes",
        "List types of authorization details",
    ),
);
const SHOW: About = About::get(ONE, ("showAuthorizationDetailType", "Show one type"));
const DEFINE: About = About::put(
    ONE,
    (
        "defineAuthorizationDetailType",
        "Define a type, or replace what it is where it exists",
    ),
)
.scope(AdminScope::Full);
const RETIRE: About = About::post(
    AdminScope::Full,
    "/admin/authorization-detail-types/{type}/retire",
    (
        "retireAuthorizationDetailType",
        "Let nobody be granted a type any more; tokens lose its details at once",
    ),
);
const CHECK: About = About::post(
    AdminScope::Read,
    "/admin/authorization-detail-types/check",
    (
        "checkAuthorizationDetails",
        "Check authorization details against their types, and show them as users see them",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(CHECK, check),
        operation(SHOW, show),
        operation(DEFINE, define),
        operation(RETIRE, retire),
    ]
}

async fn list(call: Call, _: Asked) -> Result<Types, Rejected> {
    let items = call.operations().shown_detail_types().await?;
    Ok(Types { items })
}

async fn shown(call: &Call, name: &str) -> Result<ShownDetailType, Rejected> {
    let shown = call.operations().shown_detail_type(name).await?;
    shown.ok_or_else(|| call.missing("There is no such type."))
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownDetailType, Rejected> {
    shown(&call, &asked.path.r#type).await
}

async fn define(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Definition>>,
) -> Result<ShownDetailType, Rejected> {
    let name = asked.path.r#type;
    let Definition {
        schema,
        template,
        resources,
        asked_each_time,
    } = asked.body.0;
    let command = AuthorizationDetailTypeCommand::Define {
        name: name.clone(),
        terms: DetailTypeTerms {
            schema: Value::Object(schema).to_string(),
            template,
            resources,
            asked_each_time,
        },
    };
    call.operations()
        .command_authorization_detail_type(&call.context, &name, &command)
        .await?;
    shown(&call, &name).await
}

async fn retire(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Because>>,
) -> Result<ShownDetailType, Rejected> {
    let name = asked.path.r#type;
    let context = call.because(Some(asked.body.0.reason.0));
    call.operations()
        .command_authorization_detail_type(&context, &name, &AuthorizationDetailTypeCommand::Retire)
        .await?;
    shown(&call, &name).await
}

async fn check(call: Call, asked: Asked<Nothing, Nothing, JsonBody<Details>>) -> Result<Checked, Rejected> {
    let details = asked.body.0.authorization_details;
    let text = Value::Array(details.into_iter().map(Value::Object).collect()).to_string();
    let details = parse(&text).map_err(|error| call.invalid(format!("authorization_details: {error}")))?;
    let items = call.operations().check_details(&details).await?;
    Ok(Checked { items })
}
