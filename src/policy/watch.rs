//! Rules at work: which watch, how they are set, and how they learn what was before.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::observed::{Kind, Kinds, Observed};
use super::rule::{Definition, Finding, Rule};
use super::{PolicyError, read, rules, setting, sigma};
use crate::domain::LedgerEvent;
use crate::domain::policy::{Action, PolicyEvent, PolicySettings};
use crate::domain::value::Digest;
use crate::ledger::LANE;

/// How many positions are read at once.
pub(super) const WINDOW: i64 = 5_000;
/// How many, where only some kinds of events are read.
pub(super) const WIDE_WINDOW: i64 = 50_000;

/// The events that say which rules watch.
const SETTINGS: Kinds = Kinds::of(&[Kind::PolicyEnabled, Kind::PolicyChanged, Kind::PolicyDisabled]);

/// One rule at work.
pub(super) struct Watching {
    pub(super) definition: Definition,
    pub(super) hash: Digest,
    pub(super) action: Action,
    pub(super) rule: Box<dyn Rule>,
    /// Whether it has seen an event since it was saved.
    pub(super) moved: bool,
}

impl Watching {
    /// A rule, set so; none where nobody knows it.
    pub(super) fn begin(rule: &str, settings: &PolicySettings) -> Result<Option<Self>, sigma::SigmaError> {
        let begun = begin(rule, settings)?;
        Ok(begun.map(|begun| Self::new(begun, settings)))
    }

    /// A rule that somebody asks for now, where it can be set so.
    pub(super) fn checked(rule: &str, settings: &PolicySettings) -> Result<Self, setting::SettingError> {
        Ok(Self::new(setting::begin(rule, settings)?, settings))
    }

    fn new((definition, rule): Begun, settings: &PolicySettings) -> Self {
        Self {
            hash: definition.hash(),
            definition,
            action: settings.action,
            rule,
            moved: true,
        }
    }

    /// Shows it an event. A policy does not watch what policies do.
    pub(super) fn observe(&mut self, event: &Observed) -> Vec<Finding> {
        if event.by_policy || !self.rule.wants().has(event.kind) {
            return Vec::new();
        }
        self.moved = true;
        self.rule.observe(event)
    }

    /// Lets it learn what mattered before a position, without a word: everything within its lookback, and what
    /// matters for ever.
    pub(super) async fn learn(
        &mut self,
        connection: &mut PgConnection,
        upto: i64,
    ) -> Result<(), PolicyError> {
        let since = self.learns_after(connection, upto).await?;
        let always = self.rule.always();
        if always != Kinds::default() {
            self.learn_between(connection, (0, since), always).await?;
        }
        let wants = self.rule.wants();
        self.learn_between(connection, (since, upto), wants).await
    }

    /// After which position every event that it asks for matters to what it finds after `upto`.
    pub(super) async fn learns_after(
        &self,
        connection: &mut PgConnection,
        upto: i64,
    ) -> Result<i64, PolicyError> {
        let Some(now) = read::recorded_at(connection, upto).await? else {
            return Ok(upto);
        };
        read::before(connection, now - self.definition.lookback(), upto).await
    }

    async fn learn_between(
        &mut self,
        connection: &mut PgConnection,
        (mut after, upto): (i64, i64),
        kinds: Kinds,
    ) -> Result<(), PolicyError> {
        let window = if kinds.all { WINDOW } else { WIDE_WINDOW };
        while after < upto {
            let end = upto.min(after + window);
            for event in read::between(connection, (after, end), kinds).await? {
                self.observe(&event);
            }
            after = end;
        }
        Ok(())
    }
}

/// A rule that has begun to watch, and its definition.
pub type Begun = (Definition, Box<dyn Rule>);

/// A rule and its definition, set so; none where nobody knows it.
pub fn begin(rule: &str, settings: &PolicySettings) -> Result<Option<Begun>, sigma::SigmaError> {
    if let Some(text) = &settings.sigma {
        let (definition, running) = sigma::begin(rule, text)?;
        return Ok(Some((definition, running)));
    }
    Ok(rules::named(rule).map(|built_in| {
        let definition = built_in.definition().set(settings);
        let running = built_in.begin(&definition);
        (definition, running)
    }))
}

/// How each rule stands at a position: the settings of those that watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Standings(BTreeMap<String, PolicySettings>);

