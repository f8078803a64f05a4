//! `/admin/policies`: what `grantlog policy` does.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::guard::only_in_full;
use super::parameters::{Because, Nothing, Reason, Time};
use super::scope::AdminScope;
use super::trail::between;
use crate::domain::policy::{Action, PolicySettings};
use crate::domain::refusal::RefusalReason;
use crate::http::error::{AdminError, ApiError, Rejection};
use crate::ledger::LedgerError;
use crate::operations::policy::ShownRule;
use crate::policy::PolicyError;
use crate::policy::backtest::{self, Report, Stretch};
use crate::policy::replay::{self, ReplayError, ShownTest};
use crate::policy::setting::SettingError;

/// The most rules of one back-test.
const MAX_RULES: usize = 20;
/// The most positions that one back-test reads; longer ones are for the command line, which shows how far they are.
const MAX_POSITIONS: i64 = 1_000_000;
/// Seconds after which a caller comes back that found this node busy.
const RETRY: u32 = 10;
/// Back-tests are costly: one at a time on each node.
static BACKTESTS: Semaphore = Semaphore::const_new(1);

/// Which rule.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its name.
    rule: String,
}

/// All rules.
#[derive(Serialize, JsonSchema)]
struct Rules {
    /// By their names.
    items: Vec<ShownRule>,
}

/// How a rule is set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Setting {
    /// What it does when it fires, besides raising an alert.
    #[serde(default)]
    action: Action,
    /// How much is too much; the rule's own measure where nothing is said.
    #[serde(default)]
    threshold: Option<u32>,
    /// Within how many seconds; the rule's own measure where nothing is said.
    #[serde(default)]
    window_seconds: Option<u32>,
    /// Sigma rules (YAML) to run under this name.
    #[serde(default)]
    sigma: Option<String>,
    /// Why; it is recorded.
    #[serde(default)]
    reason: Option<Reason>,
}

/// A back-test.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Backtest {
    /// The rules' names, at most 20.
    rules: Vec<String>,
    /// Another action than the policies have.
    #[serde(default)]
    action: Option<Action>,
    /// Another measure.
    #[serde(default)]
    threshold: Option<u32>,
    /// Another time.
    #[serde(default)]
    window_seconds: Option<u32>,
    /// The text of Sigma rules, where there is one rule.
    #[serde(default)]
    sigma: Option<String>,
    /// From when on; otherwise from the beginning.
    #[serde(default)]
    since: Option<Time>,
    /// Until when; otherwise until now.
    #[serde(default)]
    until: Option<Time>,
}

/// What came of a back-test.
#[derive(Serialize, JsonSchema)]
struct Reports {
    /// One for each rule.
    items: Vec<Report>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            About::get(
                "/admin/policies",
                (
                    "listPolicies",
                    "Show every rule, whether it watches and what it does",
                ),
            ),
            list,
        ),
        operation(
            About::get("/admin/policies/{rule}", ("showPolicy", "Show one rule")),
            show,
        ),
        operation(
            About::post(
                AdminScope::Configure,
                "/admin/policies/{rule}/enable",
                ("enablePolicy", "Let a rule watch, or set it anew"),
            ),
            enable,
        ),
        operation(
            About::post(
                AdminScope::Configure,
                "/admin/policies/{rule}/disable",
                ("disablePolicy", "Let a rule watch no more; its alerts stay"),
            ),
            disable,
        ),
        operation(
            About::post(
                AdminScope::Operate,
                "/admin/backtests",
                (
                    "backtestPolicies",
                    "Run rules over history: how often they would have fired, and on whom",
                ),
            ),
            run_backtest,
        ),
        operation(
            About::post(
                AdminScope::Operate,
                "/admin/policies/{rule}/test",
                (
                    "testPolicy",
                    "Show a rule some events: what it would find in them",
                ),
            ),
            test,
        ),
    ]
}

/// A test.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Test {
    /// The events, as `/admin/trail` answers them; a body has at most 64 KiB.
    events: Vec<Map<String, Value>>,
    /// How much is too much; the rule's own measure where nothing is said.
    #[serde(default)]
    threshold: Option<u32>,
    /// Within how many seconds; the rule's own measure where nothing is said.
    #[serde(default)]
    window_seconds: Option<u32>,
    /// Sigma rules (YAML) to run under this name.
    #[serde(default)]
    sigma: Option<String>,
}

async fn test(call: Call, asked: Asked<Named, Nothing, JsonBody<Test>>) -> Result<ShownTest, Rejected> {
    let Test {
        events,
        threshold,
        window_seconds,
        sigma,
    } = asked.body.0;
    let settings = PolicySettings {
        threshold,
        window_seconds,
        sigma,
        ..PolicySettings::default()
    };
    let lines: Vec<String> = events
        .into_iter()
        .map(|event| Value::Object(event).to_string())
        .collect();
    let tested = replay::run(&asked.path.rule, &settings, &lines.join("\n"));
    let tested = tested.map_err(|error| match error {
        ReplayError::Line(number) => call.invalid(format!("events[{}]: it is not an event", number - 1)),
        ReplayError::Setting(SettingError::UnknownRule(_)) => call.missing("There is no such rule."),
        ReplayError::Setting(error) => call.invalid(format!("{}: {error}", error.setting())),
    })?;
    Ok(tested.shown())
}

