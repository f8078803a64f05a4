//! `grantlog trust`: other servers whose assertions are good here (RFC 7523 §2.1).
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, where backticks would stand"
)]

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::arguments::{Confirmation, Connection, Json};
use super::client::find;
use super::client_input::read_object;
use super::session::Session;
use super::{output, prompt};
use crate::domain::client::PublicJwks;
use crate::domain::trusted_issuer::{IssuerKeys, SubjectMapping, Trust};
use crate::domain::value::ScopeSet;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Trust an issuer of assertions, or change how far it is trusted
    Add(Add),
    /// List the trusted issuers
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show how far an issuer is trusted
    Show {
        /// The iss of its assertions
        issuer: String,
        #[command(flatten)]
        output: Json,
    },
    /// Trust an issuer no more; tokens that came of its assertions end at once
    Remove {
        /// The iss of its assertions
        issuer: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
}

/// Whom the subject of an assertion is here.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mapping {
    /// The user whose id is sub
    UserId,
    /// The user whose login name is the claim preferred_username
    Username,
    /// The user whose e-mail address is the claim email, where email_verified is true
    Email,
    /// The client itself, for no user
    Client,
}

/// An issuer and how far it is trusted.
#[derive(Args)]
#[command(group = ArgGroup::new("keys").required(true))]
pub(super) struct Add {
    /// The iss of its assertions
    issuer: String,
    /// Its public keys: a JWK set (RFC 7517 §5); - is standard input
    #[arg(long, value_name = "FILE", group = "keys")]
    jwks: Option<String>,
    /// Where it publishes them instead; they are fetched when they are needed
    #[arg(long, value_name = "URL", group = "keys")]
    jwks_uri: Option<String>,
    /// Whom the subject of an assertion is here
    #[arg(long, value_name = "MAPPING")]
    subject_is: Mapping,
    /// The only sub values that are taken (repeat); needed where the subject is the client
    #[arg(long = "subject", value_name = "SUB")]
    subjects: Vec<String>,
    /// The id of a client that may use its assertions (repeat)
    #[arg(long = "client", required = true, value_name = "CLIENT")]
    clients: Vec<String>,
    /// The widest scope of the tokens, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// A type of authorization details that the tokens may have (repeat)
    #[arg(long = "authorization-details-type", value_name = "TYPE")]
    authorization_details_types: Vec<String>,
    /// Seconds that an access token lives at most
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    max_lifetime: u32,
    /// Take assertions without a jti; each is good once all the same
    #[arg(long)]
    jti_optional: bool,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    match command {
        Command::Add(arguments) => add(&session, arguments).await?,
        Command::List { output } => list(&session, output).await?,
        Command::Show { issuer, output } => show(&session, &issuer, output).await?,
        Command::Remove {
            issuer,
            reason,
            confirmation,
            output,
        } => {
            let question = format!("Trust {} no more?", output::visible(&issuer));
            prompt::confirm(confirmation, &question)?;
            let context = session.context("trust remove")?;
            let operations = &session.operations;
            operations.distrust_issuer(&context, &issuer, &reason).await?;
            show(&session, &issuer, output).await?;
        }
    }
    session.close().await;
    Ok(())
}

async fn add(session: &Session, arguments: Add) -> anyhow::Result<()> {
    let jwks = arguments.jwks.as_deref().map(read_jwks).transpose()?;
    let mut clients = Vec::new();
    for client in &arguments.clients {
        clients.push(find(session, client).await?);
    }
    let trust = Trust {
        keys: IssuerKeys::of(jwks, arguments.jwks_uri)?,
        subject_is: match arguments.subject_is {
            Mapping::UserId => SubjectMapping::UserId,
            Mapping::Username => SubjectMapping::Username,
            Mapping::Email => SubjectMapping::Email,
            Mapping::Client => SubjectMapping::Client,
        },
        subjects: arguments.subjects,
        clients,
        scope: ScopeSet::parse(&arguments.scope)?,
        authorization_details_types: arguments.authorization_details_types,
        max_lifetime: arguments.max_lifetime,
        jti_optional: arguments.jti_optional,
    };
    let context = session.context("trust add")?;
    let operations = &session.operations;
    operations
        .trust_issuer(&context, &arguments.issuer, trust)
        .await?;
    show(session, &arguments.issuer, arguments.output).await
}

fn read_jwks(file: &str) -> anyhow::Result<PublicJwks> {
    let document = Value::Object(read_object(file)?);
    PublicJwks::parse(&document)
        .map_err(anyhow::Error::msg)
        .context("jwks")
}

async fn show(session: &Session, issuer: &str, output: Json) -> anyhow::Result<()> {
    let Some(shown) = session.operations.shown_trust(issuer).await? else {
        bail!("the issuer {} was never trusted", output::visible(issuer));
    };
    let document = serde_json::to_value(&shown)?;
    if output.json {
        return output::json(&document);
    }
    for (name, value) in document.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(&format!("{name:<28} {}", output::visible(&text)))?;
    }
    Ok(())
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let issuers = session.operations.shown_trusts().await?;
    if output.json {
        return output::json(&issuers);
    }
    let rows: Vec<_> = issuers
        .into_iter()
        .map(|shown| {
            let terms = shown.terms.as_ref();
            let published = terms.and_then(|terms| terms.jwks_uri.clone());
            let given = terms.map_or("", |_| "given");
            [
                shown.issuer.unwrap_or_default(),
                if shown.trusted { "yes" } else { "no" }.to_owned(),
                terms
                    .map(|terms| terms.subject_is.name().to_owned())
                    .unwrap_or_default(),
                terms.map(|terms| terms.scope.clone()).unwrap_or_default(),
                published.unwrap_or_else(|| given.to_owned()),
            ]
        })
        .collect();
    output::table(["ISSUER", "TRUSTED", "SUBJECT IS", "SCOPE", "KEYS"], &rows)
}