impl Default for Standings {
    /// Before anything is said: what Grantlog brings along watches, and raises alerts.
    fn default() -> Self {
        let ids = rules::ALL.iter().map(|rule| rule.definition().id);
        Self(ids.map(|id| (id, PolicySettings::default())).collect())
    }
}

impl Standings {
    /// Takes what is said next. The rule that it is about.
    pub fn apply(&mut self, event: PolicyEvent) -> String {
        match event {
            PolicyEvent::PolicyEnabled(event) => {
                self.0.insert(event.rule.clone(), event.settings);
                event.rule
            }
            PolicyEvent::PolicyChanged(event) => {
                self.0.insert(event.rule.clone(), event.settings);
                event.rule
            }
            PolicyEvent::PolicyDisabled(event) => {
                self.0.remove(&event.rule);
                event.rule
            }
        }
    }

    /// How a rule is set; none where it does not watch.
    #[must_use]
    pub fn get(&self, rule: &str) -> Option<&PolicySettings> {
        self.0.get(rule)
    }

    /// Those that watch.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &PolicySettings)> {
        self.0.iter()
    }

    /// As they were at a position.
    pub async fn at(connection: &mut PgConnection, position: i64) -> Result<Self, PolicyError> {
        let rows: Vec<(String, i16, String)> = sqlx::query_as(
            "SELECT event_type, event_version, payload::text FROM grantlog.ledger_policy \
             WHERE lane = $1 AND position <= $2 ORDER BY position",
        )
        .bind(LANE)
        .bind(position)
        .fetch_all(connection)
        .await?;
        let mut standings = Self::default();
        for (event_type, version, payload) in rows {
            standings.apply(PolicyEvent::decode(&event_type, version, &payload)?);
        }
        Ok(standings)
    }
}

/// All rules that watch at a position.
pub(super) struct Watch {
    pub(super) standings: Standings,
    pub(super) rules: BTreeMap<String, Watching>,
}

impl Watch {
    /// Those that watch at a position, with nothing to remember.
    pub(super) async fn at(connection: &mut PgConnection, position: i64) -> Result<Self, PolicyError> {
        let standings = Standings::at(connection, position).await?;
        let mut rules = BTreeMap::new();
        for (id, settings) in standings.iter() {
            if let Some(watching) = begin_or_warn(id, settings) {
                rules.insert(id.clone(), watching);
            }
        }
        Ok(Self { standings, rules })
    }

    /// The events that somebody asks for.
    pub(super) fn wants(&self) -> Kinds {
        self.rules
            .values()
            .fold(SETTINGS, |kinds, watching| kinds.with(watching.rule.wants()))
    }

    /// Whether somebody asks where callers are.
    pub(super) fn wants_places(&self) -> bool {
        self.rules.values().any(|watching| watching.rule.wants_places())
    }

    /// Whether the event says how a rule is set.
    pub(super) fn is_setting(event: &Observed) -> bool {
        SETTINGS.has(event.kind)
    }

    /// Sets a rule as the event at a position says.
    pub(super) async fn set(
        &mut self,
        connection: &mut PgConnection,
        position: i64,
    ) -> Result<(), PolicyError> {
        let (event_type, version, payload): (String, i16, String) = sqlx::query_as(
            "SELECT event_type, event_version, payload::text FROM grantlog.ledger_policy \
             WHERE lane = $1 AND position = $2",
        )
        .bind(LANE)
        .bind(position)
        .fetch_one(&mut *connection)
        .await?;
        let id = self
            .standings
            .apply(PolicyEvent::decode(&event_type, version, &payload)?);
        let Some(settings) = self.standings.get(&id) else {
            self.rules.remove(&id);
            return Ok(());
        };
        let Some(mut next) = begin_or_warn(&id, settings) else {
            self.rules.remove(&id);
            return Ok(());
        };
        match self.rules.get_mut(&id) {
            // It finds the same and does something else.
            Some(before) if before.hash == next.hash => before.action = next.action,
            Some(_) | None => {
                next.learn(connection, position).await?;
                self.rules.insert(id, next);
            }
        }
        Ok(())
    }
}

/// A rule that this build cannot run must not stop the others.
fn begin_or_warn(id: &str, settings: &PolicySettings) -> Option<Watching> {
    match Watching::begin(id, settings) {
        Ok(Some(watching)) => Some(watching),
        Ok(None) => {
            tracing::warn!(rule = id, "this build does not have the rule of a policy");
            None
        }
        Err(error) => {
            tracing::warn!(rule = id, %error, "this build cannot run the rule of a policy");
            None
        }
    }
}
