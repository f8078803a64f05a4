//! Ledger events as OCSF events (Open Cybersecurity Schema Framework 1.5), for SIEMs.
//!
//! Every event type of the ledger is mapped to a class, or left out with a reason: the matches are exhaustive, so a new
//! event does not compile until somebody has decided. What a class has no member for stands in `unmapped`, as it is on
//! the ledger: credentials as digests, personal data as ciphertext.

mod administration;
mod class;
pub mod file;
mod grant;
pub mod http;
mod identity;
pub mod lines;
mod mapping;
mod streams;

pub use class::{Activity, Class};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::domain::alert::Severity;
use crate::domain::event::Event;
use crate::ledger::Metadata;
use mapping::{Mapped, Mapping};

/// The version of the schema.
pub const VERSION: &str = "1.5.0";

/// One row of the ledger, read.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its place in the ledger.
    pub position: i64,
    /// Its place in its aggregate.
    pub sequence: i64,
    /// `aggregate_type`.
    pub aggregate_type: &'a str,
    /// `aggregate_id`.
    pub aggregate_id: Uuid,
    /// `event_type`.
    pub event_type: &'a str,
    /// What happened.
    pub event: &'a Event,
    /// The payload as JSON.
    pub payload: &'a Value,
    /// Under which circumstances.
    pub metadata: &'a Metadata,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// The event in OCSF; or why it is not exported.
pub fn export(record: &Record<'_>, issuer: &str) -> Result<Value, &'static str> {
    match map(record) {
        Mapped::As(mapping) => Ok(Value::Object(complete(record, mapping, issuer))),
        Mapped::Not(why) => Err(why),
    }
}

fn map(record: &Record<'_>) -> Mapped {
    let id = record.aggregate_id;
    match record.event {
        Event::Grant(event) => grant::map(event, id),
        Event::User(event) => identity::map_user(event, id, record.metadata.actor.starts_with("user:")),
        Event::Session(event) => identity::map_session(event, id),
        Event::Consent(event) => identity::map_consent(event, id),
        Event::Refusal(event) => identity::map_refusal(event),
        Event::Client(event) => administration::map_client(event, id),
        Event::Scope(event) => administration::map_scope(event, id),
        Event::SigningKey(event) => administration::map_signing_key(event, id),
        Event::Trail(event) => administration::map_trail(event, id),
        Event::InitialAccessToken(event) => administration::map_initial_access_token(event, id),
        Event::TrustedIssuer(event) => administration::map_trusted_issuer(event, id),
        Event::SsfStream(event) => streams::map_ssf_stream(event, id),
        Event::Stream(event) => streams::map_stream(event, id),
        Event::Policy(event) => administration::map_policy(event, id),
        Event::Alert(event) => administration::map_alert(event, id),
        Event::AuthorizationDetailType(event) => administration::map_authorization_detail_type(event, id),
        Event::Network(event) => streams::map_network(event, id),
        Event::TokenUse(event) => streams::map_token_use(event),
    }
}

/// `severity_id` and `severity`.
fn severity(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

fn complete(record: &Record<'_>, mapping: Mapping, issuer: &str) -> Map<String, Value> {
    let activity = mapping.activity;
    let (category_uid, category_name) = activity.class.category();
    let (severity_id, severity) = severity(mapping.severity);
    let (status_id, status) = mapping.status();
    let common = json!({
        "class_uid": activity.class.uid(),
        "class_name": activity.class.name(),
        "category_uid": category_uid,
        "category_name": category_name,
        "activity_id": activity.id,
        "activity_name": activity.name,
        "type_uid": activity.type_uid(),
        "type_name": format!("{}: {}", activity.class.name(), activity.name),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "time": record.recorded_at.timestamp_millis(),
        "message": record.event_type,
        "metadata": metadata(record, issuer),
        "unmapped": {
            "aggregate_type": record.aggregate_type,
            "aggregate_id": record.aggregate_id,
            "sequence": record.sequence,
            "payload": record.payload,
            "authentication": record.metadata.authentication,
            "note": record.metadata.note,
        },
    });
    let mut event = match common {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    let finding = activity.class == Class::DetectionFinding;
    if !finding {
        event.insert("actor".to_owned(), actor(record.metadata));
        event.insert("src_endpoint".to_owned(), source(record.metadata));
        event.insert("http_request".to_owned(), request(record.metadata));
    }
    if let Some(why) = mapping.failure {
        event.insert("status_detail".to_owned(), why.into());
    }
    event.extend(mapping.members);
    event
}

/// Where the event is found again: `uid` and `sequence` are its position in the ledger.
fn metadata(record: &Record<'_>, issuer: &str) -> Value {
    json!({
        "version": VERSION,
        "product": {
            "name": "Grantlog",
            "vendor_name": "Grantlog",
            "version": env!("CARGO_PKG_VERSION"),
            "url_string": issuer,
        },
        "uid": record.position.to_string(),
        "sequence": record.position,
        "log_name": "ledger",
        "log_provider": issuer,
        "event_code": record.event_type,
        "original_time": record.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        "correlation_uid": record.metadata.request_id,
    })
}

/// Who acted.
fn actor(metadata: &Metadata) -> Value {
    let mut actor = Map::new();
    match metadata.actor.split_once(':') {
        Some(("user", id)) => {
            actor.insert(
                "user".to_owned(),
                json!({ "uid": id, "type_id": 1, "type": "User" }),
            );
        }
        Some(("client", id)) => {
            actor.insert(
                "user".to_owned(),
                json!({ "uid": id, "type_id": 99, "type": "Service" }),
            );
            actor.insert("app_uid".to_owned(), id.into());
        }
        Some(_) | None => {
            let (type_id, kind) = match metadata.actor.as_str() {
                "command_line" => (2, "Admin"),
                "anonymous" => (0, "Unknown"),
                _ => (3, "System"),
            };
            let user = json!({ "name": metadata.actor, "type_id": type_id, "type": kind });
            actor.insert("user".to_owned(), user);
        }
    }
    actor.into()
}

/// From where: the digest of the caller's network, keyed per month. The address itself is sealed.
fn source(metadata: &Metadata) -> Value {
    match &metadata.network {
        Some(network) => json!({ "uid": network, "name": "network digest" }),
        None => json!({ "name": "local" }),
    }
}

fn request(metadata: &Metadata) -> Value {
    let mut request = json!({ "uid": metadata.request_id, "url": { "path": metadata.endpoint } });
    if let (Some(agent), Some(request)) = (metadata.agent, request.as_object_mut()) {
        request.insert("user_agent".to_owned(), agent.name().into());
    }
    request
}

#[cfg(test)]
mod tests;
