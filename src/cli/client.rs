//! `grantlog client`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::arguments::{Confirmation, Connection, Json, Page};
use super::client_approval::{self, MayHaveScope, WithScope, take};
use super::client_exchange::{self, Allow, Disallow};
use super::client_input::Members;
use super::session::Session;
use super::{initial_access_token, output, prompt};
use crate::domain::client::{Approval, AuthMethod, Client, ClientCommand, Registration, Weakness};
use crate::domain::trail::LedgerRead;
use crate::ids::ClientKey;
use crate::operations::client::CreatedClient;
use crate::operations::describe;
use crate::operations::list::Listed;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a client; its secret is shown this once
    Create(Members),
    /// List clients in the order of their registration
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Json,
    },
    /// Show a client
    Show {
        /// The client's id
        client: String,
        #[command(flatten)]
        output: Json,
    },
    /// Change members of a client's metadata (JSON merge patch, RFC 7396); the others stay
    Update {
        /// The client's id
        client: String,
        #[command(flatten)]
        members: Members,
    },
    /// Block a client until it is reinstated; its tokens are not active meanwhile
    Suspend(WithReason),
    /// Unblock a client that is suspended, or throttled by a policy
    Reinstate(MayHaveReason),
    /// Block a client for good
    Revoke {
        #[command(flatten)]
        target: WithReason,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Add a secret, shown this once; the ones before end after an overlap
    RotateSecret {
        #[command(flatten)]
        target: MayHaveReason,
        /// Seconds that the old secrets are still accepted
        #[arg(long, default_value_t = 0)]
        overlap: u32,
    },
    /// Ask that a client may use a restricted scope, and say what for
    RequestScope(WithScope),
    /// Let a client use a restricted scope, whether it was asked for or not
    ApproveScope(MayHaveScope),
    /// Turn down what was asked for
    RejectScope(WithScope),
    /// Take back an approval; tokens issued before lose the scope at once
    WithdrawScope(WithScope),
    /// Give a client a new token to manage its registration with, shown this once; the one before is over
    RegistrationToken(MayHaveReason),
    /// Let others register clients, a number of them and for a time
    #[command(subcommand)]
    InitialAccessToken(initial_access_token::Command),
    /// Let a client exchange tokens of another client (RFC 8693)
    AllowExchange(Allow),
    /// Let it exchange them no more; tokens that came of it end at once
    DisallowExchange(Disallow),
}

