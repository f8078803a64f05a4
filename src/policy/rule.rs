//! What a rule is: data that says what it looks for, and a pure fold over events in the ledger's time.

use chrono::TimeDelta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::observed::{Kinds, Observed};
use crate::canonical;
use crate::clock::Timestamp;
use crate::domain::alert::{About, Severity};
use crate::domain::policy::{Action, PolicySettings, derived_id};
use crate::domain::value::Digest;

/// The most positions of evidence that a finding names.
pub const MAX_EVIDENCE: usize = 50;

/// A rule as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Its name.
    pub id: String,
    /// Raised when it finds something else in the same events.
    pub version: u32,
    /// What it looks for, in a line.
    pub title: String,
    /// What that means, what it does not see, and what to do.
    pub description: String,
    /// How grave it is.
    pub severity: Severity,
    /// The ATT&CK technique (<https://attack.mitre.org>).
    pub technique: String,
    /// How much is too much; 1 where one is.
    pub threshold: u32,
    /// Within how many seconds.
    pub window_seconds: u32,
    /// For how long before a moment events matter to what it finds then, in seconds.
    pub lookback_seconds: u32,
    /// What it can do.
    pub actions: Vec<Action>,
    /// The rule's text, where it was brought along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<String>,
}

impl Definition {
    /// With a policy's own measures.
    #[must_use]
    pub fn set(mut self, settings: &PolicySettings) -> Self {
        self.threshold = settings.threshold.unwrap_or(self.threshold);
        if let Some(window) = settings.window_seconds {
            self.window_seconds = window;
            self.lookback_seconds = self.lookback_seconds.max(window);
        }
        self
    }

    /// What a finding rests on: the same hash over the same events finds the same.
    #[must_use]
    pub fn hash(&self) -> Digest {
        // It holds nothing that has no canonical form.
        Digest::of(canonical::to_string(self).unwrap_or_default().as_bytes())
    }

    /// Within what time.
    #[must_use]
    pub fn window(&self) -> TimeDelta {
        TimeDelta::seconds(self.window_seconds.into())
    }

    /// For how long events matter.
    #[must_use]
    pub fn lookback(&self) -> TimeDelta {
        TimeDelta::seconds(self.lookback_seconds.into())
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The position of the event that it fired at.
    pub position: i64,
    /// When that was recorded.
    pub at: Timestamp,
    /// Whom it is about.
    pub about: About,
    /// Positions of what it rests on.
    pub evidence: Vec<i64>,
    /// How much there was.
    pub count: u64,
    /// In a sentence, without personal data.
    pub summary: String,
    /// Whether the policy's action is for this one; otherwise it is only told.
    pub acts: bool,
    /// How grave this one is, where it is graver or milder than the rule.
    pub severity: Option<Severity>,
}

impl Finding {
    /// At an event, about whom that event is about.
    #[must_use]
    pub fn at(event: &Observed, summary: impl Into<String>) -> Self {
        Self {
            position: event.position,
            at: event.at,
            about: About {
                client: event.facts.client,
                subject: event.facts.subject,
                grant: event.grant(),
                network: None,
            },
            evidence: vec![event.position],
            count: 1,
            summary: summary.into(),
            acts: true,
            severity: None,
        }
    }

    /// Resting on these, too.
    #[must_use]
    pub fn resting_on(mut self, evidence: Vec<i64>, count: usize) -> Self {
        self.count = u64::try_from(count).unwrap_or(u64::MAX);
        let skipped = evidence.len().saturating_sub(MAX_EVIDENCE);
        self.evidence = evidence.into_iter().skip(skipped).collect();
        self
    }

    /// Told, not acted upon.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.acts = false;
        self
    }

    /// The alert that it is. The same finding of the same rule is the same alert, however often it is made.
    #[must_use]
    pub fn alert(&self, definition: &Definition) -> Uuid {
        let About {
            client,
            subject,
            grant,
            network,
        } = self.about;
        let words = [
            "grantlog alert".to_owned(),
            definition.id.clone(),
            definition.hash().to_string(),
            self.position.to_string(),
            format!("{client:?} {subject:?} {grant:?} {network:?}"),
        ];
        derived_id(&words.each_ref().map(String::as_str))
    }
}

/// A rule's fold: pure, in event time, with bounded state. The live engine and back-tests run this very code.
pub trait Fold: Send + Sync + 'static {
    /// What it remembers between events.
    type State: Default + Send + Sync + Serialize + DeserializeOwned;

    /// The events that it is shown.
    const WANTS: Kinds;

    /// Those of them that matter however long ago they were.
    const ALWAYS: Kinds = Kinds::of(&[]);

    /// Whether it asks where callers are.
    const PLACES: bool = false;

    /// Takes the next event.
    fn observe(&self, state: &mut Self::State, event: &Observed) -> Vec<Finding>;
}

/// A rule at work: its fold and what it remembers.
pub trait Rule: Send + Sync {
    /// The events that it is shown.
    fn wants(&self) -> Kinds;
    /// Those that matter however long ago they were.
    fn always(&self) -> Kinds;
    /// Whether it asks where callers are.
    fn wants_places(&self) -> bool;
    /// Takes the next event.
    fn observe(&mut self, event: &Observed) -> Vec<Finding>;
    /// What it remembers, as text.
    fn save(&self) -> Result<String, serde_json::Error>;
    /// Remembers what was saved.
    fn load(&mut self, saved: &str) -> Result<(), serde_json::Error>;
}

/// A fold with its state.
pub struct Running<F: Fold> {
    fold: F,
    state: F::State,
}

impl<F: Fold> Running<F> {
    /// With nothing to remember.
    #[must_use]
    pub fn new(fold: F) -> Self {
        Self {
            fold,
            state: F::State::default(),
        }
    }
}

impl<F: Fold> Rule for Running<F> {
    fn wants(&self) -> Kinds {
        F::WANTS.with(F::ALWAYS)
    }

    fn always(&self) -> Kinds {
        F::ALWAYS
    }

    fn wants_places(&self) -> bool {
        F::PLACES
    }

    fn observe(&mut self, event: &Observed) -> Vec<Finding> {
        self.fold.observe(&mut self.state, event)
    }

    fn save(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.state)
    }

    fn load(&mut self, saved: &str) -> Result<(), serde_json::Error> {
        self.state = serde_json::from_str(saved)?;
        Ok(())
    }
}
