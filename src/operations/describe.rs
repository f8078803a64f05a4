//! A client in RFC 7591's words: what `client show` prints can be edited and handed to `client update`.

use serde_json::{Map, Value, json};

use super::OperationError;
use super::client::ClientRegistration;
use super::security_profile;
use crate::domain::client::{CertificateSubject, ClientMetadata};

/// RFC 7591's names of members that have another name here.
pub(super) const ALIASES: [(&str, &str); 3] = [
    ("client_uri", "home_page_url"),
    ("logo_uri", "logo_url"),
    ("policy_uri", "privacy_policy_url"),
];

/// The metadata as a registration would state it.
#[must_use]
pub fn document(metadata: &ClientMetadata) -> Map<String, Value> {
    let mut members = match serde_json::to_value(metadata) {
        Ok(Value::Object(members)) => members,
        // Metadata is a struct of plain members.
        Ok(_) | Err(_) => Map::new(),
    };
    for (name, scope) in [
        ("scope", &metadata.scope),
        ("default_scopes", &metadata.default_scopes),
    ] {
        members.insert(name.to_owned(), scope.to_string().into());
    }
    // One member of RFC 8705 §2.1.2 instead.
    members.remove("tls_client_auth");
    if let Some((member, name)) = metadata.tls_client_auth.as_ref().map(CertificateSubject::member) {
        members.insert(member.to_owned(), name.into());
    }
    members.retain(|_, value| !value.is_null());
    members.insert("subject_type".to_owned(), json!(metadata.subject_type));
    members.insert("profile".to_owned(), json!(metadata.security_profile()));
    members
}

/// Metadata with a JSON merge patch (RFC 7396) applied: null removes a member, which then has its default.
pub fn merge(metadata: &ClientMetadata, patch: Map<String, Value>) -> Result<ClientMetadata, OperationError> {
    let mut members = document(metadata);
    security_profile::make_room(&mut members, &patch);
    for (name, value) in patch {
        if matches!(name.as_str(), "client_id" | "client_secret") {
            return Err(OperationError::invalid(
                "client_id, client_secret",
                "an update does not change them (a new secret comes from `client rotate-secret`)",
            ));
        }
        let name = ALIASES
            .iter()
            .find(|(alias, _)| *alias == name)
            .map_or(name, |(_, ours)| (*ours).to_owned());
        merge_member(&mut members, name, value);
    }
    parse(Value::Object(members))?.metadata()
}

/// RFC 7396 §2: null removes a member, an object is merged into what is there, all else replaces it.
fn merge_member(members: &mut Map<String, Value>, name: String, patch: Value) {
    match patch {
        Value::Null => {
            members.remove(&name);
        }
        Value::Object(patch) => {
            let mut merged = match members.remove(&name) {
                Some(Value::Object(merged)) => merged,
                Some(_) | None => Map::new(),
            };
            for (name, value) in patch {
                merge_member(&mut merged, name, value);
            }
            members.insert(name, Value::Object(merged));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            members.insert(name, patch);
        }
    }
}

/// Reads a registration; an error names the member.
pub fn parse(document: Value) -> Result<ClientRegistration, OperationError> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        let what = error.into_inner().to_string();
        OperationError::invalid(
            "client metadata",
            if path == "." {
                what
            } else {
                format!("{path}: {what}")
            },
        )
    })
}
