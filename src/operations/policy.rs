//! Policies and alerts, as an administrator sets and reads them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::domain::alert::{Alert, AlertCommand, Severity};
use crate::domain::policy::{Action, Policy, PolicyCommand, PolicySettings};
use crate::domain::value::Digest;
use crate::ledger::{Context, LedgerError};
use crate::policy::rule::Definition;
use crate::policy::watch::{self, Standings};
use crate::policy::{PolicyError, rules, setting};

/// A rule as administrators are shown it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownRule {
    /// Its name.
    pub rule: String,
    /// Raised when it finds something else in the same events.
    pub version: u32,
    /// SHA-256 of the rule and how it is set.
    pub hash: Digest,
    /// What it looks for, in a line.
    pub title: String,
    /// What that means, what it does not see, and what to do.
    pub description: String,
    /// How grave it is.
    pub severity: Severity,
    /// The ATT&CK technique.
    pub technique: String,
    /// How much is too much.
    pub threshold: u32,
    /// Within how many seconds.
    pub window_seconds: u32,
    /// What it can do.
    pub actions: Vec<Action>,
    /// Whether it watches.
    pub enabled: bool,
    /// What it does when it fires; null where it does not watch.
    pub action: Option<Action>,
    /// The rule's text, where it was brought along.
    pub sigma: Option<String>,
}

impl ShownRule {
    /// A rule, and how it is set where it watches.
    #[must_use]
    pub fn new(definition: &Definition, settings: Option<&PolicySettings>) -> Self {
        Self {
            rule: definition.id.clone(),
            version: definition.version,
            hash: definition.hash(),
            title: definition.title.clone(),
            description: definition.description.clone(),
            severity: definition.severity,
            technique: definition.technique.clone(),
            threshold: definition.threshold,
            window_seconds: definition.window_seconds,
            actions: definition.actions.clone(),
            enabled: settings.is_some(),
            action: settings.map(|settings| settings.action),
            sigma: definition.sigma.clone(),
        }
    }
}

impl Operations {
    /// Every rule that is known here, as it is set where it watches, by its name.
    pub async fn shown_rules(&self) -> Result<Vec<ShownRule>, PolicyError> {
        let standings = self.policies().await?;
        let mut all: BTreeMap<String, ShownRule> = rules::ALL
            .iter()
            .map(rules::BuiltIn::definition)
            .map(|definition| (definition.id.clone(), ShownRule::new(&definition, None)))
            .collect();
        for (id, settings) in standings.iter() {
            if let Ok(Some((definition, _))) = watch::begin(id, settings) {
                all.insert(id.clone(), ShownRule::new(&definition, Some(settings)));
            }
        }
        Ok(all.into_values().collect())
    }

    /// Lets a rule watch, set so; sets it anew where it watches.
    pub async fn enable_policy(
        &self,
        context: &Context,
        rule: &str,
        settings: PolicySettings,
    ) -> Result<Definition, OperationError> {
        let begun = setting::begin(rule, &settings)
            .map_err(|error| OperationError::invalid(error.setting(), error.to_string()))?;
        let command = PolicyCommand::Enable {
            rule: rule.to_owned(),
            settings,
        };
        run!(self, context, Policy, Policy::id(rule), &command).outcome?;
        Ok(begun.0)
    }

    /// Lets a rule watch no more.
    pub async fn disable_policy(
        &self,
        context: &Context,
        rule: &str,
        reason: &str,
    ) -> Result<(), OperationError> {
        if reason.trim().is_empty() {
            return Err(OperationError::invalid("reason", "say why"));
        }
        let command = PolicyCommand::Disable {
            rule: rule.to_owned(),
            built_in: rules::named(rule).is_some(),
            reason: reason.to_owned(),
        };
        Ok(run!(self, context, Policy, Policy::id(rule), &command).outcome?)
    }

    /// Which rules watch now, and how they are set.
    pub async fn policies(&self) -> Result<Standings, PolicyError> {
        let mut connection = self.ledger.pool().acquire().await?;
        Standings::at(&mut connection, i64::MAX).await
    }

    /// Notes that somebody looked at an alert.
    pub async fn acknowledge_alert(
        &self,
        context: &Context,
        alert: Uuid,
        note: Option<String>,
    ) -> Result<(), OperationError> {
        let command = AlertCommand::Acknowledge { note };
        Ok(run!(self, context, Alert, alert, &command).outcome?)
    }

    /// An alert; none where there is no such.
    pub async fn alert(&self, alert: Uuid) -> Result<Option<Alert>, LedgerError> {
        let alert = self.load::<Alert>(alert).await?;
        Ok(alert.exists().then(|| (*alert.state).clone()))
    }
}
