//! `grantlog policy`: the rules that watch the ledger.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{output, prompt};
use crate::domain::policy::{Action, MAX_SIGMA, PolicySettings};
use crate::operations::policy::ShownRule;
use crate::policy::replay;
use crate::trail::when::duration;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show every rule, whether it watches and what it does
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show one rule: what it looks for, how it is set, its hash
    Show {
        /// The rule's name
        rule: String,
        #[command(flatten)]
        output: Json,
    },
    /// Let a rule watch, or set it anew
    Enable(Enable),
    /// Let a rule watch no more; its alerts stay
    Disable {
        /// The rule's name
        rule: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
    /// Run rules over history: how often they would have fired, on whom, what they would have done
    Backtest(super::backtest::Arguments),
    /// Run a rule over events of a file, as `audit tail --json` prints them; needs no database
    Test(Test),
}

/// A policy's action.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum ActionName {
    /// Raise an alert
    Alert,
    /// And let the client have few tokens for an hour
    Throttle,
    /// And let the network have few logins, device codes and tokens for an hour
    ThrottleNetwork,
    /// And let no login of the user be good any more
    RequireFreshLogin,
    /// And revoke the grant
    RevokeGrant,
    /// And suspend the client
    SuspendClient,
}

impl From<ActionName> for Action {
    fn from(name: ActionName) -> Self {
        match name {
            ActionName::Alert => Self::Alert,
            ActionName::Throttle => Self::Throttle,
            ActionName::ThrottleNetwork => Self::ThrottleNetwork,
            ActionName::RequireFreshLogin => Self::RequireFreshLogin,
            ActionName::RevokeGrant => Self::RevokeGrant,
            ActionName::SuspendClient => Self::SuspendClient,
        }
    }
}

/// How a rule is set.
#[derive(Args)]
pub(super) struct Setting {
    /// What it does when it fires
    #[arg(long, value_enum, value_name = "ACTION", default_value = "alert")]
    action: ActionName,
    /// How much is too much, instead of the rule's own measure
    #[arg(long, value_name = "COUNT")]
    threshold: Option<u32>,
    /// Within what time (90s, 10m, 1h, 14d), instead of the rule's own
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<u32>,
    /// A file of Sigma rules (YAML) to run under this name; - is standard input
    #[arg(long, value_name = "FILE")]
    sigma: Option<String>,
}

impl Setting {
    fn settings(&self) -> anyhow::Result<PolicySettings> {
        Ok(PolicySettings {
            action: self.action.into(),
            threshold: self.threshold,
            window_seconds: self.window,
            sigma: self.sigma.as_deref().map(read_sigma).transpose()?,
        })
    }
}

/// Options of `enable`.
#[derive(Args)]
pub(super) struct Enable {
    /// The rule's name; a new one for Sigma rules
    rule: String,
    #[command(flatten)]
    setting: Setting,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    output: Json,
}

/// Options of `test`.
#[derive(Args)]
pub(super) struct Test {
    /// The rule's name
    rule: String,
    /// The events: a file of lines as `audit tail --json` prints them; - is standard input
    #[arg(long, value_name = "FILE")]
    events: String,
    #[command(flatten)]
    setting: Setting,
    /// Fail unless it fires so many times
    #[arg(long, value_name = "COUNT")]
    expect: Option<u64>,
    #[command(flatten)]
    output: Json,
}

fn read_text(path: &str, most: u64) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().lock().take(most + 1).read_to_string(&mut text)
    } else {
        let file =
            std::fs::File::open(Path::new(path)).with_context(|| format!("{path} cannot be opened"))?;
        file.take(most + 1).read_to_string(&mut text)
    };
    let read = read.with_context(|| format!("{path} cannot be read as text"))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > most {
        bail!("{path} has more than {most} bytes");
    }
    Ok(text)
}

pub(super) fn read_sigma(path: &str) -> anyhow::Result<String> {
    read_text(path, u64::try_from(MAX_SIGMA).unwrap_or(u64::MAX))
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    if let Command::Test(arguments) = &command {
        return test(arguments);
    }
    let session = Session::open(connection).await?;
    match command {
        Command::List { output } => list(&session, output).await?,
        Command::Show { rule, output } => show(&session, &rule, output).await?,
        Command::Enable(arguments) => enable(&session, arguments).await?,
        Command::Disable {
            rule,
            reason,
            confirmation,
            output,
        } => {
            prompt::confirm(
                confirmation,
                &format!("Let {} watch no more?", output::visible(&rule)),
            )?;
            let context = session.context("policy disable")?;
            let operations = &session.operations;
            operations.disable_policy(&context, &rule, &reason).await?;
            if output.json {
                output::json(&json!({"rule": rule, "enabled": false}))?;
            } else {
                output::line(&format!("{rule} watches no more"))?;
            }
        }
        Command::Backtest(arguments) => super::backtest::run(connection, &session, arguments).await?,
        Command::Test(_) => {}
    }
    session.close().await;
    Ok(())
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let known = session.operations.shown_rules().await?;
    if output.json {
        return output::json(&known);
    }
    let rows: Vec<_> = known
        .into_iter()
        .map(|rule| {
            let action = rule.action.map_or("off", Action::name);
            [
                rule.rule,
                action.to_owned(),
                rule.severity.to_string(),
                rule.technique,
                rule.title,
            ]
        })
        .collect();
    output::table(["RULE", "ACTION", "SEVERITY", "ATT&CK", "LOOKS FOR"], &rows)
}

async fn show(session: &Session, rule: &str, output: Json) -> anyhow::Result<()> {
    let known = session.operations.shown_rules().await?;
    let found = known.into_iter().find(|known| known.rule == rule);
    let found = found.with_context(|| format!("there is no rule {}", output::visible(rule)))?;
    if output.json {
        return output::json(&found);
    }
    let document = serde_json::to_value(&found)?;
    for (name, value) in document.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for (number, line) in text.lines().enumerate() {
            let name = if number == 0 { name.as_str() } else { "" };
            output::line(&format!("{name:<16} {}", output::visible(line)))?;
        }
    }
    Ok(())
}

async fn enable(session: &Session, arguments: Enable) -> anyhow::Result<()> {
    let settings = arguments.setting.settings()?;
    let context = session.context_with("policy enable", arguments.reason.as_deref())?;
    let operations = &session.operations;
    let definition = operations
        .enable_policy(&context, &arguments.rule, settings.clone())
        .await?;
    if arguments.output.json {
        return output::json(&ShownRule::new(&definition, Some(&settings)));
    }
    output::line(&format!(
        "{} watches; it does: {} (rule hash {})",
        definition.id,
        settings.action,
        definition.hash()
    ))
}

fn test(arguments: &Test) -> anyhow::Result<()> {
    /// The most bytes of events that are read.
    const MOST: u64 = 256 * 1024 * 1024;
    let settings = arguments.setting.settings()?;
    let events = read_text(&arguments.events, MOST)?;
    let tested = replay::run(&arguments.rule, &settings, &events)?.shown();
    let fired = u64::try_from(tested.fired).unwrap_or(u64::MAX);
    if arguments.output.json {
        output::json(&tested)?;
    } else {
        for finding in &tested.findings {
            output::line(&format!(
                "{:>8}  {}  {}",
                finding.position,
                output::moment(finding.at),
                output::visible(&finding.summary)
            ))?;
        }
        output::line(&format!("{} events, fired {fired} times", tested.events))?;
    }
    match arguments.expect {
        Some(expected) if expected != fired => bail!("it was expected to fire {expected} times"),
        Some(_) | None => Ok(()),
    }
}
