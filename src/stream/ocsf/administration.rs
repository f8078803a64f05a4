//! The events of what is administered: clients, scopes, keys, policies, trust, alerts, the trail.

use serde_json::{Value, json};
use uuid::Uuid;

use super::class::Activity;
use super::mapping::{Mapped, Mapping};
use crate::domain::LedgerEvent;
use crate::domain::alert::{AlertEvent, AlertRaised, ContainmentApplied, Severity};
use crate::domain::authorization_detail::AuthorizationDetailTypeEvent;
use crate::domain::client::ClientEvent;
use crate::domain::initial_access_token::InitialAccessTokenEvent;
use crate::domain::policy::PolicyEvent;
use crate::domain::scope::ScopeEvent;
use crate::domain::signing_key::SigningKeyEvent;
use crate::domain::trail::{LedgerRead, TrailEvent};
use crate::domain::trusted_issuer::TrustedIssuerEvent;

pub(super) fn map_client(event: &ClientEvent, id: Uuid) -> Mapped {
    let entity = |activity| Mapping::entity(activity, "OAuth client", &id, None);
    match event {
        ClientEvent::ClientRegistered(event) => Mapping::entity(
            Activity::ENTITY_CREATE,
            "OAuth client",
            &id,
            Some(&event.client_id),
        ),
        ClientEvent::ClientUpdated(_)
        | ClientEvent::ClientSecretAdded(_)
        | ClientEvent::ClientSecretRetired(_)
        | ClientEvent::ScopeApprovalRequested(_)
        | ClientEvent::ScopeApproved(_)
        | ClientEvent::ScopeRejected(_)
        | ClientEvent::ScopeApprovalWithdrawn(_)
        | ClientEvent::RegistrationAccessTokenIssued(_)
        | ClientEvent::SoftwareStatementAccepted(_)
        | ClientEvent::ExchangeAllowed(_)
        | ClientEvent::ExchangeDisallowed(_) => entity(Activity::ENTITY_UPDATE),
        ClientEvent::ClientThrottled(_) => entity(Activity::ENTITY_UPDATE).graver(Severity::Medium),
        ClientEvent::ClientSuspended(_) => entity(Activity::ENTITY_SUSPEND).graver(Severity::Medium),
        ClientEvent::ClientReinstated(_) => entity(Activity::ENTITY_RESUME),
        ClientEvent::ClientRevoked(_) => entity(Activity::ENTITY_DELETE).graver(Severity::Medium),
    }
    .into()
}

pub(super) fn map_scope(event: &ScopeEvent, id: Uuid) -> Mapped {
    match event {
        ScopeEvent::ScopeDefined(event) => {
            Mapping::entity(Activity::ENTITY_CREATE, "OAuth scope", &id, Some(&event.name))
        }
        ScopeEvent::ScopeChanged(_) => Mapping::entity(Activity::ENTITY_UPDATE, "OAuth scope", &id, None),
        ScopeEvent::ScopeRetired(_) => Mapping::entity(Activity::ENTITY_DEACTIVATE, "OAuth scope", &id, None),
    }
    .into()
}

pub(super) fn map_authorization_detail_type(event: &AuthorizationDetailTypeEvent, id: Uuid) -> Mapped {
    let (activity, name) = match event {
        AuthorizationDetailTypeEvent::AuthorizationDetailTypeDefined(event) => {
            (Activity::ENTITY_CREATE, Some(event.name.as_str()))
        }
        AuthorizationDetailTypeEvent::AuthorizationDetailTypeChanged(_) => (Activity::ENTITY_UPDATE, None),
        AuthorizationDetailTypeEvent::AuthorizationDetailTypeRetired(_) => {
            (Activity::ENTITY_DEACTIVATE, None)
        }
    };
    Mapping::entity(activity, "authorization detail type", &id, name).into()
}

pub(super) fn map_signing_key(event: &SigningKeyEvent, id: Uuid) -> Mapped {
    match event {
        SigningKeyEvent::KeyGenerated(event) => {
            Mapping::entity(Activity::ENTITY_CREATE, "signing key", &id, Some(&event.kid))
        }
        SigningKeyEvent::KeyActivated(_) => {
            Mapping::entity(Activity::ENTITY_ACTIVATE, "signing key", &id, None)
        }
        SigningKeyEvent::KeyRetired(_) => {
            Mapping::entity(Activity::ENTITY_DEACTIVATE, "signing key", &id, None)
        }
    }
    .into()
}

pub(super) fn map_initial_access_token(event: &InitialAccessTokenEvent, id: Uuid) -> Mapped {
    let activity = match event {
        InitialAccessTokenEvent::InitialAccessTokenIssued(_) => Activity::ENTITY_CREATE,
        InitialAccessTokenEvent::InitialAccessTokenUsed(_) => Activity::ENTITY_UPDATE,
        InitialAccessTokenEvent::InitialAccessTokenRevoked(_) => Activity::ENTITY_DELETE,
    };
    Mapping::entity(activity, "initial access token", &id, None).into()
}

pub(super) fn map_trusted_issuer(event: &TrustedIssuerEvent, id: Uuid) -> Mapped {
    match event {
        TrustedIssuerEvent::IssuerTrusted(event) => Mapping::entity(
            Activity::ENTITY_ENABLE,
            "trusted issuer",
            &id,
            Some(&event.issuer),
        ),
        TrustedIssuerEvent::IssuerDistrusted(_) => {
            Mapping::entity(Activity::ENTITY_DISABLE, "trusted issuer", &id, None)
        }
    }
    .into()
}