/// A client and why.
#[derive(Args)]
pub(super) struct WithReason {
    /// The client's id
    client: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

/// A client and perhaps why.
#[derive(Args)]
pub(super) struct MayHaveReason {
    /// The client's id
    client: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    if let Command::Create(members) = command {
        return create(connection, members).await;
    }
    let session = Session::open(connection).await?;
    administer(&session, command).await?;
    session.close().await;
    Ok(())
}

async fn create(connection: &Connection, members: Members) -> anyhow::Result<()> {
    // Input first: a mistake in it needs no database.
    let registration = describe::parse(Value::Object(members.read()?))?;
    let chosen = registration.client_secret.clone();
    let session = Session::open(connection).await?;
    let context = session.context("client create")?;
    let created = session.operations.create_client(&context, registration).await?;
    show_created(&session, created, chosen, members.wants_json()).await?;
    session.close().await;
    Ok(())
}

async fn administer(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(_) => Ok(()),
        Command::List { page, output } => list(session, page, output).await,
        Command::Show { client, output } => {
            let key = find(session, &client).await?;
            let narrow = |reading: &mut LedgerRead| reading.client = Some(key);
            session.record_reading("client show", narrow).await?;
            show(session, key, output.json).await
        }
        Command::Update { client, members } => {
            let key = find(session, &client).await?;
            let registration = registration(session, key).await?;
            let metadata = describe::merge(&registration.metadata, members.read()?)?;
            let context = session.context("client update")?;
            session.operations.update_client(&context, key, metadata).await?;
            show(session, key, members.wants_json()).await
        }
        Command::Suspend(target) => {
            let WithReason {
                client,
                reason,
                output,
            } = target;
            let command = ClientCommand::Suspend { reason };
            apply(session, "client suspend", &client, &command, output).await
        }
        Command::Reinstate(target) => reinstate(session, target).await,
        Command::Revoke { target, confirmation } => {
            let WithReason {
                client,
                reason,
                output,
            } = target;
            prompt::confirm(
                confirmation,
                &format!("Revoke {} for good?", output::visible(&client)),
            )?;
            let command = ClientCommand::Revoke { reason };
            apply(session, "client revoke", &client, &command, output).await
        }
        Command::RotateSecret { target, overlap } => rotate(session, target, overlap).await,
        Command::RequestScope(target) => {
            take(session, "client request-scope", target, Approval::Requested).await
        }
        Command::ApproveScope(target) => {
            take(session, "client approve-scope", target.into(), Approval::Approved).await
        }
        Command::RejectScope(target) => {
            take(session, "client reject-scope", target, Approval::Rejected).await
        }
        Command::WithdrawScope(target) => {
            take(session, "client withdraw-scope", target, Approval::Withdrawn).await
        }
        Command::RegistrationToken(target) => registration_token(session, target).await,
        Command::InitialAccessToken(command) => initial_access_token::run(session, command).await,
        Command::AllowExchange(arguments) => client_exchange::allow(session, arguments).await,
        Command::DisallowExchange(arguments) => client_exchange::disallow(session, arguments).await,
    }
}

/// The client of that name, which must exist.
pub(super) async fn find(session: &Session, client_id: &str) -> anyhow::Result<ClientKey> {
    let key = session.operations.known_client(client_id).await?;
    key.with_context(|| format!("there is no client {}", output::unless_secret(client_id)))
}

async fn registration(session: &Session, key: ClientKey) -> anyhow::Result<Registration> {
    let client = session.operations.load::<Client>(key.0).await?;
    client
        .registration
        .as_deref()
        .cloned()
        .context("there is no such client")
}

/// RFC 7591 §3.2.1: the answer states all registered metadata, and the secret.
async fn show_created(
    session: &Session,
    created: CreatedClient,
    chosen: Option<String>,
    as_json: bool,
) -> anyhow::Result<()> {
    let CreatedClient {
        key,
        client_id,
        client_secret,
    } = created;
    let metadata = registration(session, key).await?.metadata;
    if !as_json {
        output::line(&format!("client_id      {client_id}"))?;
        let kept = if metadata.token_endpoint_auth_method == AuthMethod::ClientSecretJwt {
            "it is kept as a key, encrypted under the master key"
        } else {
            "only its digest is stored"
        };
        return match client_secret {
            Some(secret) => output::line(&format!(
                "client_secret  {secret}\n\nThe secret is shown this once: {kept}."
            )),
            None => Ok(()),
        };
    }
    let mut document = describe::document(&metadata);
    document.insert("client_id".to_owned(), json!(client_id));
    let issued_at = session.ledger().clock().now().timestamp();
    document.insert("client_id_issued_at".to_owned(), json!(issued_at));
    if let Some(secret) = client_secret.or(chosen) {
        document.insert("client_secret".to_owned(), json!(secret));
        document.insert("client_secret_expires_at".to_owned(), json!(0));
    }
    output::json(&document)
}

pub(super) async fn show(session: &Session, key: ClientKey, as_json: bool) -> anyhow::Result<()> {
    let shown = session.operations.shown_client(key).await?;
    let shown = shown.context("there is no such client")?;
    if as_json {
        return output::json(&shown);
    }
    let document = serde_json::to_value(&shown)?;
    for (name, value) in document.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "approvals" | "warnings" | "exchanges") {
            continue;
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(&format!("{name:<28} {}", output::visible(&text)))?;
    }
    for (scope, step) in &shown.approvals {
        output::line(&format!(
            "{:<28} {}",
            "approval",
            output::visible(&client_approval::line(scope, step))
        ))?;
    }
    for exchange in shown.exchanges.iter().flatten() {
        output::line(&format!("{:<28} {}", "exchange", client_exchange::line(exchange)))?;
    }
    for weakness in shown.warnings {
        let Weakness {
            member,
            problem,
            section,
        } = weakness;
        output::line(&format!("{:<28} {member}: {problem} ({section})", "warning"))?;
    }
    Ok(())
}

