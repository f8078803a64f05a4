//! The OpenAPI 3.1 document: made from the very calls that are served and the types that they read and answer.
//! <https://spec.openapis.org/oas/v3.1.0>

use std::borrow::Cow;
use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{HeaderValue, header as http_header};
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::error::AdminErrorBody;
use super::body::RequestBody;
use super::endpoint::{About, Verb};
use super::parameters::Parameters;
use super::scope::{AdminScope, SCOPE};
use crate::app::App;

/// Where the document is.
pub const PATH: &str = "/openapi.json";

/// Schemas of what is read and of what is answered.
pub(in crate::http) struct Generators {
    read: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Generators {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        // What is read is written out where it is used: the same type may be answered in another form.
        let inline = |settings: SchemaSettings| settings.with(|settings| settings.inline_subschemas = true);
        Self {
            read: inline(settings().for_deserialize()).into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }
}

/// Answers with the document: it is for everybody, and says of this installation no more than its issuer.
pub(super) async fn serve(State(app): State<App>) -> Response {
    static DOCUMENT: OnceLock<(String, String)> = OnceLock::new();
    let made = |issuer: &str| document(Some(issuer)).to_string();
    let issuer = app.settings.issuer.as_str();
    let (of, text) = DOCUMENT.get_or_init(|| (issuer.to_owned(), made(issuer)));
    let text = if of == issuer {
        Cow::Borrowed(text.as_str())
    } else {
        // Another server in this process.
        Cow::Owned(made(issuer))
    };
    let headers = [
        (
            http_header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            http_header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600"),
        ),
    ];
    (headers, text).into_response()
}

/// The document of the administration API: of the server of an issuer, or of any, whose address whoever reads it knows.
#[must_use]
pub fn document(issuer: Option<&str>) -> Value {
    let server = issuer.unwrap_or("/");
    let token_url = format!("{}/oauth/token", issuer.unwrap_or_default());
    let mut generators = Generators::new();
    let mut paths: Map<String, Value> = Map::new();
    for operation in super::operations() {
        let item = paths.entry(operation.about.path).or_insert_with(|| json!({}));
        let described = (operation.describe)(&mut generators);
        if let Some(item) = item.as_object_mut() {
            item.insert(operation.about.verb.name().to_owned(), described);
        }
    }
    let error = generators.answered.subschema_for::<AdminErrorBody>().to_value();
    let responses = json!({
        "Error": {
            "description": "The call was refused; what says why, and nothing was done.",
            "content": {"application/json": {"schema": error}},
        },
    });
    let scopes: Map<String, Value> = std::iter::once((SCOPE, "All of it"))
        .chain(AdminScope::PARTS.map(|scope| (scope.name(), scope.description())))
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Grantlog administration API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Calls need a token that a client got for itself (client_credentials), with the scope that \
                the call names or with `admin`; the client must be approved for that scope. A token that is bound to a \
                key or certificate needs the proof of it. Each call is on the trail.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": generators.answered.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "clientCredentials": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": token_url, "scopes": scopes}},
                },
            },
        },
    })
}

/// One call, by the types of its path, query, body and answer.
pub(super) fn operation<P, Q, B, A>(about: About, generators: &mut Generators) -> Value
where
    P: Parameters,
    Q: Parameters,
    B: RequestBody,
    A: Serialize + JsonSchema,
{
    let mut parameters = parameters_of::<P>("path", generators);
    parameters.extend(parameters_of::<Q>("query", generators));
    parameters.push(operator());
    let schema = generators.answered.subschema_for::<A>().to_value();
    let content = json!({"application/json": {"schema": schema}});
    let mut described = described(about, &parameters, &content);
    if let (Some((media_type, schema)), Some(members)) =
        (B::describe(&mut generators.read), described.as_object_mut())
    {
        let body = json!({"required": true, "content": {media_type: {"schema": schema}}});
        members.insert("requestBody".to_owned(), body);
    }
    described
}

/// A call whose answer is no JSON.
pub(super) fn raw<P: Parameters, Q: Parameters>(
    about: About,
    (headers, content): (&[Value], &Value),
    generators: &mut Generators,
) -> Value {
    let mut parameters = parameters_of::<P>("path", generators);
    parameters.extend(parameters_of::<Q>("query", generators));
    parameters.push(operator());
    parameters.extend_from_slice(headers);
    described(about, &parameters, content)
}

/// The header that names the person behind a call.
fn operator() -> Value {
    header(
        "Grantlog-Operator",
        "The person on whose behalf the client calls, as the client names them. It is recorded, encrypted, with what the \
         call does and reads; nothing proves it.",
        &json!({"type": "string", "minLength": 1, "maxLength": 128}),
    )
}

/// A header of a request.
pub(super) fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": description, "schema": schema})
}

fn described(about: About, parameters: &[Value], content: &Value) -> Value {
    let refused = json!({"$ref": "#/components/responses/Error"});
    let mut responses = Map::new();
    let done = json!({"description": "Done.", "content": content});
    responses.insert(about.status.as_str().to_owned(), done);
    let mut statuses = vec!["400", "401", "403", "404", "429", "500", "503"];
    if about.verb != Verb::Get {
        statuses.push("409");
    }
    for status in statuses {
        responses.insert(status.to_owned(), refused.clone());
    }
    let mut security = vec![json!({"clientCredentials": [about.scope.name()]})];
    if about.scope != AdminScope::Full {
        security.push(json!({"clientCredentials": [SCOPE]}));
    }
    json!({
        "operationId": about.id,
        "summary": about.summary,
        "tags": [about.path.split('/').nth(2).unwrap_or_default()],
        "security": security,
        "parameters": parameters,
        "responses": responses,
    })
}

fn parameters_of<T: JsonSchema>(place: &'static str, generators: &mut Generators) -> Vec<Value> {
    let schema = generators.read.subschema_for::<T>().to_value();
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let members = schema.get("properties").and_then(Value::as_object);
    let parameters = members.into_iter().flatten().map(|(name, schema)| {
        let mut schema = schema.clone();
        let description = schema
            .as_object_mut()
            .and_then(|members| members.remove("description"));
        let mut parameter = json!({
            "name": name, "in": place, "required": required.contains(&name.as_str()), "schema": schema,
        });
        if let Some(members) = parameter.as_object_mut() {
            if place == "query" {
                // Values of a list stand in one parameter, with commas between them.
                members.insert("explode".to_owned(), false.into());
            }
            members.extend(description.map(|text| ("description".to_owned(), text)));
        }
        parameter
    });
    parameters.collect()
}
