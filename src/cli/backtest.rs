//! `grantlog policy backtest`: rules over history.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use super::arguments::{Connection, Json};
use super::policy::{ActionName, read_sigma};
use super::session::Session;
use super::{missing, output};
use crate::clock::monotonic;
use crate::domain::policy::PolicySettings;
use crate::ids::ClientKey;
use crate::policy::backtest::{self, Histogram, Report, Stretch};
use crate::policy::geoip::GeoIp;
use crate::trail::bounds::{Names, moments};
use crate::trail::when::{When, duration, moment};

/// Options of `backtest`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The rules' names; several are run in one reading
    #[arg(required = true)]
    rules: Vec<String>,
    /// From when on: a moment (RFC 3339), a day, or so long ago (14d); otherwise from the beginning
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<When>,
    /// Until when; otherwise until now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<When>,
    /// Another action, measure or file than the policy has
    #[command(flatten)]
    setting: Setting,
    #[command(flatten)]
    output: Json,
}

/// How the rules of a back-test are set; what is not said is as their policies are set now.
#[derive(Args)]
struct Setting {
    /// What it would do when it fires
    #[arg(long, value_enum, value_name = "ACTION")]
    action: Option<ActionName>,
    /// How much is too much
    #[arg(long, value_name = "COUNT")]
    threshold: Option<u32>,
    /// Within what time (90s, 10m, 1h, 14d)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<u32>,
    /// A file of Sigma rules (YAML); - is standard input
    #[arg(long, value_name = "FILE")]
    sigma: Option<String>,
}

impl Setting {
    fn over(&self, now: Option<PolicySettings>) -> anyhow::Result<PolicySettings> {
        let mut settings = now.unwrap_or_default();
        if let Some(action) = self.action {
            settings.action = action.into();
        }
        settings.threshold = self.threshold.or(settings.threshold);
        settings.window_seconds = self.window.or(settings.window_seconds);
        if let Some(path) = &self.sigma {
            settings.sigma = Some(read_sigma(path)?);
        }
        Ok(settings)
    }
}

pub(super) async fn run(
    connection: &Connection,
    session: &Session,
    arguments: Arguments,
) -> anyhow::Result<()> {
    if arguments.setting.sigma.is_some() && arguments.rules.len() > 1 {
        bail!("--sigma is for one rule");
    }
    let standings = session.operations.policies().await?;
    let mut rules = Vec::new();
    for rule in &arguments.rules {
        let settings = arguments.setting.over(standings.get(rule).cloned())?;
        rules.push((rule.clone(), settings));
    }
    let places = connection.settings()?.geoip_database;
    let places = places.as_deref().map(GeoIp::open).transpose()?.map(Arc::new);
    let ledger = session.ledger();
    let now = ledger.clock().now();
    let (since, until) = moments(Names::OPTIONS, (arguments.since, arguments.until), now)?;
    let stretch = Stretch {
        since,
        until,
        most: None,
    };
    session
        .record_reading("policy backtest", |reading| {
            reading.filters = vec!["rule".to_owned()];
        })
        .await?;
    let bar = output::bar(0, "events");
    let shown = bar.clone();
    let progress = move |done, total| {
        shown.set_length(total);
        shown.set_position(done);
    };
    let started = monotonic();
    let reports = backtest::run(ledger, &rules, (stretch, places), &progress).await?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    for report in &reports {
        if !arguments.output.json {
            print(report)?;
        }
    }
    let positions = reports
        .first()
        .map_or(0, |report| report.last_position - report.first_position + 1);
    if let Some(report) = reports.first() {
        missing::note(&report.missing);
    }
    output::note(&format!("{positions} events in {seconds:.1} s"));
    if arguments.output.json {
        return output::json(&reports);
    }
    Ok(())
}

fn print(report: &Report) -> anyhow::Result<()> {
    output::line(&format!(
        "{} version {}, hash {}, positions {} to {}",
        report.rule, report.rule_version, report.rule_hash, report.first_position, report.last_position
    ))?;
    let severities: Vec<String> = report
        .by_severity
        .iter()
        .map(|(severity, count)| format!("{count} {severity}"))
        .collect();
    output::line(&format!(
        "fired {} times ({}): {} clients, {} users, {} networks",
        report.fired,
        if severities.is_empty() {
            "never".to_owned()
        } else {
            severities.join(", ")
        },
        report.clients.len(),
        report.subjects.len(),
        report.networks.len()
    ))?;
    let would = &report.would;
    output::line(&format!(
        "with the action {} it would have revoked {} grants, suspended {} clients, throttled {} clients and \
         {} networks, asked {} users to log in again",
        report.action,
        would.revoke_grants.len(),
        would.suspend_clients.len(),
        would.throttle_clients.len(),
        would.throttle_networks.len(),
        would.fresh_logins.len()
    ))?;
    histogram(&report.histogram)?;
    let client = |key: &ClientKey| match report.client_ids.get(key) {
        Some(name) => format!("client {} ({key})", output::visible(name)),
        None => format!("client {key}"),
    };
    most_often(&report.clients, client)?;
    most_often(&report.subjects, |subject| format!("user {subject}"))?;
    most_often(&report.networks, |network| format!("network {network}"))
}

/// The most that are named one by one in a terminal; `--json` names all.
const NAMED: usize = 10;

/// Those about whom it fired most often.
fn most_often<T>(counts: &BTreeMap<T, u64>, name: impl Fn(&T) -> String) -> anyhow::Result<()> {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by(|one, other| other.1.cmp(one.1));
    for (who, count) in counts.iter().take(NAMED) {
        output::line(&format!("{count:>8}  {}", name(who)))?;
    }
    match counts.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => output::line(&format!("{:>8}  {more} more: --json names them", "")),
    }
}

/// The widest bar, in characters.
const WIDEST: u64 = 50;

fn histogram(histogram: &Histogram) -> anyhow::Result<()> {
    let most = histogram.bars.values().copied().max().unwrap_or(0);
    for (begins, count) in &histogram.bars {
        let width = (count * WIDEST).div_ceil(most.max(1));
        let bar = "█".repeat(usize::try_from(width).unwrap_or_default());
        output::line(&format!("{}  {bar} {count}", output::moment(*begins)))?;
    }
    Ok(())
}