pub(super) fn failed(call: &Call, error: PolicyError) -> Rejected {
    match error {
        PolicyError::Database(error) => Call::failed(error),
        PolicyError::Ledger(error) => error.into(),
        PolicyError::Setting(error) => call.invalid(format!("{}: {error}", error.setting())),
        PolicyError::Sigma(error) => call.invalid(format!("sigma: {error}")),
        PolicyError::TooMuch { .. } => call.invalid(format!(
            "since, until: {error}; `grantlog policy backtest` takes more"
        )),
        PolicyError::UnknownEvent(error) => LedgerError::from(error).into(),
        PolicyError::Crypto(error) => LedgerError::from(error).into(),
        PolicyError::State(_)
        | PolicyError::Overtaken
        | PolicyError::Fault(_)
        | PolicyError::Reader
        | PolicyError::Beyond(_)
        | PolicyError::Copy => {
            tracing::error!(%error, "rules could not be read or run");
            Rejection::new(
                AdminError::from(ApiError::ServerError),
                RefusalReason::UnexpectedOutcome,
            )
        }
    }
}

async fn rules(call: &Call) -> Result<Vec<ShownRule>, Rejected> {
    let rules = call.operations().shown_rules().await;
    rules.map_err(|error| failed(call, error))
}

async fn list(call: Call, _: Asked) -> Result<Rules, Rejected> {
    let items = rules(&call).await?;
    Ok(Rules { items })
}

async fn shown(call: &Call, rule: &str) -> Result<ShownRule, Rejected> {
    let found = rules(call).await?.into_iter().find(|known| known.rule == rule);
    found.ok_or_else(|| call.missing("There is no such rule."))
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownRule, Rejected> {
    shown(&call, &asked.path.rule).await
}

async fn enable(call: Call, asked: Asked<Named, Nothing, JsonBody<Setting>>) -> Result<ShownRule, Rejected> {
    let Setting {
        action,
        threshold,
        window_seconds,
        sigma,
        reason,
    } = asked.body.0;
    let settings = PolicySettings {
        action,
        threshold,
        window_seconds,
        sigma,
    };
    // What stops clients would stop administrators, too; and a rule of one's own fires at whomever one likes.
    let stops = matches!(settings.action, Action::SuspendClient | Action::Throttle);
    let own = settings.sigma.is_some() && settings.action != Action::Alert;
    if (stops || own) && !call.administrator.is_full {
        return Err(only_in_full(&call));
    }
    let context = call.because(reason.map(|reason| reason.0));
    let operations = call.operations();
    let definition = operations
        .enable_policy(&context, &asked.path.rule, settings.clone())
        .await?;
    Ok(ShownRule::new(&definition, Some(&settings)))
}

async fn disable(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<ShownRule, Rejected> {
    let rule = &asked.path.rule;
    let before = shown(&call, rule).await?;
    let reason = asked.body.0.reason.0;
    call.operations()
        .disable_policy(&call.context, rule, &reason)
        .await?;
    // A rule that was brought along is gone from the list then.
    Ok(ShownRule {
        enabled: false,
        action: None,
        ..before
    })
}

impl Backtest {
    /// How the rules are set: what is not said is as their policies are set now.
    async fn settings(&self, call: &Call) -> Result<Vec<(String, PolicySettings)>, Rejected> {
        if self.rules.is_empty() || self.rules.len() > MAX_RULES {
            return Err(call.invalid(format!("rules: name 1 to {MAX_RULES}")));
        }
        if self.sigma.is_some() && self.rules.len() > 1 {
            return Err(call.invalid("sigma: it is for one rule"));
        }
        let standings = call.operations().policies().await;
        let standings = standings.map_err(|error| failed(call, error))?;
        let settings = self.rules.iter().map(|rule| {
            let mut settings = standings.get(rule).cloned().unwrap_or_default();
            settings.action = self.action.unwrap_or(settings.action);
            settings.threshold = self.threshold.or(settings.threshold);
            settings.window_seconds = self.window_seconds.or(settings.window_seconds);
            settings.sigma = self.sigma.clone().or(settings.sigma);
            (rule.clone(), settings)
        });
        Ok(settings.collect())
    }
}

async fn run_backtest(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<Backtest>>,
) -> Result<Reports, Rejected> {
    let wanted = asked.body.0;
    let (since, until) = between(&call, (wanted.since, wanted.until))?;
    let rules = wanted.settings(&call).await?;
    let _one = BACKTESTS.try_acquire().map_err(|_| {
        call.refuse(
            AdminError::from(ApiError::RateLimitExceeded(RETRY)),
            RefusalReason::AdministrationBusy,
        )
    })?;
    let stretch = Stretch {
        since,
        until,
        most: Some(MAX_POSITIONS),
    };
    let places = call.app.geoip.as_ref().map(Arc::clone);
    let reports = backtest::run(&call.app.ledger, &rules, (stretch, places), &|_, _| {}).await;
    let items = reports.map_err(|error| failed(&call, error))?;
    Ok(Reports { items })
}
