//! `grantlog scope`.

use clap::Subcommand;
use serde_json::json;

use super::arguments::{Connection, Json};
use super::output;
use super::session::Session;
use crate::domain::scope::{Definition, Scope};

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
    /// List scopes
    List {
        #[command(flatten)]
        output: Json,
    },
}

/// Scopes are few: all fit on one page.
const MOST: u32 = 10_000;

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let output = match command {
        Command::Define {
            name,
            description,
            restricted,
            output,
        } => {
            let context = session.context("scope define")?;
            session
                .operations
                .define_scope(&context, &name, &description, restricted)
                .await?;
            output
        }
        Command::List { output } => output,
    };
    let scopes = session.operations.list::<Scope>(0, MOST).await?;
    let definitions: Vec<&Definition> = scopes
        .iter()
        .filter_map(|listed| listed.loaded.definition.as_ref())
        .collect();
    if output.json {
        let documents = definitions.iter().map(|scope| {
            json!({
                "name": scope.name, "description": scope.description, "restricted": scope.restricted,
                "retired": scope.retired,
            })
        });
        output::json(&documents.collect::<Vec<_>>())?;
    } else {
        let rows: Vec<_> = definitions
            .iter()
            .map(|scope| {
                let restricted = if scope.restricted { "yes" } else { "no" };
                [
                    scope.name.clone(),
                    restricted.to_owned(),
                    scope.description.clone(),
                ]
            })
            .collect();
        output::table(["SCOPE", "RESTRICTED", "DESCRIPTION"], &rows)?;
    }
    session.close().await;
    Ok(())
}
