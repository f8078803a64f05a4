//! What one ledger event becomes: its activity, and the members that its class asks for.

use serde_json::{Map, Value, json};

use super::class::{Activity, Class};
use crate::domain::alert::Severity;
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, SessionId, SubjectId};

/// What becomes of a ledger event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mapped {
    /// It is exported.
    As(Mapping),
    /// It is not, and why.
    Not(&'static str),
}

/// A mapped event, without what all have in common.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mapping {
    pub(super) activity: Activity,
    pub(super) severity: Severity,
    /// Why it failed, in the ledger's word; none where it succeeded.
    pub(super) failure: Option<String>,
    pub(super) members: Map<String, Value>,
}

impl From<Mapping> for Mapped {
    fn from(mapping: Mapping) -> Self {
        Self::As(mapping)
    }
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Party {
    User(SubjectId),
    /// A client that acts for itself.
    Client(ClientKey),
    /// The user of a session that the event does not name: the session's logon does.
    Session(SessionId),
    /// Somebody who is not known.
    Unknown,
}

impl Party {
    /// The user, or the client where there is none.
    pub(super) fn of(subject: Option<SubjectId>, client: ClientKey) -> Self {
        subject.map_or(Self::Client(client), Self::User)
    }

    /// The `user` object.
    pub(super) fn user(self) -> Value {
        match self {
            Self::User(subject) => json!({ "uid": subject, "type_id": 1, "type": "User" }),
            Self::Client(client) => json!({ "uid": client, "type_id": 99, "type": "Service" }),
            Self::Session(session) => {
                json!({ "uid_alt": session, "name": "of the session", "type_id": 1, "type": "User" })
            }
            Self::Unknown => json!({ "name": "unknown", "type_id": 0, "type": "Unknown" }),
        }
    }
}

impl Mapping {
    fn new(activity: Activity) -> Self {
        Self {
            activity,
            severity: Severity::Informational,
            failure: None,
            members: Map::new(),
        }
    }

    pub(super) fn account(activity: Activity, subject: SubjectId) -> Self {
        Self::new(activity).with("user", Party::User(subject).user())
    }

    /// `service` is what somebody is authenticated to: the client, or this server.
    pub(super) fn authentication(activity: Activity, party: Party, client: Option<ClientKey>) -> Self {
        let service = match client {
            Some(client) => json!({ "name": "OAuth client", "uid": client }),
            None => json!({ "name": "Grantlog" }),
        };
        Self::new(activity)
            .with("user", party.user())
            .with("service", service)
            .with("is_remote", true.into())
    }

    pub(super) fn privileges(activity: Activity, party: Party, scope: &ScopeSet) -> Self {
        let scopes: Vec<String> = scope.iter().map(str::to_owned).collect();
        // The class asks for one at least.
        let scopes = if scopes.is_empty() {
            vec!["none".to_owned()]
        } else {
            scopes
        };
        Self::new(activity)
            .with("user", party.user())
            .with("privileges", scopes.into())
    }

    pub(super) fn entity(
        activity: Activity,
        kind: &str,
        uid: &impl std::fmt::Display,
        name: Option<&str>,
    ) -> Self {
        let mut entity = json!({ "uid": uid.to_string(), "type": kind, "type_id": 99 });
        if let (Some(name), Some(entity)) = (name, entity.as_object_mut()) {
            entity.insert("name".to_owned(), name.into());
        }
        Self::new(activity).with("entity", entity)
    }

    /// `operation` is the event's name.
    pub(super) fn api(activity: Activity, operation: &str) -> Self {
        Self::new(activity).with("api", json!({ "operation": operation }))
    }

    pub(super) fn resources(self, resources: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let resources: Vec<Value> = resources
            .into_iter()
            .map(|(kind, uid)| json!({ "type": kind, "uid": uid }))
            .collect();
        if resources.is_empty() {
            return self;
        }
        self.with("resources", resources.into())
    }

    pub(super) fn finding(activity: Activity, info: Value) -> Self {
        Self::new(activity).with("finding_info", info)
    }

    pub(super) fn session(self, session: SessionId) -> Self {
        self.with("session", json!({ "uid": session }))
    }

    pub(super) fn failed(mut self, severity: Severity, why: impl Into<String>) -> Self {
        self.failure = Some(why.into());
        self.graver(severity)
    }

    pub(super) fn graver(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// `status_id` and `status`; findings have a life of their own, of which theirs is a stage.
    pub(super) fn status(&self) -> (u32, &'static str) {
        match (self.activity.class, &self.failure) {
            (Class::DetectionFinding, _) if self.activity == Activity::FINDING_CREATE => (1, "New"),
            (Class::DetectionFinding, _) => (2, "In Progress"),
            (_, None) => (1, "Success"),
            (_, Some(_)) => (2, "Failure"),
        }
    }
}
