//! The fold of `clients`; its contract is `projections/clients.sql`.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::client::{ClientEvent, ClientMetadata, SecretVerifier};
use crate::domain::event::Event;
use crate::domain::value::Digest;

pub(super) const SCHEMA: Schema = Schema {
    name: "clients",
    sql: include_str!("../../projections/clients.sql"),
    fold: 1,
    columns: &[
        "id",
        "client_id",
        "client_secret",
        "name",
        "home_page_url",
        "logo_url",
        "privacy_policy_url",
        "user_id",
        "is_live",
        "redirect_uri",
        "client_key",
        "standing",
        "grant_types",
        "scope",
        "token_endpoint_auth_method",
        "allowed_origins",
        "approved_scopes",
        "created_at",
        "updated_at",
    ],
};

/// The fold's batch: clients, each from its first event on.
#[derive(Default)]
pub(super) struct Clients {
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    client_id: String,
    secret: Option<Digest>,
    metadata: ClientMetadata,
    key: Uuid,
    standing: &'static str,
    approved: BTreeSet<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Clients {
    fn client(&mut self, recorded: &Recorded, event: &ClientEvent) {
        if let ClientEvent::ClientRegistered(event) = event {
            self.rows.push(Row {
                id: recorded.position,
                client_id: event.client_id.clone(),
                secret: None,
                metadata: event.metadata.clone(),
                key: recorded.aggregate_id,
                standing: "active",
                approved: BTreeSet::new(),
                created_at: recorded.recorded_at,
                updated_at: recorded.recorded_at,
            });
        }
        let key = recorded.aggregate_id;
        if let Some(row) = self.rows.last_mut().filter(|row| row.key == key) {
            row.updated_at = recorded.recorded_at;
            row.evolve(event);
        }
    }
}

impl Row {
    fn evolve(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::ClientUpdated(event) => self.metadata = event.metadata.clone(),
            ClientEvent::ClientSecretAdded(event) => {
                self.secret = Some(match &event.verifier {
                    SecretVerifier::Sha256(digest) => *digest,
                    SecretVerifier::Key(id) => Digest::of(id.0.as_bytes()),
                    SecretVerifier::Argon2id(phc) | SecretVerifier::Bcrypt(phc) => Digest::of(phc.as_bytes()),
                });
            }
            ClientEvent::ClientSuspended(_) => self.standing = "suspended",
            ClientEvent::ClientReinstated(_) => self.standing = "active",
            ClientEvent::ClientRevoked(_) => self.standing = "revoked",
            ClientEvent::ScopeApproved(event) => {
                self.approved.insert(event.scope.clone());
            }
            ClientEvent::ScopeApprovalRequested(event) => {
                // Asking again puts the approval in question until it is answered, as the decision does.
                self.approved.remove(&event.scope);
            }
            ClientEvent::ScopeRejected(event) => {
                self.approved.remove(&event.scope);
            }
            ClientEvent::ScopeApprovalWithdrawn(event) => {
                self.approved.remove(&event.scope);
            }
            ClientEvent::ClientRegistered(_)
            | ClientEvent::ClientSecretRetired(_)
            | ClientEvent::ClientThrottled(_)
            | ClientEvent::RegistrationAccessTokenIssued(_)
            | ClientEvent::SoftwareStatementAccepted(_)
            | ClientEvent::ExchangeAllowed(_)
            | ClientEvent::ExchangeDisallowed(_) => {}
        }
    }

    fn cells(self) -> [Cell; 19] {
        let public = self.metadata.is_public();
        let metadata = self.metadata;
        let secret = self.secret.filter(|_| !public).map(|digest| digest.to_string());
        let grant_types = metadata.grant_types.iter().map(|kind| kind.name().to_owned());
        [
            Cell::Int(Some(self.id)),
            Cell::Text(Some(self.client_id)),
            Cell::Text(secret),
            Cell::Text(Some(metadata.client_name)),
            Cell::Text(metadata.home_page_url),
            Cell::Text(metadata.logo_url),
            Cell::Text(metadata.privacy_policy_url),
            Cell::Text(metadata.owner.map(|owner| owner.to_string())),
            Cell::Bool(metadata.is_live),
            Cell::Texts(metadata.redirect_uris),
            Cell::Uuid(Some(self.key)),
            Cell::Word(Some(self.standing)),
            Cell::Texts(grant_types.collect()),
            Cell::Text(Some(metadata.scope.to_string())),
            Cell::Word(Some(metadata.token_endpoint_auth_method.name())),
            Cell::Texts(metadata.allowed_origins),
            Cell::Texts(self.approved.into_iter().collect()),
            Cell::Time(Some(self.created_at)),
            Cell::Time(Some(self.updated_at)),
        ]
    }
}

impl Projection for Clients {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        Some(AggregateType::Client)
    }

    fn fold(&mut self, recorded: &Recorded, _known: &Known) {
        match &recorded.event {
            Event::Client(event) => self.client(recorded, event),
            // Not handed to a fold of whole aggregates ([`Projection::whole`]).
            Event::Scope(_)
            | Event::User(_)
            | Event::Session(_)
            | Event::Consent(_)
            | Event::Grant(_)
            | Event::Refusal(_)
            | Event::SigningKey(_)
            | Event::Trail(_)
            | Event::InitialAccessToken(_)
            | Event::TrustedIssuer(_)
            | Event::SsfStream(_)
            | Event::Policy(_)
            | Event::Network(_)
            | Event::TokenUse(_)
            | Event::Stream(_)
            | Event::Alert(_)
            | Event::AuthorizationDetailType(_) => {}
        }
    }

    fn settle(&mut self) {}

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        self.rows.drain(..).try_for_each(|row| sink.row(&row.cells()))
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
