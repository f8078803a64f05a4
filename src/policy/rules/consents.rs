//! Consents to restricted scopes.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::domain::scope::Scope;
use crate::ids::{ClientKey, SubjectId};
use crate::policy::memory::{self, Measure, Recent};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// For how long a client is young.
const YOUTH: TimeDelta = TimeDelta::days(14);

/// Which scopes are restricted now.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Restricted(BTreeSet<Uuid>);

impl Restricted {
    /// Takes what is said of a scope. A scope's own name is in its first event only; later ones are of its aggregate.
    fn learn(&mut self, event: &Observed) {
        let id = event.aggregate;
        match event.facts.restricted {
            Some(true) => self.0.insert(id),
            Some(false) => self.0.remove(&id),
            None => false,
        };
    }

    /// Which of the scopes that a consent is to are restricted.
    fn of(&self, event: &Observed) -> Vec<String> {
        let scopes = event
            .facts
            .scope
            .iter()
            .flat_map(crate::domain::value::ScopeSet::iter);
        let restricted = |name: &&str| self.0.contains(&Scope::id(name));
        scopes.filter(restricted).map(str::to_owned).collect()
    }
}

const SCOPES: Kinds = Kinds::of(&[Kind::ScopeDefined, Kind::ScopeChanged]);

/// Many of them for a young client.
pub(super) struct Burst {
    pub(super) measure: Measure,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct BurstState {
    restricted: Restricted,
    born: Recent<ClientKey, Option<Timestamp>>,
    consents: Recent<ClientKey, memory::Burst<SubjectId>>,
}

impl Fold for Burst {
    type State = BurstState;

    const WANTS: Kinds = Kinds::of(&[Kind::ConsentGiven]);
    const ALWAYS: Kinds = SCOPES.with(Kinds::of(&[Kind::ClientRegistered]));

    fn observe(&self, state: &mut BurstState, event: &Observed) -> Vec<Finding> {
        if event.kind == Kind::ClientRegistered {
            *state.born.touch(ClientKey(event.aggregate), event.at) = Some(event.at);
        }
        if SCOPES.has(event.kind) {
            state.restricted.learn(event);
        }
        let (Some(client), Some(subject)) = (event.facts.client, event.facts.subject) else {
            return Vec::new();
        };
        let young = |born: &mut Option<Timestamp>| born.is_some_and(|born| event.at - born < YOUTH);
        if event.kind != Kind::ConsentGiven || !state.born.get(&client).is_some_and(young) {
            return Vec::new();
        }
        if state.restricted.of(event).is_empty() {
            return Vec::new();
        }
        let consents = state.consents.touch(client, event.at);
        let fired = consents.add(subject, (event.at, event.position), self.measure);
        let finding = fired.map(|evidence| {
            let count = evidence.len();
            let summary = format!("{count} users gave restricted scopes to a client of less than 14 days.");
            let mut finding = Finding::at(event, summary).resting_on(evidence, count);
            finding.about.subject = None;
            finding
        });
        finding.into_iter().collect()
    }
}

/// The first within a while.
pub(super) struct FirstSensitive {
    pub(super) window: TimeDelta,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct FirstState {
    restricted: Restricted,
    given: Recent<(ClientKey, String), Option<Timestamp>>,
}

impl Fold for FirstSensitive {
    type State = FirstState;

    const WANTS: Kinds = Kinds::of(&[Kind::ConsentGiven]);
    const ALWAYS: Kinds = SCOPES;

    fn observe(&self, state: &mut FirstState, event: &Observed) -> Vec<Finding> {
        if SCOPES.has(event.kind) {
            state.restricted.learn(event);
        }
        let (Kind::ConsentGiven, Some(client)) = (event.kind, event.facts.client) else {
            return Vec::new();
        };
        let mut first = Vec::new();
        for scope in state.restricted.of(event) {
            let given = state.given.touch((client, scope.clone()), event.at);
            let before = given.replace(event.at);
            if before.is_none_or(|before| event.at - before >= self.window) {
                first.push(scope);
            }
        }
        if first.is_empty() {
            return Vec::new();
        }
        let days = self.window.num_days();
        let scopes = first.join(" ");
        let summary = format!("The first consent within {days} days to {scopes} for the client.");
        vec![Finding::at(event, summary)]
    }
}
