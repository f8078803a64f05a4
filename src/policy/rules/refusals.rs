//! Refused requests of clients, counted.

use std::hash::Hash;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::alert::Severity;
use crate::domain::refusal::{RefusalClass, RefusalReason};
use crate::domain::value::Digest;
use crate::ids::ClientKey;
use crate::policy::memory::{Measure, Recent, Tally};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// The refusal's reason, where this build knows it.
pub(super) fn reason(event: &Observed) -> Option<RefusalReason> {
    let text = event.facts.reason.as_deref()?;
    (event.kind == Kind::RequestRefused)
        .then(|| RefusalReason::named(text))
        .flatten()
}

/// What the refusal may be a try at; none where the event is no refusal.
pub(super) fn class(event: &Observed) -> Option<RefusalClass> {
    let facts = &event.facts;
    let endpoint = facts.endpoint.as_deref().unwrap_or_default();
    let error = facts.error.as_deref().unwrap_or_default();
    (event.kind == Kind::RequestRefused)
        .then(|| RefusalClass::of((endpoint, error), reason(event), facts.subject.is_some()))
}

/// Counts a refusal of a client, where it is one of those that are looked for.
fn count_client<K: Hash + Eq + Ord + Clone>(
    (tallies, key): (&mut Recent<K, Tally>, K),
    event: &Observed,
    measure: Measure,
    summary: impl FnOnce(usize) -> String,
) -> Vec<Finding> {
    let tally = tallies.touch(key, event.at);
    let fired = tally.add(event.position, (event.at, event.position), measure);
    let finding = fired.map(|evidence| {
        let count = evidence.len();
        let mut finding = Finding::at(event, summary(count)).resting_on(evidence, count);
        // It is about the client, whichever grant and user the last one named.
        finding.about.grant = None;
        finding.about.subject = None;
        finding
    });
    finding.into_iter().collect()
}

/// Authentic codes that do not fit the request.
pub(super) struct CodeMismatch {
    pub(super) measure: Measure,
}

impl Fold for CodeMismatch {
    type State = Recent<ClientKey, Tally>;

    const WANTS: Kinds = Kinds::of(&[Kind::RequestRefused]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        // A grant is named only where the code was authentic.
        if class(event) != Some(RefusalClass::Code) || event.facts.grant.is_none() {
            return Vec::new();
        }
        let Some(client) = event.facts.client else {
            return Vec::new();
        };
        count_client((state, client), event, self.measure, |count| {
            format!("{count} authentic codes did not fit the requests that brought them.")
        })
    }
}

/// Scopes that the client may not have.
pub(super) struct ScopeProbing {
    pub(super) measure: Measure,
}

/// Who was refused: the client itself, which had proven who it is, or whoever named it, at one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Prober {
    Client(ClientKey),
    Anybody(ClientKey, Option<Digest>),
}

impl Fold for ScopeProbing {
    type State = Recent<Prober, Tally>;

    const WANTS: Kinds = Kinds::of(&[Kind::RequestRefused]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        if class(event) != Some(RefusalClass::Scope) {
            return Vec::new();
        }
        let Some(client) = event.facts.client else {
            return Vec::new();
        };
        if event.authenticated {
            return count_client((state, Prober::Client(client)), event, self.measure, |count| {
                format!("{count} requests were refused with invalid_scope.")
            });
        }
        // Whoever can make requests in the client's name must not have it blocked for them.
        let prober = Prober::Anybody(client, event.network);
        let found = count_client((state, prober), event, self.measure, |count| {
            format!(
                "{count} requests that anybody could make were refused with invalid_scope, from one network."
            )
        });
        let told = found.into_iter().map(|mut finding| {
            finding.about.network = event.network;
            finding.told()
        });
        told.collect()
    }
}

/// Client secrets that are guessed, and the guess that was right.
pub(super) struct SecretBruteForce {
    pub(super) measure: Measure,
}

/// For how long a success after the guesses is one of theirs.
const AFTERMATH: TimeDelta = TimeDelta::hours(1);

/// Failures of one client from one network.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Failures {
    tally: Tally,
    fired: Option<Timestamp>,
}

impl Fold for SecretBruteForce {
    type State = Recent<(ClientKey, Option<Digest>), Failures>;

    const WANTS: Kinds = Kinds::of(&[
        Kind::RequestRefused,
        Kind::TokenIssued,
        Kind::RefreshRotated,
        Kind::AccessTokenRefreshed,
    ]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let Some(client) = event.facts.client else {
            return Vec::new();
        };
        let key = (client, event.network);
        if event.issues() {
            let broken = state
                .get(&key)
                .and_then(|failures| failures.fired.take())
                .filter(|fired| event.at - *fired < AFTERMATH);
            if broken.is_none() {
                return Vec::new();
            }
            let mut finding = Finding::at(
                event,
                "The network that had guessed at the client's secret got a token of the client.",
            );
            finding.about.network = event.network;
            finding.severity = Some(Severity::Critical);
            return vec![finding];
        }
        if class(event) != Some(RefusalClass::ClientCredential) {
            return Vec::new();
        }
        let failures = state.touch(key, event.at);
        let fired = failures
            .tally
            .add(event.position, (event.at, event.position), self.measure);
        let Some(evidence) = fired else { return Vec::new() };
        failures.fired = Some(event.at);
        let count = evidence.len();
        let mut finding = Finding::at(event, format!("{count} authentications of the client failed."))
            .resting_on(evidence, count)
            .told();
        finding.about.network = event.network;
        vec![finding]
    }
}
