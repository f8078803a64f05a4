//! `grantlog client …-scope`: the steps of a restricted scope's approval.

use clap::Args;

use super::arguments::Json;
use super::client::apply;
use super::output;
use super::session::Session;
use crate::domain::client::{Approval, ClientCommand};
use crate::operations::approval::ApprovalStep;

/// A client, a scope and why.
#[derive(Args)]
pub(super) struct WithScope {
    /// The client's id
    client: String,
    /// The scope
    scope: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

/// A client, a scope and perhaps why.
#[derive(Args)]
pub(super) struct MayHaveScope {
    /// The client's id
    client: String,
    /// The scope
    scope: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    output: Json,
}

impl From<MayHaveScope> for WithScope {
    fn from(target: MayHaveScope) -> Self {
        let MayHaveScope {
            client,
            scope,
            reason,
            output,
        } = target;
        Self {
            client,
            scope,
            reason: reason.unwrap_or_default(),
            output,
        }
    }
}

/// Takes a step, under the command's name.
pub(super) async fn take(
    session: &Session,
    name: &'static str,
    target: WithScope,
    step: Approval,
) -> anyhow::Result<()> {
    let WithScope {
        client,
        scope,
        reason,
        output,
    } = target;
    let command = ClientCommand::Approval { scope, step, reason };
    apply(session, name, &client, &command, output).await
}

/// State, who, when and why, in a line.
pub(super) fn line(scope: &str, step: &ApprovalStep) -> String {
    let ApprovalStep {
        state,
        actor,
        at,
        reason,
    } = step;
    let state = format!("{state:?}").to_lowercase();
    let why = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    format!("{scope} {state} by {actor} at {}{why}", output::moment(*at))
}
