//! `grantlog user`.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::arguments::{Connection, Json, Page};
use super::session::Session;
use super::user_access::{Consents, EndSession, Sessions, WithdrawConsent};
use super::user_claims::Claims;
use super::user_erase::{Erase, Hold, Release};
use super::{client, output, prompt};
use crate::domain::client::Client;
use crate::domain::user::User;
use crate::ids::{ClientKey, SubjectId};
use crate::operations::subject;
use crate::operations::user::NewUser;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a user; the password is typed, or comes from standard input
    Create(Create),
    /// Change a user's name, e-mail address or claims; what is not named stays
    Update(Update),
    /// List users in the order of their registration
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Json,
    },
    /// Show a user
    Show(Shown),
    /// Set a new password; every session and token of the user ends
    SetPassword {
        #[command(flatten)]
        target: Target,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let a user act no more; sessions and tokens end at once
    Disable {
        /// The login name or the subject's id
        user: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// Let a user act again
    Enable(Target),
    /// List a user's browser logins that hold now
    Sessions(Sessions),
    /// End a browser login of a user, or all of them
    EndSession(EndSession),
    /// List what a user allows clients
    Consents(Consents),
    /// Take back all that a user allowed a client; its grants of the user end at once
    WithdrawConsent(WithdrawConsent),
    /// Destroy the keys to everything that is stored of a user, for good
    Erase(Erase),
    /// Keep a user's data: it cannot be erased while the hold stands
    Hold(Hold),
    /// End a legal hold
    Release(Release),
}

/// A user to be registered.
#[derive(Args)]
pub(super) struct Create {
    /// The login name
    username: String,
    /// The display name
    #[arg(long)]
    name: Option<String>,
    /// The e-mail address
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    claims: Claims,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Register without a password: the user cannot log in until one is set
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
    #[command(flatten)]
    output: Json,
}

impl Create {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let further = self.claims.patch(None, None)?;
        let password = if self.no_password {
            None
        } else {
            Some(prompt::password(self.password_stdin)?)
        };
        let user = NewUser {
            username: self.username,
            name: self.name,
            email: self.email,
            password,
        };
        let context = session.context("user create")?;
        let subject = session
            .operations
            .create_user_with(&context, user, &further)
            .await?;
        show(session, subject, self.output).await
    }
}

/// What changes of a user.
#[derive(Args)]
pub(super) struct Update {
    /// The login name or the subject's id
    user: String,
    /// The display name
    #[arg(long)]
    name: Option<String>,
    /// The e-mail address; it counts as not verified, unless the same command says otherwise
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    claims: Claims,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    output: Json,
}

impl Update {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let patch = self.claims.patch(self.name.as_deref(), self.email.as_deref())?;
        if patch.is_empty() {
            bail!("nothing is to be changed: give --name, --email, --claim or --claims");
        }
        let subject = find(session, &self.user).await?;
        let context = session.context_with("user update", self.reason.as_deref())?;
        session.operations.update_user(&context, subject, &patch).await?;
        show(session, subject, self.output).await
    }
}

/// A user to be shown.
#[derive(Args)]
pub(super) struct Shown {
    /// The login name or the subject's id; with --client also the pairwise `sub` that the client knows
    user: String,
    /// Show the `sub` that this client knows the user by
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    #[command(flatten)]
    output: Json,
}

impl Shown {
    async fn show(self, session: &Session) -> anyhow::Result<()> {
        match &self.client {
            None => {
                let subject = find(session, &self.user).await?;
                record_show(session, subject, None).await?;
                show(session, subject, self.output).await
            }
            Some(client) => show_for(session, (&self.user, client), self.output).await,
        }
    }
}

/// A user and perhaps why.
#[derive(Args)]
pub(super) struct Target {
    /// The login name or the subject's id
    user: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    administer(&session, connection, command).await?;
    session.close().await;
    Ok(())
}

