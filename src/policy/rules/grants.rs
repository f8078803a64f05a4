//! Grants that are used by others than before.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::alert::About;
use crate::domain::token_use::TokenUses;
use crate::domain::value::Digest;
use crate::ids::GrantId;
use crate::policy::agent::AgentFamily;
use crate::policy::memory::{Burst, Measure, Recent, calendar_month};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// The most networks that are kept of one grant.
const MAX_KNOWN: usize = 32;

/// What a grant was used by, and what came new.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Used<T> {
    /// The calendar month: digests of networks are keyed per month.
    month: Option<i32>,
    known: Vec<T>,
    new: Burst<T>,
}

impl<T> Default for Used<T> {
    fn default() -> Self {
        Self {
            month: None,
            known: Vec::new(),
            new: Burst::default(),
        }
    }
}

impl<T: PartialEq + Copy> Used<T> {
    /// Whether the value was not known. The first one is what the grant began with.
    fn meets(&mut self, value: T) -> bool {
        if self.known.contains(&value) {
            return false;
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.remove(0);
        }
        self.known.push(value);
        self.known.len() > 1
    }
}

const USES: Kinds = Kinds::of(&[
    Kind::TokenIssued,
    Kind::RefreshRotated,
    Kind::RefreshRetried,
    Kind::AccessTokenRefreshed,
]);

/// From several new networks.
pub(super) struct NewNetworks {
    pub(super) measure: Measure,
}

impl Fold for NewNetworks {
    type State = Recent<GrantId, Used<Digest>>;

    const WANTS: Kinds = USES.with(Kinds::of(&[Kind::TokenUseCounted]));

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        if event.kind == Kind::TokenUseCounted {
            let uses = event.facts.uses.iter();
            return uses.filter_map(|uses| self.counted(state, event, uses)).collect();
        }
        let (true, Some(grant), Some(network)) = (uses(event), event.grant(), event.network) else {
            return Vec::new();
        };
        let used = state.touch(grant, event.at);
        let fired = self.meet(used, network, (event.at, event.position));
        found(event, fired, FROM_NEW_NETWORKS).into_iter().collect()
    }
}

const FROM_NEW_NETWORKS: &str = "The grant was used from {} new networks.";

impl NewNetworks {
    /// A count of uses of a grant's tokens. It comes when the node writes it down; the uses were before.
    fn counted(
        &self,
        state: &mut Recent<GrantId, Used<Digest>>,
        event: &Observed,
        count: &TokenUses,
    ) -> Option<Finding> {
        let network = count.network?;
        // Who asks about a token (RFC 7662) is not who uses it. What a machine got for itself is a grant of its own
        // each time, and would push the users' out of memory.
        if count.asked_by.is_some() || count.subject.is_none() {
            return None;
        }
        let used = state.touch(count.grant, event.at);
        let fired = self.meet(used, network, (count.first, event.position));
        let mut finding = found(event, fired, FROM_NEW_NETWORKS)?;
        finding.about = About {
            client: Some(count.client),
            subject: count.subject,
            grant: Some(count.grant),
            network: None,
        };
        Some(finding)
    }

    fn meet(
        &self,
        used: &mut Used<Digest>,
        network: Digest,
        (at, position): (Timestamp, i64),
    ) -> Option<Vec<i64>> {
        let month = Some(calendar_month(at));
        if used.month > month {
            // A count of the month before that was written down late: nothing of it can be compared any more.
            return None;
        }
        if used.month != month {
            *used = Used {
                month,
                ..Used::default()
            };
        }
        if !used.meets(network) {
            return None;
        }
        used.new.add(network, (at, position), self.measure)
    }
}

/// By several kinds of programs.
pub(super) struct NewAgents {
    pub(super) measure: Measure,
}

impl Fold for NewAgents {
    type State = Recent<GrantId, Burst<AgentFamily>>;

    const WANTS: Kinds = USES;

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let (true, Some(grant), Some(agent)) = (uses(event), event.grant(), event.agent) else {
            return Vec::new();
        };
        let used = state.touch(grant, event.at);
        let fired = used.add(agent, (event.at, event.position), self.measure);
        found(event, fired, "The grant was used by {} families of user agents.")
            .into_iter()
            .collect()
    }
}

/// Whether the event uses a grant that can be used again: what a client gets for itself cannot.
fn uses(event: &Observed) -> bool {
    event.issues() && event.facts.flow.as_deref() != Some("client_credentials")
}

fn found(event: &Observed, fired: Option<Vec<i64>>, summary: &str) -> Option<Finding> {
    let mut evidence = fired?;
    let count = evidence.len();
    // Several counts of uses are one event.
    evidence.dedup();
    Some(Finding::at(event, summary.replace("{}", &count.to_string())).resting_on(evidence, count))
}
