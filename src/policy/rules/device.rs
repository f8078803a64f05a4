//! Devices without a browser (RFC 8628).

use super::refusals::class;
use crate::domain::refusal::RefusalClass;
use crate::domain::value::Digest;
use crate::ids::GrantId;
use crate::policy::memory::{Measure, Recent, Tally};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// User codes that are guessed.
pub(super) struct Guessing {
    pub(super) measure: Measure,
}

impl Fold for Guessing {
    type State = Recent<Option<Digest>, Tally>;

    const WANTS: Kinds = Kinds::of(&[Kind::RequestRefused]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        if class(event) != Some(RefusalClass::UserCode) {
            return Vec::new();
        }
        let tally = state.touch(event.network, event.at);
        let fired = tally.add(event.position, (event.at, event.position), self.measure);
        let finding = fired.map(|evidence| {
            let count = evidence.len();
            let mut finding = Finding::at(event, format!("{count} wrong user codes came from one network."))
                .resting_on(evidence, count);
            finding.about.network = event.network;
            finding.about.grant = None;
            finding
        });
        finding.into_iter().collect()
    }
}

/// A device that is elsewhere than who approved it.
pub(super) struct ApproverMismatch;

impl Fold for ApproverMismatch {
    /// Who approved, of each grant that waits for its device: position, network and month.
    type State = Recent<GrantId, Option<(i64, Digest, String)>>;

    const WANTS: Kinds = Kinds::of(&[Kind::DeviceAuthorizationApproved, Kind::DeviceCodeRedeemed]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let (Some(grant), Some(network)) = (event.grant(), event.network) else {
            return Vec::new();
        };
        let month = event.at.format("%Y-%m").to_string();
        if event.kind == Kind::DeviceAuthorizationApproved {
            *state.touch(grant, event.at) = Some((event.position, network, month));
            return Vec::new();
        }
        if event.kind != Kind::DeviceCodeRedeemed {
            return Vec::new();
        }
        let Some((position, approver, approved_in)) = state.take(&grant).flatten() else {
            return Vec::new();
        };
        // Digests of different months cannot be compared.
        if approver == network || approved_in != month {
            return Vec::new();
        }
        let summary = "The device got its token at another network than it was approved from.";
        vec![Finding::at(event, summary).resting_on(vec![position, event.position], 1)]
    }
}
