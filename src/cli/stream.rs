//! `grantlog stream`: where the ledger's events are carried to.

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand, ValueEnum};

use super::arguments::{Confirmation, Connection, Json, Page};
use super::session::Session;
use super::stream_dead_letters::{Discard, Redeliver, dead_letters};
use super::stream_shown::{list, show};
use super::{client, output, prompt};
use crate::domain::stream::{OnFailure, StreamDefinition, StreamFilter, StreamTarget};
use crate::operations::stream::{Credential, Start};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Carry events to a receiver from now on
    Add(Add),
    /// Set a stream anew; it goes on from where it is, with its secrets. Credentials go to no other server
    Update(Update),
    /// Show every stream, how far it has come and how it fares
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show one stream
    Show {
        /// The stream's name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Let a stream stand still; nothing is lost
    Pause {
        /// The stream's name
        name: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// Let it go on from where it stood
    Resume {
        /// The stream's name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Remove a stream, its secrets, its place and its dead letters
    Remove {
        /// The stream's name
        name: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
    /// Show the events that a stream gave up on
    DeadLetters {
        /// The stream's name
        name: String,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Json,
    },
    /// Have dead letters delivered once more
    Redeliver(Redeliver),
    /// Forget dead letters that nobody is to be told of any more
    Discard(Discard),
    /// Give a webhook a new secret, or a NATS stream other credentials; webhooks are signed with the old one, too, until
    /// retire-secret
    RotateSecret {
        /// The stream's name
        name: String,
        /// A file with the new credentials of a NATS stream; - is the first line of standard input
        #[arg(long, value_name = "FILE")]
        credentials: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Sign with the newest secret alone
    RetireSecret {
        /// The stream's name
        name: String,
        #[command(flatten)]
        output: Json,
    },
}

/// A stream's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Standard Webhooks with CloudEvents 1.0
    Webhook,
    /// NATS JetStream
    Nats,
    /// OCSF events, one per line, in a file on the server
    OcsfFile,
    /// OCSF events, posted as lines of JSON
    OcsfHttp,
    /// OCSF events as syslog messages (RFC 5424) over TCP or TLS
    Syslog,
}

/// What happens when an event was tried as often as it may be.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Failing {
    /// It becomes a dead letter, and the stream goes on
    DeadLetter,
    /// The stream stays where it is and tries on
    Hold,
}

/// Where to, and what.
#[derive(Args)]
struct Definition {
    /// How it is delivered
    #[arg(long, value_enum)]
    kind: Kind,
    /// Where to: an https URL, `nats://HOST:PORT` (`tls://` for TLS), `syslog+tls://HOST[:PORT]` or
    /// `syslog+tcp://HOST[:PORT]`, or the absolute path of a file
    #[arg(long)]
    url: String,
    /// Many events in one request (webhook)
    #[arg(long)]
    batched: bool,
    /// The first words of the subjects (nats)
    #[arg(long, default_value = "grantlog")]
    prefix: String,
    /// Put the file aside once it has so many bytes (ocsf-file; 0: never)
    #[arg(long, value_name = "BYTES", default_value_t = 100 * 1024 * 1024)]
    max_bytes: u64,
    /// Carry events of this name (repeat)
    #[arg(long = "type", value_name = "EVENT")]
    types: Vec<String>,
    /// Carry events of this type of aggregate (repeat)
    #[arg(long = "aggregate", value_name = "AGGREGATE")]
    aggregates: Vec<String>,
    /// Carry events of this client (repeat)
    #[arg(long = "client", value_name = "CLIENT")]
    clients: Vec<String>,
    /// The most events of one delivery
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    batch: u32,
    /// How often an event is tried
    #[arg(long, value_name = "COUNT", default_value_t = 12)]
    attempts: u32,
    /// What happens then [default: dead-letter; hold for ocsf-file, ocsf-http and syslog]
    #[arg(long, value_enum)]
    on_failure: Option<Failing>,
}

/// Options of `add`.
#[derive(Args)]
pub(super) struct Add {
    /// The stream's name
    name: String,
    #[command(flatten)]
    definition: Definition,
    /// Where to begin: beginning, now, or a position
    #[arg(long, value_name = "START", default_value = "now", value_parser = start)]
    from: Start,
    /// A file with the credentials: USER:PASSWORD, a token, a user's seed of NATS, or a .creds file (nats); the
    /// Authorization header (ocsf-http); - is the first line of standard input
    #[arg(long, value_name = "FILE")]
    credentials: Option<String>,
    #[command(flatten)]
    output: Json,
}

/// Options of `update`.
#[derive(Args)]
pub(super) struct Update {
    /// The stream's name
    name: String,
    #[command(flatten)]
    definition: Definition,
    /// A file with other credentials, in place of those that it has (nats, ocsf-http); - is the first line of standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with = "no_credentials")]
    credentials: Option<String>,
    /// It authenticates no more
    #[arg(long)]
    no_credentials: bool,
    #[command(flatten)]
    output: Json,
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "now" => Ok(Start::Now),
        position => match position.parse() {
            Ok(position) if position > 0 => Ok(Start::At(position)),
            _ => Err("it is not beginning, now or a position".to_owned()),
        },
    }
}

impl Definition {
    async fn read(&self, session: &Session) -> anyhow::Result<StreamDefinition> {
        let mut clients = Vec::new();
        for id in &self.clients {
            clients.push(client::find(session, id).await?);
        }
        let url = self.url.clone();
        let target = match self.kind {
            Kind::Webhook => StreamTarget::Webhook {
                url,
                batched: self.batched,
            },
            Kind::Nats => StreamTarget::Nats {
                url,
                prefix: self.prefix.clone(),
            },
            Kind::OcsfFile => StreamTarget::OcsfFile {
                path: url,
                max_bytes: self.max_bytes,
            },
            Kind::OcsfHttp => StreamTarget::OcsfHttp { url },
            Kind::Syslog => StreamTarget::Syslog { url },
        };
        let on_failure = match self.on_failure {
            Some(Failing::DeadLetter) => OnFailure::DeadLetter,
            Some(Failing::Hold) => OnFailure::Hold,
            None => OnFailure::of(&target),
        };
        Ok(StreamDefinition {
            target,
            filter: StreamFilter {
                types: self.types.clone(),
                aggregates: self.aggregates.clone(),
                clients,
            },
            batch: self.batch,
            attempts: self.attempts,
            on_failure,
            secrets: Vec::new(),
        })
    }
}

fn read_credentials(path: &str) -> anyhow::Result<Vec<u8>> {
    let text = if path == "-" {
        prompt::first_line()?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?
    };
    let text = text.trim();
    ensure!(!text.is_empty(), "{path} is empty");
    Ok(text.as_bytes().to_vec())
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let done = dispatch(&session, command).await;
    session.close().await;
    done
}

async fn dispatch(session: &Session, command: Command) -> anyhow::Result<()> {
    let operations = &session.operations;
    match command {
        Command::Add(arguments) => add(session, arguments).await,
        Command::Update(arguments) => update(session, arguments).await,
        Command::List { output } => list(session, output).await,
        Command::Show { name, output } => show(session, (&name, None), output).await,
        Command::Pause { name, reason, output } => {
            let context = session.context("stream pause")?;
            operations.pause_stream(&context, &name, &reason).await?;
            show(session, (&name, None), output).await
        }
        Command::Resume { name, output } => {
            let context = session.context("stream resume")?;
            operations.resume_stream(&context, &name).await?;
            show(session, (&name, None), output).await
        }
        Command::Remove {
            name,
            reason,
            confirmation,
            output,
        } => {
            let question = format!(
                "Remove {} and forget how far it has come?",
                output::visible(&name)
            );
            prompt::confirm(confirmation, &question)?;
            let context = session.context("stream remove")?;
            operations.remove_stream(&context, &name, &reason).await?;
            list(session, output).await
        }
        Command::DeadLetters { name, page, output } => dead_letters(session, (&name, page), output).await,
        Command::Redeliver(arguments) => arguments.run(session).await,
        Command::Discard(arguments) => arguments.run(session).await,
        Command::RotateSecret {
            name,
            credentials,
            output,
        } => rotate(session, (&name, credentials.as_deref()), output).await,
        Command::RetireSecret { name, output } => {
            let context = session.context("stream retire-secret")?;
            operations.retire_stream_secret(&context, &name).await?;
            show(session, (&name, None), output).await
        }
    }
}

/// What a stream of this kind signs or authenticates with: the bytes, and what is to be told of them.
fn secret(
    session: &Session,
    target: &StreamTarget,
    credentials: Option<&str>,
) -> anyhow::Result<(Option<Vec<u8>>, Option<String>)> {
    match target {
        StreamTarget::Webhook { .. } => {
            ensure!(
                credentials.is_none(),
                "--credentials are for streams of the kinds nats and ocsf-http"
            );
            let (bytes, told) = session.operations.webhook_secret()?;
            Ok((Some(bytes), Some(told)))
        }
        StreamTarget::Nats { .. } | StreamTarget::OcsfHttp { .. } => {
            Ok((credentials.map(read_credentials).transpose()?, None))
        }
        StreamTarget::OcsfFile { .. } | StreamTarget::Syslog { .. } => {
            ensure!(
                credentials.is_none(),
                "--credentials are for streams of the kinds nats and ocsf-http"
            );
            Ok((None, None))
        }
    }
}

async fn add(session: &Session, arguments: Add) -> anyhow::Result<()> {
    let definition = arguments.definition.read(session).await?;
    let (bytes, told) = secret(session, &definition.target, arguments.credentials.as_deref())?;
    let context = session.context("stream add")?;
    let place = (arguments.name.as_str(), arguments.from);
    session
        .operations
        .define_stream(&context, place, definition, bytes.as_deref())
        .await?;
    show(session, (&arguments.name, told), arguments.output).await
}

async fn update(session: &Session, arguments: Update) -> anyhow::Result<()> {
    let definition = arguments.definition.read(session).await?;
    let given = arguments.credentials.as_deref();
    ensure!(
        (given.is_none() && !arguments.no_credentials) || definition.target.shown_to().is_some(),
        "credentials are for streams of the kinds nats and ocsf-http"
    );
    let given = given.map(read_credentials).transpose()?;
    let credentials = match &given {
        Some(bytes) => Credential::These(bytes),
        None if arguments.no_credentials => Credential::Nothing,
        None => Credential::Keep,
    };
    let context = session.context("stream update")?;
    let operations = &session.operations;
    operations
        .change_stream(&context, &arguments.name, definition, credentials)
        .await?;
    show(session, (&arguments.name, None), arguments.output).await
}

async fn rotate(
    session: &Session,
    (name, credentials): (&str, Option<&str>),
    output: Json,
) -> anyhow::Result<()> {
    let defined = session.operations.stream(name).await?;
    let (bytes, told) = secret(session, &defined.definition.target, credentials)?;
    let bytes = bytes.context("give the new credentials with --credentials FILE")?;
    let context = session.context("stream rotate-secret")?;
    session
        .operations
        .rotate_stream_secret(&context, name, &bytes)
        .await?;
    show(session, (name, told), output).await
}
