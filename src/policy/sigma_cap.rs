//! How many alerts of one Sigma rule there may be within a minute: each is an append, and a rule that somebody brings along
//! may match every event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rule::Finding;

/// The most alerts of one Sigma rule (a document of a file) within a minute of the ledger's time.
pub(super) const MAX_ALERTS_PER_MINUTE: u32 = 60;

/// What there was of each rule, by its title.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cap(BTreeMap<String, Minute>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Minute {
    /// Since 1970.
    number: i64,
    alerts: u32,
    /// Matches that raised none and were not told yet.
    untold: u64,
}

impl Cap {
    /// The finding, where it may be an alert. The last one of a minute says that it is; the first one after it, how many
    /// there were that raised none.
    pub(super) fn let_through(&mut self, mut finding: Finding) -> Option<Finding> {
        let minute = finding.at.timestamp().div_euclid(60);
        let known = self.0.entry(finding.summary.clone()).or_default();
        if known.number != minute {
            known.number = minute;
            known.alerts = 0;
        }
        if known.alerts >= MAX_ALERTS_PER_MINUTE {
            known.untold = known.untold.saturating_add(1);
            return None;
        }
        known.alerts += 1;
        if known.untold > 0 {
            let untold = known.untold;
            finding.summary = format!(
                "{} ({untold} matches before it raised no alert.)",
                finding.summary
            );
            known.untold = 0;
        }
        if known.alerts == MAX_ALERTS_PER_MINUTE {
            finding.summary = format!(
                "{} (The {MAX_ALERTS_PER_MINUTE}th within a minute: further ones in it are only counted.)",
                finding.summary
            );
        }
        Some(finding)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::clock::Timestamp;
    use crate::policy::observed::{Columns, Observed};
    use crate::policy::rule::Rule;
    use crate::policy::sigma;

    const EVERY_TOKEN: &str = "
title: A token
logsource: {product: grantlog}
detection:
    issued:
        event_type: TokenIssued
    condition: issued
";

    fn begin() -> Box<dyn Rule> {
        sigma::begin("every-token", EVERY_TOKEN).unwrap().1
    }

    fn token(rule: &mut dyn Rule, position: i64, second: i64) -> Option<String> {
        let start: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        let columns = Columns {
            position,
            at: start + chrono::TimeDelta::seconds(second),
            aggregate_type: "grant",
            aggregate: Uuid::from_u128(1),
            event_type: "TokenIssued",
            payload: "{}",
            metadata: r#"{"actor":"anonymous"}"#,
        };
        let found = rule.observe(&Observed::read(&columns, true));
        found.into_iter().next().map(|finding| finding.summary)
    }

    #[test]
    fn a_detection_of_every_token_raises_sixty_alerts_a_minute_and_says_so() {
        let mut rule = begin();
        let told: Vec<String> = (0..100)
            .filter_map(|position| token(&mut *rule, position, 5))
            .collect();
        assert_eq!(told.len(), 60);
        assert_eq!(told[58], "A token");
        assert!(
            told[59].contains("further ones in it are only counted"),
            "{}",
            told[59]
        );
        // Who takes over remembers.
        let mut other = begin();
        other.load(&rule.save().unwrap()).unwrap();
        assert_eq!(token(&mut *other, 100, 59), None);
        let next = token(&mut *other, 101, 60).unwrap();
        assert!(next.contains("41 matches before it raised no alert"), "{next}");
        assert_eq!(token(&mut *other, 102, 61).unwrap(), "A token");
    }
}
