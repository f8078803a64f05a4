//! What clients are issued: from where, after how long, how much.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::ClientKey;
use crate::policy::memory::{Networks, Recent};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

const ISSUES: Kinds = Kinds::of(&[
    Kind::TokenIssued,
    Kind::RefreshRotated,
    Kind::RefreshRetried,
    Kind::AccessTokenRefreshed,
]);

/// Client credentials from a network that the client was not seen at.
pub(super) struct MachineNewNetwork {
    pub(super) window: TimeDelta,
}

impl Fold for MachineNewNetwork {
    type State = Recent<ClientKey, Networks>;

    const WANTS: Kinds = Kinds::of(&[Kind::TokenIssued]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let machine = event.facts.flow.as_deref() == Some("client_credentials");
        let (true, Some(client), Some(network)) = (machine, event.facts.client, event.network) else {
            return Vec::new();
        };
        let networks = state.touch(client, event.at);
        if !networks.is_new(network, event.at, self.window) {
            return Vec::new();
        }
        let summary = "The machine's client got a token at a network where it was not seen before.";
        let mut finding = Finding::at(event, summary);
        finding.about.network = Some(network);
        vec![finding]
    }
}

/// A client that slept.
pub(super) struct Dormant {
    pub(super) window: TimeDelta,
}

impl Fold for Dormant {
    /// When each client was last issued a token, or registered.
    type State = Recent<ClientKey, Option<Timestamp>>;

    const WANTS: Kinds = ISSUES;
    const ALWAYS: Kinds = Kinds::of(&[Kind::ClientRegistered]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        if event.kind == Kind::ClientRegistered {
            *state.touch(ClientKey(event.aggregate), event.at) = Some(event.at);
        }
        let Some(client) = event.facts.client.filter(|_| event.issues()) else {
            return Vec::new();
        };
        let before = state.touch(client, event.at).replace(event.at);
        if before.is_none_or(|before| event.at - before < self.window) {
            return Vec::new();
        }
        let days = self.window.num_days();
        let summary = format!("The client got a token after more than {days} days without any.");
        vec![Finding::at(event, summary)]
    }
}

/// Far more tokens than usual.
pub(super) struct Rate {
    pub(super) threshold: u32,
}

/// Days that are compared with.
const DAYS: i64 = 14;
/// How many times the median is too much.
const TIMES: u32 = 6;

/// Tokens per hour of the clock, by hours since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Hours {
    counts: BTreeMap<i64, u32>,
    fired: Option<i64>,
}

impl Hours {
    /// The median of the same hour of the days before; none of days without any counts as zero.
    fn median(&self, hour: i64) -> u32 {
        let of_day = |day: i64| self.counts.get(&(hour - day * 24)).copied().unwrap_or(0);
        let mut counts: Vec<u32> = (1..=DAYS).map(of_day).collect();
        counts.sort_unstable();
        let upper = counts.get(counts.len() / 2).copied().unwrap_or(0);
        let lower = counts.get(counts.len() / 2 - 1).copied().unwrap_or(0);
        u32::midpoint(lower, upper)
    }
}

impl Fold for Rate {
    type State = Recent<ClientKey, Hours>;

    const WANTS: Kinds = ISSUES;

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let Some(client) = event.facts.client.filter(|_| event.issues()) else {
            return Vec::new();
        };
        let hour = event.at.timestamp().div_euclid(3600);
        let hours = state.touch(client, event.at);
        let count = hours.counts.entry(hour).or_insert(0);
        *count = count.saturating_add(1);
        let count = *count;
        if count == 1 {
            hours.counts = hours.counts.split_off(&(hour - DAYS * 24));
        }
        if count <= self.threshold || hours.fired == Some(hour) {
            return Vec::new();
        }
        let median = hours.median(hour);
        if count <= median.saturating_mul(TIMES) {
            return Vec::new();
        }
        hours.fired = Some(hour);
        let summary = format!(
            "The client got {count} access tokens within the hour; at this hour of other days the median is {median}."
        );
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut finding = Finding::at(event, summary).resting_on(vec![event.position], count);
        finding.about.subject = None;
        finding.about.grant = None;
        vec![finding]
    }
}
