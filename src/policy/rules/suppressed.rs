//! Refusals that are not on the ledger one by one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::policy::memory::{Measure, Recent};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// More refusals of one network than are recorded: what they are, no rule sees.
pub(super) struct Suppressed {
    pub(super) measure: Measure,
}

/// When, at which position and how many.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    seen: VecDeque<(Timestamp, i64, u64)>,
    silent_until: Option<Timestamp>,
}

impl Fold for Suppressed {
    /// None: of sources that were too many to be told apart.
    type State = Recent<Option<Digest>, Counts>;

    const WANTS: Kinds = Kinds::of(&[Kind::RefusalsSuppressed]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let (Kind::RefusalsSuppressed, Some(count)) = (event.kind, event.facts.suppressed) else {
            return Vec::new();
        };
        let counts = state.touch(event.network, event.at);
        if counts.silent_until.is_some_and(|until| event.at < until) {
            return Vec::new();
        }
        let Measure { threshold, window } = self.measure;
        counts.seen.retain(|(seen, ..)| event.at - *seen < window);
        counts.seen.push_back((event.at, event.position, count));
        let sum = counts
            .seen
            .iter()
            .fold(0_u64, |sum, (.., count)| sum.saturating_add(*count));
        let sum = usize::try_from(sum).unwrap_or(usize::MAX);
        if sum < threshold {
            return Vec::new();
        }
        counts.silent_until = Some(event.at + window);
        let evidence = counts.seen.drain(..).map(|(_, position, _)| position).collect();
        let summary = format!("{sum} refusals of one network were counted and not recorded one by one.");
        let mut finding = Finding::at(event, summary).resting_on(evidence, sum);
        // Which client they named, the events say: anybody can name one.
        finding.about.client = None;
        finding.about.network = event.network;
        vec![finding]
    }
}
