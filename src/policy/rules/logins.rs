//! Wrong passwords.

use serde::{Deserialize, Serialize};

use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ids::SubjectId;
use crate::policy::memory::{Burst, Measure, Recent, Tally};
use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// Whose password it was that was wrong. Of a name that nobody has nothing is recorded: each is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tried {
    User(SubjectId),
    Unknown(i64),
}

/// Many users, one network.
pub(super) struct Spray {
    pub(super) measure: Measure,
}

impl Fold for Spray {
    type State = Recent<Digest, Burst<Tried>>;

    const WANTS: Kinds = Kinds::of(&[Kind::RequestRefused]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let tried = match (super::refusals::reason(event), event.facts.subject) {
            (Some(RefusalReason::WrongPassword | RefusalReason::UserDisabled), Some(subject)) => {
                Tried::User(subject)
            }
            (Some(RefusalReason::UnknownUser), _) => Tried::Unknown(event.position),
            _ => return Vec::new(),
        };
        let Some(network) = event.network else {
            return Vec::new();
        };
        let burst = state.touch(network, event.at);
        let fired = burst.add(tried, (event.at, event.position), self.measure);
        let finding = fired.map(|evidence| {
            let count = evidence.len();
            let summary = format!("Wrong passwords for {count} users came from one network.");
            let mut finding = Finding::at(event, summary).resting_on(evidence, count);
            finding.about.network = Some(network);
            finding.about.subject = None;
            finding
        });
        finding.into_iter().collect()
    }
}

/// One user.
pub(super) struct Guessing {
    pub(super) measure: Measure,
}

impl Fold for Guessing {
    type State = Recent<SubjectId, Tally>;

    const WANTS: Kinds = Kinds::of(&[Kind::RequestRefused]);

    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding> {
        let wrong = super::refusals::reason(event) == Some(RefusalReason::WrongPassword);
        let Some(subject) = event.facts.subject.filter(|_| wrong) else {
            return Vec::new();
        };
        let tally = state.touch(subject, event.at);
        let fired = tally.add(event.position, (event.at, event.position), self.measure);
        let finding = fired.map(|evidence| {
            let count = evidence.len();
            Finding::at(event, format!("{count} wrong passwords were tried for one user."))
                .resting_on(evidence, count)
        });
        finding.into_iter().collect()
    }
}
