//! `grantlog authorization-detail-type`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{output, prompt};
use crate::domain::authorization_detail::{
    AuthorizationDetailType, AuthorizationDetailTypeCommand, DetailTypeDefinition, DetailTypeTerms, parse,
};
use crate::operations::authorization_detail_shown::ShownDetailType;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Define a type, or replace what it is where it exists
    Define(Define),
    /// List types, also retired ones
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show a type
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Check authorization details against their types, and show them as users see them
    Check {
        /// A JSON array, as a request would have it (- is standard input)
        file: PathBuf,
        #[command(flatten)]
        output: Json,
    },
    /// Let nobody be granted a type any more; tokens lose its details at once. Defining it anew brings it back
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

/// What a type is.
#[derive(Args)]
pub(super) struct Define {
    /// Its name, as requests have it in `type`
    name: String,
    /// The JSON Schema (2020-12) that its details conform to, `type` among them; additionalProperties or
    /// unevaluatedProperties is false at its top (- is standard input)
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// The sentence of the consent page, with {member} or {member.member} for what a detail says. Without: users see the members
    #[arg(long, value_name = "TEXT")]
    template: Option<String>,
    /// A resource server that its details are for, as in the audience of clients (repeat). Without: any
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<String>,
    /// Ask the user each time, whatever was allowed before: for what is done once, such as a payment
    #[arg(long)]
    ask_each_time: bool,
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
    match command {
        Command::Define(define) => self::define(session, define).await,
        Command::List { output } => list(session, output).await,
        Command::Show { name, output } => show(session, &name, output).await,
        Command::Check { file, output } => check(session, &file, output).await,
        Command::Retire {
            name,
            reason,
            confirmation,
            output,
        } => {
            find(session, &name).await?;
            let question = format!("Retire the type {}?", output::visible(&name));
            prompt::confirm(confirmation, &question)?;
            let context = session.context_with("authorization-detail-type retire", Some(&reason))?;
            let command = AuthorizationDetailTypeCommand::Retire;
            let operations = &session.operations;
            operations
                .command_authorization_detail_type(&context, &name, &command)
                .await?;
            show(session, &name, output).await
        }
    }
}

async fn define(session: &Session, define: Define) -> anyhow::Result<()> {
    let Define {
        name,
        schema,
        template,
        resources,
        ask_each_time,
        output,
    } = define;
    let text = read(&schema)?;
    // Without what people leave between its parts; what is no JSON is refused below.
    let compact = serde_json::from_str::<Value>(&text).map(|schema| schema.to_string());
    let terms = DetailTypeTerms {
        schema: compact.unwrap_or(text),
        template,
        resources,
        asked_each_time: ask_each_time,
    };
    let command = AuthorizationDetailTypeCommand::Define {
        name: name.clone(),
        terms,
    };
    let context = session.context("authorization-detail-type define")?;
    session
        .operations
        .command_authorization_detail_type(&context, &name, &command)
        .await?;
    show(session, &name, output).await
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        return std::io::read_to_string(std::io::stdin()).context("standard input cannot be read");
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The type of that name, which must be defined.
async fn find(session: &Session, name: &str) -> anyhow::Result<DetailTypeDefinition> {
    let id = AuthorizationDetailType::id(name);
    let known = session.operations.load::<AuthorizationDetailType>(id).await?;
    let Some(definition) = known.definition.clone() else {
        bail!("there is no type {}", output::visible(name));
    };
    Ok(definition)
}

async fn show(session: &Session, name: &str, output: Json) -> anyhow::Result<()> {
    let known = find(session, name).await?;
    if output.json {
        return output::json(&ShownDetailType::from(&known));
    }
    let resources = match known.terms.resources.as_slice() {
        [] => "any".to_owned(),
        some => some.join(" "),
    };
    for (label, value) in [
        ("type", known.name.as_str()),
        (
            "template",
            known
                .terms
                .template
                .as_deref()
                .unwrap_or("none: users see the members"),
        ),
        ("resources", &resources),
        ("each time", yes(known.terms.asked_each_time)),
        ("retired", yes(known.retired)),
        ("schema", &known.terms.schema),
    ] {
        output::line(&format!("{label:<10} {}", output::visible(value)))?;
    }
    Ok(())
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let types = session.operations.shown_detail_types().await;
    let types = types.context("the types cannot be listed")?;
    if output.json {
        return output::json(&types);
    }
    let rows: Vec<_> = types
        .into_iter()
        .map(|known| {
            [
                known.r#type,
                yes(known.retired).to_owned(),
                known.resources.join(" "),
                known.template.unwrap_or_default(),
            ]
        })
        .collect();
    output::table(["TYPE", "RETIRED", "RESOURCES", "TEMPLATE"], &rows)
}

async fn check(session: &Session, file: &Path, output: Json) -> anyhow::Result<()> {
    let checked = session.operations.check_details(&parse(&read(file)?)?).await?;
    if output.json {
        output::json(&checked)?;
    } else {
        for detail in &checked {
            let words = detail.sentence.as_ref().unwrap_or(&detail.r#type);
            output::line(&output::visible(words))?;
            for (name, value) in &detail.members {
                output::line(&format!(
                    "  {}: {}",
                    output::visible(name),
                    output::visible(value)
                ))?;
            }
            for fault in &detail.faults {
                output::line(&format!("  wrong: {}", output::visible(fault)))?;
            }
        }
    }
    let wrong = checked.iter().filter(|detail| !detail.faults.is_empty()).count();
    if wrong > 0 {
        bail!(
            "{wrong} of {} authorization details would be refused",
            checked.len()
        );
    }
    Ok(())
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}