pub(super) fn map_policy(event: &PolicyEvent, id: Uuid) -> Mapped {
    let (activity, rule) = match event {
        PolicyEvent::PolicyEnabled(event) => (Activity::ENTITY_ENABLE, &event.rule),
        PolicyEvent::PolicyChanged(event) => (Activity::ENTITY_UPDATE, &event.rule),
        PolicyEvent::PolicyDisabled(event) => (Activity::ENTITY_DISABLE, &event.rule),
    };
    Mapping::entity(activity, "policy", &id, Some(rule)).into()
}

/// What a reading looked at: a stretch of the ledger, and of whom or what.
fn looked_at(read: &LedgerRead) -> Vec<(&'static str, String)> {
    let stretch = ("ledger", format!("{}..{}", read.after, read.upto));
    let others = [
        read.grant.map(|grant| ("grant", grant.to_string())),
        read.subject.map(|subject| ("user", subject.to_string())),
        read.client.map(|client| ("client", client.to_string())),
        read.resource.clone().map(|resource| ("resource", resource)),
    ];
    std::iter::once(stretch)
        .chain(others.into_iter().flatten())
        .collect()
}

pub(super) fn map_trail(event: &TrailEvent, id: Uuid) -> Mapped {
    match event {
        TrailEvent::ImportCompleted(import) => {
            Mapping::api(Activity::API_CREATE, event.name()).resources([("import", import.source.clone())])
        }
        TrailEvent::LedgerRead(read) => Mapping::api(Activity::API_READ, event.name())
            .resources(looked_at(read))
            .graver(if read.revealed {
                Severity::Low
            } else {
                Severity::Informational
            }),
        TrailEvent::LegacyKeyStored(_) => Mapping::entity(Activity::ENTITY_CREATE, "legacy key", &id, None),
        TrailEvent::LegacyKeyForgotten(_) => {
            Mapping::entity(Activity::ENTITY_DELETE, "legacy key", &id, None)
        }
        TrailEvent::LogKeyGenerated(event) => {
            Mapping::entity(Activity::ENTITY_CREATE, "log key", &id, Some(&event.name))
        }
        TrailEvent::LogKeyRetired(_) => Mapping::entity(Activity::ENTITY_DEACTIVATE, "log key", &id, None),
        TrailEvent::RetentionSet(event) => Mapping::entity(
            Activity::ENTITY_UPDATE,
            "retention",
            &id,
            Some(event.class.name()),
        ),
        TrailEvent::AddressesForgotten(event) => Mapping::entity(
            Activity::ENTITY_DELETE,
            "keys to addresses",
            &id,
            Some(&event.before),
        )
        .graver(Severity::Low),
        TrailEvent::PartitionDetached(event) => Mapping::entity(
            Activity::ENTITY_DELETE,
            "ledger partition",
            &id,
            Some(&event.partition),
        )
        .graver(Severity::Low),
        TrailEvent::EpochOpened(event) => {
            Mapping::entity(Activity::ENTITY_CREATE, "ledger epoch", &event.epoch, None)
                .graver(Severity::High)
        }
    }
    .into()
}

pub(super) fn map_alert(event: &AlertEvent, id: Uuid) -> Mapped {
    match event {
        AlertEvent::AlertRaised(event) => raised(event, id),
        AlertEvent::AlertAcknowledged(event) => {
            let info = json!({ "uid": id, "title": "Alert acknowledged" });
            let mapping = Mapping::finding(Activity::FINDING_UPDATE, info);
            match &event.note {
                Some(note) => mapping.with("comment", note.as_str().into()),
                None => mapping,
            }
        }
        AlertEvent::ContainmentApplied(event) => contained(event, id),
    }
    .into()
}

fn raised(event: &AlertRaised, id: Uuid) -> Mapping {
    let related: Vec<Value> = event
        .evidence
        .iter()
        .map(|position| json!({ "uid": position.to_string(), "type": "ledger event" }))
        .collect();
    let info = json!({
        "uid": id,
        "title": event.title,
        "desc": event.summary,
        "types": [event.rule],
        "created_time": event.at.timestamp_millis(),
        "analytic": {
            "name": event.rule,
            "uid": event.rule_hash,
            "type": "Rule",
            "type_id": 1,
            "version": event.rule_version.to_string(),
        },
        "attacks": [{ "technique": { "uid": event.technique, "name": event.technique } }],
        "related_events": related,
    });
    let about = [
        event.about.client.map(|id| ("client", id.to_string())),
        event.about.subject.map(|id| ("user", id.to_string())),
        event.about.grant.map(|id| ("grant", id.to_string())),
        event.about.network.map(|digest| ("network", digest.to_string())),
    ];
    Mapping::finding(Activity::FINDING_CREATE, info)
        .resources(about.into_iter().flatten())
        .with("count", event.count.into())
        .graver(event.severity)
}

fn contained(event: &ContainmentApplied, id: Uuid) -> Mapping {
    let info = json!({ "uid": id, "title": "Containment applied" });
    let grants = event.grants.iter().map(|id| ("grant", id.to_string()));
    let clients = event.clients.iter().map(|id| ("client", id.to_string()));
    let users = event.subjects.iter().map(|id| ("user", id.to_string()));
    let sessions = event.sessions.iter().flatten();
    let sessions = sessions.map(|id| ("session", id.to_string()));
    Mapping::finding(Activity::FINDING_UPDATE, info)
        .resources(grants.chain(clients).chain(users).chain(sessions))
        .graver(Severity::High)
}
