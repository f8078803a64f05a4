//! `grantlog scope`.

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{output, prompt};
use crate::domain::scope::ScopeCommand;
use crate::operations::scope::ShownScope;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Define a scope, or change it where it exists
    Define {
        /// Its name (RFC 6749 §3.3)
        name: String,
        /// What it allows, in the words of the consent page
        #[arg(long)]
        description: String,
        /// Each client needs an administrator's approval to use it
        #[arg(long)]
        restricted: bool,
        #[command(flatten)]
        output: Json,
    },
    /// List scopes, also retired ones
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show a scope
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Change a scope's description or restriction; what is not named stays
    Change(Change),
    /// Let nobody be granted a scope any more; tokens lose it at once. Defining it anew brings it back
    Retire {
        /// Its name
        name: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
}

/// A scope and what is to be different.
#[derive(Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct Change {
    /// Its name
    name: String,
    /// What it allows, in the words of the consent page
    #[arg(long, group = "change")]
    description: Option<String>,
    /// Whether each client needs an administrator's approval to use it. Tokens of clients without one lose the
    /// scope at once
    #[arg(long, group = "change", value_name = "true|false")]
    restricted: Option<bool>,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    administer(&session, command).await?;
    session.close().await;
    Ok(())
}

async fn administer(session: &Session, command: Command) -> anyhow::Result<()> {
    let operations = &session.operations;
    match command {
        Command::Define {
            name,
            description,
            restricted,
            output,
        } => {
            let context = session.context("scope define")?;
            operations
                .define_scope(&context, &name, &description, restricted)
                .await?;
            show(session, &name, output).await
        }
        Command::List { output } => list(session, output).await,
        Command::Show { name, output } => show(session, &name, output).await,
        Command::Change(change) => {
            let Change {
                name,
                description,
                restricted,
                reason,
                output,
            } = change;
            let context = session.context_with("scope change", reason.as_deref())?;
            let command = ScopeCommand::Change {
                description,
                restricted,
            };
            operations.command_scope(&context, &name, &command).await?;
            show(session, &name, output).await
        }
        Command::Retire {
            name,
            reason,
            confirmation,
            output,
        } => {
            find(session, &name).await?;
            let question = format!("Retire the scope {}?", output::visible(&name));
            prompt::confirm(confirmation, &question)?;
            let context = session.context_with("scope retire", Some(&reason))?;
            let command = ScopeCommand::Retire;
            operations.command_scope(&context, &name, &command).await?;
            show(session, &name, output).await
        }
    }
}

/// The scope of that name, which must be defined.
async fn find(session: &Session, name: &str) -> anyhow::Result<ShownScope> {
    let scope = session.operations.scope(name).await?;
    scope.with_context(|| format!("there is no scope {}", output::visible(name)))
}

async fn show(session: &Session, name: &str, output: Json) -> anyhow::Result<()> {
    let scope = find(session, name).await?;
    if output.json {
        return output::json(&scope);
    }
    for (label, value) in [
        ("name", scope.name.as_str()),
        ("description", &scope.description),
        ("restricted", yes(scope.restricted)),
        ("retired", yes(scope.retired)),
    ] {
        output::line(&format!("{label:<12} {}", output::visible(value)))?;
    }
    Ok(())
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let scopes = session.operations.scopes().await;
    let definitions = scopes.context("the scopes cannot be listed")?;
    if output.json {
        return output::json(&definitions);
    }
    let rows: Vec<_> = definitions
        .iter()
        .map(|scope| {
            [
                scope.name.clone(),
                yes(scope.restricted).to_owned(),
                yes(scope.retired).to_owned(),
                scope.description.clone(),
            ]
        })
        .collect();
    output::table(["SCOPE", "RESTRICTED", "RETIRED", "DESCRIPTION"], &rows)
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}
