//! `grantlog doctor`: what is wrong with an installation, and what to do about it.

mod request;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::arguments::{Connection, Json};
use super::output;
use crate::doctor::{Findings, Verdict};

/// Options of `doctor`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    output: Json,
    #[command(subcommand)]
    about: Option<About>,
}

/// What else than the installation to look into.
#[derive(Subcommand)]
enum About {
    /// Say why one request was refused, and what to do about it
    Request(request::Arguments),
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    if let Some(About::Request(arguments)) = arguments.about {
        return request::run(connection, arguments).await;
    }
    let settings = connection.settings()?;
    let spinner = output::spinner("checking");
    let findings = Findings::of_installation(&settings).await;
    spinner.finish_and_clear();
    print(&findings, arguments.output)?;
    let failed = findings
        .0
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .count();
    if failed > 0 {
        bail!("{failed} checks failed");
    }
    Ok(())
}

fn print(findings: &Findings, output: Json) -> anyhow::Result<()> {
    if output.json {
        return output::json(&findings.0);
    }
    for check in &findings.0 {
        let verdict = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        output::line(&format!(
            "{verdict}  {:<18} {}",
            check.name,
            output::visible(&check.found)
        ))?;
        if let Some(advice) = check.advice {
            output::line(&format!("{:25}→ {advice}", ""))?;
        }
    }
    Ok(())
}
