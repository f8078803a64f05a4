//! `grantlog client …-scope`: the steps of a restricted scope's approval.

use clap::Args;

use super::arguments::Json;
use super::client::{find, show};
use super::output;
use super::session::Session;
use crate::domain::client::{Approval, ClientCommand};
use crate::ledger::Operator;
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
    let key = find(session, &client).await?;
    let context = session.context(name)?;
    let command = ClientCommand::Approval {
        scope: scope.clone(),
        step,
        reason,
    };
    session.operations.command_client(&context, key, &command).await?;
    if output.json {
        return show(session, key, true).await;
    }
    let approvals = session.operations.approvals(&[key]).await?;
    let step = approvals.get(&key).and_then(|steps| steps.get(&scope));
    let stands = step.map_or_else(|| format!("{scope} is not approved"), |step| line(&scope, step));
    output::line(&format!(
        "{}: {}",
        output::visible(&client),
        output::visible(&stands)
    ))
}

/// State, who, when and why, in a line.
pub(super) fn line(scope: &str, step: &ApprovalStep) -> String {
    let ApprovalStep {
        state,
        actor,
        operator,
        at,
        reason,
    } = step;
    let state = format!("{state:?}").to_lowercase();
    let why = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    let who = who(actor, operator.as_ref());
    format!("{scope} {state} by {who} at {}{why}", output::moment(*at))
}

/// The actor, and the person at the command line.
pub(super) fn who(actor: &str, operator: Option<&Operator>) -> String {
    match operator {
        Some(operator) => format!("{actor} ({operator})"),
        None => actor.to_owned(),
    }
}
