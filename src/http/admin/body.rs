//! Bodies of calls of the administration API.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::super::error::{AdminError, Rejection};
use super::super::form::{self, Form};
use super::parameters::{self, Parameters};
use crate::domain::refusal::RefusalReason;

/// What a call's body may be.
pub(in crate::http) trait RequestBody: Sized + Send + 'static {
    /// Reads it.
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Rejection<AdminError>>;
    /// Its media type and schema; none where there is no body.
    fn describe(generator: &mut SchemaGenerator) -> Option<(&'static str, Value)>;
}

/// No body. What comes all the same is not looked at.
pub(in crate::http) struct NoBody;

/// A JSON object.
pub(in crate::http) struct JsonBody<T>(pub(in crate::http) T);

/// A JSON merge patch (RFC 7396) of a resource that a `T` describes.
pub(in crate::http) struct PatchBody<T> {
    /// The members that change.
    pub(in crate::http) members: Map<String, Value>,
    of: std::marker::PhantomData<fn() -> T>,
}

/// A form.
pub(in crate::http) struct FormBody<T>(pub(in crate::http) T);

fn malformed(detail: impl Into<String>, reason: RefusalReason) -> Rejection<AdminError> {
    Rejection::new(AdminError::invalid(detail), reason)
}

fn json<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Rejection<AdminError>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = parameters::named(serde_path_to_error::deserialize(&mut reader));
    let read = read.and_then(|read| reader.end().map(|()| read).map_err(|error| error.to_string()));
    read.map_err(|what| malformed(what, RefusalReason::AdministrationInvalid))
}

fn wrong_type(wanted: &str) -> Rejection<AdminError> {
    malformed(
        format!("The content type is not {wanted} in UTF-8."),
        RefusalReason::WrongContentType,
    )
}

impl RequestBody for NoBody {
    fn read(_: &HeaderMap, _: &Bytes) -> Result<Self, Rejection<AdminError>> {
        Ok(Self)
    }

    fn describe(_: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
        None
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> RequestBody for JsonBody<T> {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Rejection<AdminError>> {
        form::check_json_type(headers).map_err(|_| wrong_type("application/json"))?;
        json(bytes).map(Self)
    }

    fn describe(generator: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
        Some(("application/json", generator.subschema_for::<T>().to_value()))
    }
}

impl<T: JsonSchema + 'static> RequestBody for PatchBody<T> {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Rejection<AdminError>> {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let is_patch = types
            .next()
            .is_some_and(|value| value == "application/merge-patch+json");
        if !is_patch || types.next().is_some() {
            form::check_json_type(headers)
                .map_err(|_| wrong_type("application/merge-patch+json or application/json"))?;
        }
        let members: Map<String, Value> = json(bytes)?;
        if members.is_empty() {
            return Err(malformed(
                "The patch changes nothing.",
                RefusalReason::AdministrationInvalid,
            ));
        }
        let of = std::marker::PhantomData;
        Ok(Self { members, of })
    }

    fn describe(generator: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
        let schema = patch_of(generator.subschema_for::<T>());
        Some(("application/merge-patch+json", schema))
    }
}

/// Of a resource's schema: nothing is required, and null removes a member.
fn patch_of(schema: Schema) -> Value {
    let mut schema = schema.to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
    }
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for member in members.into_iter().flat_map(|members| members.values_mut()) {
        if let Some(member) = member.as_object_mut() {
            member.remove("default");
        }
        *member = json!({"anyOf": [member.take(), {"type": "null"}]});
    }
    schema
}

impl<T: Parameters> RequestBody for FormBody<T> {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Rejection<AdminError>> {
        form::check_content_type(headers).map_err(|_| wrong_type("application/x-www-form-urlencoded"))?;
        let form = Form::parse_bytes(bytes)
            .map_err(|error| malformed(error.to_string(), RefusalReason::MalformedBody))?;
        let read = parameters::read(form.iter());
        read.map(Self)
            .map_err(|what| malformed(what, RefusalReason::ParameterMissing))
    }

    fn describe(generator: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
        Some((
            "application/x-www-form-urlencoded",
            generator.subschema_for::<T>().to_value(),
        ))
    }
}
