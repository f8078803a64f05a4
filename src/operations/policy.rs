//! Policies and alerts, as an administrator sets and reads them.

use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::domain::alert::{Alert, AlertCommand};
use crate::domain::policy::{Action, Policy, PolicyCommand, PolicySettings};
use crate::ledger::{Context, LedgerError};
use crate::policy::rule::Definition;
use crate::policy::watch::{self, Standings};
use crate::policy::{PolicyError, rules};

impl Operations {
    /// Lets a rule watch, set so; sets it anew where it watches.
    pub async fn enable_policy(
        &self,
        context: &Context,
        rule: &str,
        settings: PolicySettings,
    ) -> Result<Definition, OperationError> {
        let built_in = rules::named(rule).is_some();
        if built_in && settings.sigma.is_some() {
            return Err(OperationError::invalid(
                "rule",
                format!("{rule} is a rule that Grantlog brings along: give yours another name"),
            ));
        }
        if settings.sigma.is_some() && (settings.threshold.is_some() || settings.window_seconds.is_some()) {
            return Err(OperationError::invalid(
                "sigma",
                "threshold and window of a Sigma rule are in its text",
            ));
        }
        let begun = watch::begin(rule, &settings)
            .map_err(|error| OperationError::invalid("sigma", error.to_string()))?;
        let Some((definition, _)) = begun else {
            return Err(OperationError::invalid(
                "rule",
                format!("there is no rule {rule}: bring yours along as Sigma"),
            ));
        };
        if !definition.actions.contains(&settings.action) {
            let names: Vec<&str> = definition
                .actions
                .iter()
                .map(|action: &Action| action.name())
                .collect();
            return Err(OperationError::invalid(
                "action",
                format!("{rule} can do {}", names.join(", ")),
            ));
        }
        let command = PolicyCommand::Enable {
            rule: rule.to_owned(),
            settings,
        };
        run!(self, context, Policy, Policy::id(rule), &command).outcome?;
        Ok(definition)
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