async fn list(session: &Session, page: Page, output: Json) -> anyhow::Result<()> {
    session.record_reading("client list", |_| {}).await?;
    if output.json {
        let shown = session.operations.shown_clients(page.after, page.limit).await?;
        return output::json(&shown);
    }
    let clients = session.operations.list::<Client>(page.after, page.limit).await?;
    let rows: Vec<_> = clients.iter().filter_map(row).collect();
    output::table(
        ["POSITION", "CREATED", "STANDING", "KIND", "CLIENT ID", "NAME"],
        &rows,
    )
}

fn row(listed: &Listed<Client>) -> Option<[String; 6]> {
    let registration = listed.loaded.registration.as_ref()?;
    let kind = if registration.metadata.is_public() {
        "public"
    } else {
        "confidential"
    };
    Some([
        listed.position.to_string(),
        output::moment(listed.created_at),
        format!("{:?}", registration.standing).to_lowercase(),
        kind.to_owned(),
        registration.client_id.clone(),
        registration.metadata.client_name.clone(),
    ])
}

/// Commands a client, and prints what it is then.
pub(super) async fn apply(
    session: &Session,
    name: &'static str,
    client: &str,
    command: &ClientCommand,
    output: Json,
) -> anyhow::Result<()> {
    let key = find(session, client).await?;
    let context = session.context(name)?;
    session.operations.command_client(&context, key, command).await?;
    done(session, key, output).await
}

/// What the client is now, in a line or as JSON.
pub(super) async fn done(session: &Session, key: ClientKey, output: Json) -> anyhow::Result<()> {
    if output.json {
        return show(session, key, true).await;
    }
    let registration = registration(session, key).await?;
    let standing = format!("{:?}", registration.standing).to_lowercase();
    output::line(&format!(
        "{} is {standing}",
        output::visible(&registration.client_id)
    ))
}

async fn reinstate(session: &Session, target: MayHaveReason) -> anyhow::Result<()> {
    let key = find(session, &target.client).await?;
    let context = session.context_with("client reinstate", target.reason.as_deref())?;
    session
        .operations
        .command_client(&context, key, &ClientCommand::Reinstate)
        .await?;
    done(session, key, target.output).await
}

async fn registration_token(session: &Session, target: MayHaveReason) -> anyhow::Result<()> {
    let key = find(session, &target.client).await?;
    let context = session.context_with("client registration-token", target.reason.as_deref())?;
    let token = session.operations.issue_registration_token(&context, key).await?;
    if target.output.json {
        return output::json(&json!({"client_id": target.client, "registration_access_token": token}));
    }
    output::line(&format!(
        "registration_access_token  {token}\n\nThe token is shown this once. The one before is over."
    ))
}

async fn rotate(session: &Session, target: MayHaveReason, overlap: u32) -> anyhow::Result<()> {
    let key = find(session, &target.client).await?;
    let context = session.context_with("client rotate-secret", target.reason.as_deref())?;
    let secret = session
        .operations
        .rotate_client_secret(&context, key, overlap)
        .await?;
    let client_id = registration(session, key).await?.client_id;
    if target.output.json {
        return output::json(&json!({
            "client_id": client_id, "client_secret": secret, "client_secret_expires_at": 0,
            "old_secrets_end_in": overlap,
        }));
    }
    output::line(&format!(
        "client_secret  {secret}\n\nThe secret is shown this once. The ones before end in {overlap} seconds."
    ))
}
