//! `grantlog doctor request`: from the id of a failed request to what to do about it.

use anyhow::bail;
use clap::Args;
use uuid::Uuid;

use crate::cli::arguments::{Connection, Json};
use crate::cli::output;
use crate::cli::session::Session;
use crate::ids::RequestId;
use crate::operations::refusal::{ExplainedRefusal, NOT_FOUND};

/// Options of `doctor request`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The request's id: `request_id` in the answer's body, or its X-Request-Id header
    id: Uuid,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    session
        .record_reading("doctor request", |reading| {
            reading.filters = vec!["request".to_owned()];
            reading.resource = Some(arguments.id.to_string());
        })
        .await?;
    let found = session.operations.find_refusal(RequestId(arguments.id)).await?;
    session.close().await;
    let Some(refusal) = found else {
        bail!(NOT_FOUND);
    };
    if arguments.output.json {
        return output::json(&refusal);
    }
    print(&refusal)
}

fn print(refusal: &ExplainedRefusal) -> anyhow::Result<()> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    for (name, value) in [
        ("request", refusal.request_id.to_string()),
        ("refused at", output::moment(refusal.refused_at)),
        ("endpoint", refusal.endpoint.clone()),
        ("answered", refusal.error.clone()),
        ("reason", refusal.reason.clone()),
        ("client", shown(refusal.client_id.clone())),
        ("user", shown(refusal.subject.map(|subject| subject.to_string()))),
        ("grant", shown(refusal.grant.map(|grant| grant.to_string()))),
        ("position", refusal.position.to_string()),
    ] {
        output::line(&format!("{name:<12} {}", output::visible(&value)))?;
    }
    let (Some(check), Some(advice)) = (refusal.check, refusal.advice) else {
        return output::line("\nThis build does not know the reason: a newer one refused the request.");
    };
    output::line(&format!("\nThe check that failed\n  {check}"))?;
    for (heading, lines) in [
        ("Likely causes", advice.causes),
        ("What to do", advice.resolution),
        ("How to prevent it", advice.prevention),
    ] {
        output::line(&format!("\n{heading}"))?;
        for line in lines {
            output::line(&format!("  - {line}"))?;
        }
    }
    Ok(())
}
