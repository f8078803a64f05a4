//! Sigma rules (<https://sigmahq.io>): detections and correlations that teams bring along, over the ledger's events.
//!
//! An event is shown as one JSON object: `event_type`, `aggregate_type`, `aggregate_id`, `position`, the members of its
//! `payload` and `metadata` under those names, and `client`, `subject`, `grant`, `network` and `agent` on top, wherever they
//! come from.

use std::collections::BTreeSet;
use std::time::Duration;

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{
    CorrelationAction, CorrelationConfig, CorrelationEngine, EvaluationResult, TimestampFallback,
};
use rsigma_parser::{Level, SigmaCollection, parse_sigma_yaml};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::memory::MAX_KEYS;
use super::observed::{Kinds, Observed, Raw};
use super::rule::{Definition, Finding, Rule};
use super::sigma_cap::Cap;
use crate::domain::alert::Severity;
use crate::domain::policy::Action;
use crate::domain::value::{Digest, steers};
use crate::ids::{ClientKey, GrantId, SubjectId};

/// The most documents of one file.
const MAX_RULES: usize = 50;
/// The most operators of all conditions: each is a step down the stack of whoever reads or runs it.
const MAX_OPERATORS: usize = 300;
/// The most bytes without a space: what a pattern costs to prepare grows faster than it.
const MAX_WORD: usize = 1_000;
/// The longest window of a correlation.
const MAX_WINDOW: Duration = Duration::from_hours(720);
/// The most that a group of a correlation remembers.
const MAX_GROUP: usize = 10_000;
/// The most characters of a title and description that are kept.
const MAX_TEXT: usize = 500;

/// Why Sigma rules are not taken.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SigmaError {
    /// It is not Sigma.
    #[error("these are not Sigma rules: {0}")]
    Malformed(String),
    /// Nothing is looked for.
    #[error("there is no rule in it")]
    Empty,
    /// It would be too much to remember, or to run.
    #[error(
        "a file has at most 50 rules, 300 parentheses and words such as and, or, not in it, 1000 bytes without a \
         space, and a correlation a timespan of at most 30 days"
    )]
    TooMuch,
}

/// Runs rules that somebody else wrote.
struct Sigma {
    engine: CorrelationEngine,
    /// Titles of detections that only correlations rest on.
    silent: BTreeSet<String>,
    cap: Cap,
}

/// What is remembered.
#[derive(Serialize, Deserialize)]
struct Saved<E> {
    engine: E,
    cap: Cap,
}

/// The rules of a text, as one rule of that name.
pub fn begin(rule: &str, text: &str) -> Result<(Definition, Box<dyn Rule>), SigmaError> {
    let malformed = |error: String| SigmaError::Malformed(plain(&error));
    let long_word = text.split_whitespace().any(|word| word.len() > MAX_WORD);
    if long_word || operators(text) > MAX_OPERATORS {
        return Err(SigmaError::TooMuch);
    }
    let mut collection = parse_sigma_yaml(text).map_err(|error| malformed(error.to_string()))?;
    if let Some(error) = collection.errors.first() {
        return Err(malformed(error.clone()));
    }
    let definition = define(rule, text, &collection)?;
    let silent = silent(&collection);
    identify(&mut collection);
    let mut engine = CorrelationEngine::new(CorrelationConfig {
        timestamp_fallback: TimestampFallback::Skip,
        max_state_entries: MAX_KEYS,
        max_group_entries: Some(MAX_GROUP),
        action_on_match: CorrelationAction::Reset,
        emit_detections: false,
        ..CorrelationConfig::default()
    });
    engine
        .add_collection(&collection)
        .map_err(|error| malformed(error.to_string()))?;
    let cap = Cap::default();
    Ok((definition, Box::new(Sigma { engine, silent, cap })))
}

fn define(rule: &str, text: &str, collection: &SigmaCollection) -> Result<Definition, SigmaError> {
    let mut titles = collection
        .correlations
        .iter()
        .map(|rule| (&rule.title, &rule.description, &rule.tags, rule.level))
        .chain(
            collection
                .rules
                .iter()
                .map(|rule| (&rule.title, &rule.description, &rule.tags, rule.level)),
        );
    let Some((title, description, tags, level)) = titles.next() else {
        return Err(SigmaError::Empty);
    };
    let windows = collection.correlations.iter().map(|rule| rule.timespan.seconds);
    let window = windows.max().unwrap_or(1);
    if collection.rules.len() + collection.correlations.len() > MAX_RULES || window > MAX_WINDOW.as_secs() {
        return Err(SigmaError::TooMuch);
    }
    let window = u32::try_from(window).unwrap_or(u32::MAX);
    let technique = tags.iter().find_map(|tag| {
        let technique = tag.strip_prefix("attack.")?;
        technique.starts_with('t').then(|| technique.to_ascii_uppercase())
    });
    Ok(Definition {
        id: rule.to_owned(),
        version: 2,
        title: plain(title),
        description: plain(description.as_deref().unwrap_or_default()),
        severity: level.map_or(Severity::Medium, severity),
        technique: plain(&technique.unwrap_or_default()),
        threshold: 1,
        window_seconds: window,
        lookback_seconds: window,
        actions: Action::ALL.to_vec(),
        sigma: Some(text.to_owned()),
    })
}

