//! Clients that were changed, and then used from elsewhere.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::ClientKey;
use crate::policy::memory::{Networks, Recent};
use crate::policy::observed::{Kind, Kinds, Observed, Registered};
use crate::policy::rule::{Finding, Fold};

/// For how long networks are remembered.
const MEMORY: TimeDelta = TimeDelta::days(14);

/// A change of credentials, redirect URIs or scope, and then a new network.
pub(super) struct UsedElsewhere {
    pub(super) window: TimeDelta,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    networks: Networks,
    registered: Option<Registered>,
    secrets: u32,
    changed: Option<(i64, Timestamp)>,
}

impl Fold for UsedElsewhere {
    type State = Recent<ClientKey, Known>;

    const WANTS: Kinds = Kinds::of(&[
        Kind::TokenIssued,
        Kind::RefreshRotated,
        Kind::RefreshRetried,
        Kind::AccessTokenRefreshed,
    ]);
    const ALWAYS: Kinds = Kinds::of(&[
        Kind::ClientRegistered,
        Kind::ClientUpdated,
        Kind::ClientSecretAdded,
        Kind::ScopeApproved,
    ]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        if Self::ALWAYS.has(event.kind) {
            state.touch(ClientKey(event.aggregate), event.at).change(event);
            return Vec::new();
        }
        let (true, Some(client), Some(network)) = (event.issues(), event.facts.client, event.network) else {
            return Vec::new();
        };
        let known = state.touch(client, event.at);
        let is_new = known.networks.is_new(network, event.at, MEMORY);
        let changed = known.changed.filter(|(_, at)| event.at - *at < self.window);
        let (true, Some((position, _))) = (is_new, changed) else {
            return Vec::new();
        };
        known.changed = None;
        let summary = "The client was changed, and then came from a network where it was not seen before.";
        let mut finding = Finding::at(event, summary).resting_on(vec![position, event.position], 1);
        finding.about.network = Some(network);
        vec![finding]
    }
}

impl Known {
    fn change(&mut self, event: &Observed) {
        let changed = if event.kind == Kind::ClientSecretAdded {
            self.secrets += 1;
            // The first comes with the registration.
            self.secrets > 1
        } else if event.kind == Kind::ScopeApproved {
            // What a client is approved for before it is used is how it begins.
            self.networks.has_met()
        } else {
            let registered = event.facts.registered;
            let before = std::mem::replace(&mut self.registered, registered);
            before.is_some() && before != registered
        };
        if changed {
            self.changed = Some((event.position, event.at));
        }
    }
}