async fn administer(session: &Session, connection: &Connection, command: Command) -> anyhow::Result<()> {
    let operations = &session.operations;
    match command {
        Command::Create(create) => create.run(session).await,
        Command::Update(update) => update.run(session).await,
        Command::List { page, output } => list(session, page, output).await,
        Command::Show(shown) => shown.show(session).await,
        Command::SetPassword {
            target,
            password_stdin,
        } => {
            let subject = find(session, &target.user).await?;
            let password = prompt::password(password_stdin)?;
            let context = session.context_with("user set-password", target.reason.as_deref())?;
            operations.set_password(&context, subject, password).await?;
            show(session, subject, target.output).await
        }
        Command::Disable { user, reason, output } => {
            let subject = find(session, &user).await?;
            let context = session.context("user disable")?;
            operations.disable_user(&context, subject, &reason).await?;
            show(session, subject, output).await
        }
        Command::Enable(target) => {
            let subject = find(session, &target.user).await?;
            let context = session.context_with("user enable", target.reason.as_deref())?;
            operations.enable_user(&context, subject).await?;
            show(session, subject, target.output).await
        }
        Command::Sessions(sessions) => sessions.run(session).await,
        Command::EndSession(end) => end.run(session, connection).await,
        Command::Consents(consents) => consents.run(session).await,
        Command::WithdrawConsent(withdraw) => withdraw.run(session).await,
        Command::Erase(erase) => erase.run(session, connection).await,
        Command::Hold(hold) => hold.run(session).await,
        Command::Release(release) => release.run(session).await,
    }
}

pub(super) async fn find(session: &Session, user: &str) -> anyhow::Result<SubjectId> {
    let known = session.operations.known_user(user).await?;
    known.with_context(|| format!("there is no user {}", output::unless_secret(user)))
}

/// A user as far as it may be shown, with what is personal decrypted.
async fn document(session: &Session, subject: SubjectId) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(
        session.operations.shown_user(subject).await?,
    )?)
}

/// Nothing is shown of a user before it is on the trail.
async fn record_show(session: &Session, subject: SubjectId, client: Option<ClientKey>) -> anyhow::Result<()> {
    session
        .record_reading("user show", |reading| {
            reading.subject = Some(subject);
            reading.client = client;
        })
        .await
}

/// A user as one client knows it, found by that client's own `sub` too.
async fn show_for(session: &Session, (user, client): (&str, &str), output: Json) -> anyhow::Result<()> {
    let key = client::find(session, client).await?;
    let registration = session.operations.load::<Client>(key.0).await?;
    let registration = registration
        .registration
        .as_deref()
        .context("there is no such client")?;
    let known = if subject::is_pairwise(user) {
        session.operations.find_subject(registration, user).await?
    } else {
        None
    };
    let subject = match known {
        Some(subject) => subject,
        None => find(session, user).await?,
    };
    record_show(session, subject, Some(key)).await?;
    let mut document = document(session, subject).await?;
    if let Some(members) = document.as_object_mut() {
        let sub = session.operations.subject_for(registration, subject);
        members.insert("client_sub".to_owned(), json!(sub));
    }
    print(&document, output)
}

pub(super) async fn show(session: &Session, subject: SubjectId, output: Json) -> anyhow::Result<()> {
    print(&document(session, subject).await?, output)
}

fn print(document: &Value, output: Json) -> anyhow::Result<()> {
    if output.json {
        return output::json(document);
    }
    for (name, value) in document.as_object().into_iter().flatten() {
        output::line(&format!("{name:<14} {}", text(value)))?;
    }
    Ok(())
}

async fn list(session: &Session, page: Page, output: Json) -> anyhow::Result<()> {
    session.record_reading("user list", |_| {}).await?;
    let mut documents = Vec::new();
    for listed in session.operations.list::<User>(page.after, page.limit).await? {
        let mut document = document(session, SubjectId(listed.loaded.id)).await?;
        if let Some(members) = document.as_object_mut() {
            members.insert("position".to_owned(), json!(listed.position));
            members.insert("created_at".to_owned(), json!(listed.created_at));
        }
        documents.push(document);
    }
    if output.json {
        return output::json(&documents);
    }
    let cell = |document: &Value, name: &str| document.get(name).map(text).unwrap_or_default();
    let rows: Vec<_> = documents
        .iter()
        .map(|document| {
            ["position", "state", "sub", "username", "name", "email"].map(|name| cell(document, name))
        })
        .collect();
    output::table(
        ["POSITION", "STATE", "SUBJECT", "USERNAME", "NAME", "E-MAIL"],
        &rows,
    )
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => output::visible(text),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