/// How often a text says what a condition's operators are called, wherever.
fn operators(text: &str) -> usize {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    let named = words.filter(|word| {
        ["and", "or", "not"]
            .iter()
            .any(|operator| word.eq_ignore_ascii_case(operator))
    });
    named.count() + text.matches('(').count()
}

/// Correlations find the detections that they name by id alone, which Sigma does not ask for: one without is known by
/// its name, or its place.
fn identify(collection: &mut SigmaCollection) {
    for (place, rule) in collection.rules.iter_mut().enumerate() {
        let name = || rule.name.clone().unwrap_or_else(|| format!("rule {place}"));
        rule.id = rule.id.take().or_else(|| Some(name()));
    }
}

/// Detections that a correlation rests on, unless it says `generate: true`.
fn silent(collection: &SigmaCollection) -> BTreeSet<String> {
    let rests_on = |name: Option<&String>| {
        let quiet = collection.correlations.iter().filter(|rule| !rule.generate);
        name.is_some_and(|name| quiet.clone().any(|rule| rule.rules.contains(name)))
    };
    let rules = collection.rules.iter();
    rules
        .filter(|rule| {
            rests_on(rule.id.as_ref()) || rests_on(rule.name.as_ref()) || rests_on(Some(&rule.title))
        })
        .map(|rule| rule.title.clone())
        .collect()
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !steers(*c)).take(MAX_TEXT).collect()
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Informational => Severity::Informational,
        Level::Low => Severity::Low,
        Level::Medium => Severity::Medium,
        Level::High => Severity::High,
        Level::Critical => Severity::Critical,
    }
}

impl Rule for Sigma {
    fn wants(&self) -> Kinds {
        Kinds::ALL
    }

    fn always(&self) -> Kinds {
        Kinds::default()
    }

    fn wants_places(&self) -> bool {
        false
    }

    fn observe(&mut self, event: &Observed) -> Vec<Finding> {
        let Some(raw) = &event.raw else { return Vec::new() };
        let value = Value::Object(shown(event, raw));
        let found = self
            .engine
            .process_event_at(&JsonEvent::borrow(&value), event.at.timestamp());
        let told = found
            .iter()
            .filter(|result| result.is_correlation() || !self.silent.contains(&result.header.rule_title));
        let found = told.map(|result| finding(event, result));
        found
            .filter_map(|finding| self.cap.let_through(finding))
            .collect()
    }

    fn save(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Saved {
            engine: self.engine.export_state(),
            cap: self.cap.clone(),
        })
    }

    fn load(&mut self, saved: &str) -> Result<(), serde_json::Error> {
        let saved: Saved<_> = serde_json::from_str(saved)?;
        if !self.engine.import_state(saved.engine) {
            return Err(serde_json::Error::custom("a state of another version"));
        }
        self.cap = saved.cap;
        Ok(())
    }
}

/// What a rule sees of an event.
pub(super) fn shown(event: &Observed, raw: &Raw) -> Map<String, Value> {
    let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    };
    put("event_type", json!(raw.event_type));
    put("aggregate_type", json!(raw.aggregate_type));
    put("aggregate_id", json!(event.aggregate));
    put("position", json!(event.position));
    let own = |kind: &str| (raw.aggregate_type == kind).then_some(event.aggregate);
    let client = event.facts.client.map(|client| client.0).or(own("client"));
    let subject = event.facts.subject.map(|subject| subject.0).or(own("user"));
    let grant = event.facts.grant.map(|grant| grant.0).or(own("grant"));
    put("client", json!(client));
    put("subject", json!(subject));
    put("grant", json!(grant));
    put("network", json!(event.network));
    put("agent", json!(event.agent));
    put("payload", parse(&raw.payload));
    put("metadata", parse(&raw.metadata));
    members
}

fn finding(event: &Observed, result: &EvaluationResult) -> Finding {
    let title = plain(&result.header.rule_title);
    let Some(correlation) = result.as_correlation() else {
        let mut finding = Finding::at(event, title);
        finding.severity = result.header.level.map(severity);
        finding.about.client = finding.about.client.or(own(event, "client").map(ClientKey));
        finding.about.subject = finding.about.subject.or(own(event, "user").map(SubjectId));
        finding.about.grant = finding.about.grant.or(own(event, "grant").map(GrantId));
        return finding;
    };
    let group = |name: &str| {
        let (_, value) = correlation.group_key.iter().find(|(key, _)| key == name)?;
        Uuid::try_parse(value).ok()
    };
    let mut finding = Finding::at(event, title);
    finding.severity = result.header.level.map(severity);
    // It is about the group, whomever the last event named.
    finding.about.client = group("client").map(ClientKey);
    finding.about.subject = group("subject").map(SubjectId);
    finding.about.grant = group("grant").map(GrantId);
    let network = correlation.group_key.iter().find(|(key, _)| key == "network");
    finding.about.network = network.and_then(|(_, value)| Digest::from_hex(value));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count; the cast saturates"
    )]
    let count = correlation.aggregated_value.max(0.0).round() as u64;
    // An event holds no integer beyond 2^53.
    finding.count = count.min(1 << 52);
    finding
}

fn own(event: &Observed, kind: &str) -> Option<Uuid> {
    let raw = event.raw.as_ref()?;
    (raw.aggregate_type == kind).then_some(event.aggregate)
}
