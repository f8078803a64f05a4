//! Rules over events of a file, as `grantlog audit tail --json` prints them: a rule is tried before it watches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::observed::{Columns, Observed};
use super::rule::{Definition, Finding};
use super::setting::SettingError;
use super::watch::Watching;
use crate::clock::Timestamp;
use crate::domain::alert::{About, Severity};
use crate::domain::policy::PolicySettings;
use crate::domain::value::Digest;

/// What came of it.
#[derive(Debug)]
pub struct Tested {
    /// The rule.
    pub definition: Definition,
    /// How many events there were.
    pub events: usize,
    /// What the rule found.
    pub findings: Vec<Finding>,
}

/// What came of it, as administrators are shown it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyTest")]
pub struct ShownTest {
    /// The rule.
    pub rule: String,
    /// SHA-256 of the rule and how it was set.
    pub rule_hash: Digest,
    /// How many events there were.
    pub events: usize,
    /// How often it fired.
    pub fired: usize,
    /// What it found.
    pub findings: Vec<ShownFinding>,
}

/// One time that it fired.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyTestFinding")]
pub struct ShownFinding {
    /// The position of the event that it fired at.
    pub position: i64,
    /// When that was recorded.
    pub at: Timestamp,
    /// Whom it is about.
    pub about: About,
    /// How much there was.
    pub count: u64,
    /// How grave it is.
    pub severity: Severity,
    /// In a sentence.
    pub summary: String,
    /// Whether the policy's action is for this one; otherwise it is only told.
    pub acts: bool,
    /// Positions of what it rests on.
    pub evidence: Vec<i64>,
}

impl Tested {
    /// As administrators are shown it.
    #[must_use]
    pub fn shown(self) -> ShownTest {
        let Self {
            definition,
            events,
            findings,
        } = self;
        let shown = |finding: Finding| ShownFinding {
            position: finding.position,
            at: finding.at,
            about: finding.about,
            count: finding.count,
            severity: finding.severity.unwrap_or(definition.severity),
            summary: finding.summary,
            acts: finding.acts,
            evidence: finding.evidence,
        };
        ShownTest {
            rule: definition.id.clone(),
            rule_hash: definition.hash(),
            events,
            fired: findings.len(),
            findings: findings.into_iter().map(shown).collect(),
        }
    }
}

/// Why a rule could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line is not an event.
    #[error("line {0} is not an event as `grantlog audit tail --json` prints it")]
    Line(usize),
    /// The rule cannot be run, or not be set so.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

#[derive(Deserialize)]
struct Line<'a> {
    position: i64,
    recorded_at: Timestamp,
    aggregate_type: String,
    aggregate_id: Uuid,
    event_type: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// Shows a rule the events of a text, one on each line.
pub fn run(rule: &str, settings: &PolicySettings, text: &str) -> Result<Tested, ReplayError> {
    let mut watching = Watching::checked(rule, settings)?;
    let (mut events, mut findings) = (0, Vec::new());
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        let line: Line<'_> = serde_json::from_str(line).map_err(|_| ReplayError::Line(number))?;
        let columns = Columns {
            position: line.position,
            at: line.recorded_at,
            aggregate_type: &line.aggregate_type,
            aggregate: line.aggregate_id,
            event_type: &line.event_type,
            payload: line.payload.get(),
            metadata: line.metadata.get(),
        };
        events += 1;
        findings.extend(watching.observe(&Observed::read(&columns, true)));
    }
    Ok(Tested {
        definition: watching.definition,
        events,
        findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_a_file_holds_it_is_refused_or_read(text in ".*", rule in "[a-z-]{1,20}") {
            let settings = PolicySettings::default();
            let _ = run(&rule, &settings, &text);
            let _ = run("refresh-replay", &settings, &text);
        }

        #[test]
        fn whatever_a_sigma_file_holds_it_is_refused_or_taken(text in "(title|detection|condition|logsource|: |\n|  |- |[a-z]){0,60}") {
            let settings = PolicySettings { sigma: Some(text), ..PolicySettings::default() };
            let _ = run("theirs", &settings, "");
        }
    }
}
