//! `grantlog client allow-exchange` and `disallow-exchange`: whose tokens a client may exchange (RFC 8693).

use clap::{Args, ValueEnum};

use super::arguments::Json;
use super::client::{apply, find};
use super::output;
use super::session::Session;
use crate::domain::client::{ClientCommand, ExchangeMode, ExchangeRule};
use crate::domain::value::ScopeSet;
use crate::operations::client_shown::ShownExchange;

/// What an exchanged token says of who acts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Mode {
    /// Nothing
    Impersonation,
    /// Its act claim names the actor
    Delegation,
}

impl From<Mode> for ExchangeMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Impersonation => Self::Impersonation,
            Mode::Delegation => Self::Delegation,
        }
    }
}

/// A rule.
#[derive(Args)]
pub(super) struct Allow {
    /// The id of the client that exchanges
    client: String,
    /// The id of the client that the subject tokens were issued to
    #[arg(long, value_name = "CLIENT")]
    subject_client: String,
    /// What the exchanged tokens say of who acts
    #[arg(long)]
    mode: Mode,
    /// The widest scope of the exchanged tokens, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// Whom they may be for: one of the audience of the client that exchanges (repeat)
    #[arg(long, required = true, value_name = "AUDIENCE")]
    audience: Vec<String>,
    #[command(flatten)]
    output: Json,
}

/// A rule that ends.
#[derive(Args)]
pub(super) struct Disallow {
    /// The id of the client that exchanges
    client: String,
    /// The id of the client that the subject tokens were issued to
    #[arg(long, value_name = "CLIENT")]
    subject_client: String,
    /// In which mode
    #[arg(long)]
    mode: Mode,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn allow(session: &Session, arguments: Allow) -> anyhow::Result<()> {
    let rule = ExchangeRule {
        subject_client: find(session, &arguments.subject_client).await?,
        mode: arguments.mode.into(),
        scope: ScopeSet::parse(&arguments.scope)?,
        audience: arguments.audience,
    };
    let key = find(session, &arguments.client).await?;
    let context = session.context("client allow-exchange")?;
    session.operations.allow_exchange(&context, key, rule).await?;
    super::client::done(session, key, arguments.output).await
}

pub(super) async fn disallow(session: &Session, arguments: Disallow) -> anyhow::Result<()> {
    let command = ClientCommand::DisallowExchange {
        subject_client: find(session, &arguments.subject_client).await?,
        mode: arguments.mode.into(),
        reason: arguments.reason,
    };
    let name = "client disallow-exchange";
    apply(session, name, &arguments.client, &command, arguments.output).await
}

/// A rule in a line.
pub(super) fn line(exchange: &ShownExchange) -> String {
    let text = format!(
        "tokens of {}, {}: scope {}, audience {}",
        exchange.subject_client,
        exchange.mode.name(),
        exchange.scope,
        exchange.audience.join(" "),
    );
    output::visible(&text)
}
