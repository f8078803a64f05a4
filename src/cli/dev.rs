//! `grantlog dev`: everything on this machine, with one command, as durable as production.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection as _, Executor};
use url::Url;

use super::arguments::Connection;
use super::demo::{self, Demo};
use super::dev_files::{DevFiles, DevJson, tuned};
use super::output;
use crate::app::App;
use crate::clock::Clock;
use crate::postgres::{Options, Postgres};
use crate::{ledger, server, telemetry};

const DATABASE: &str = "grantlog";
const APP_ROLE: &str = "grantlog_app";

/// Options of `dev`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where to serve; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8480")]
    listen: SocketAddr,
    /// The issuer identifier [default: http:// and the address]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Use this database instead of an embedded Postgres (as a role that may create roles and schemas)
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Download nothing
    #[arg(long)]
    offline: bool,
}

/// What runs, and has to be put away.
struct Running {
    app: App,
    listener: std::net::TcpListener,
    issuer: String,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    let files = DevFiles::new(connection.data_dir());
    files.prepare()?;
    let _alone = files.lock()?;
    files.ensure_master_key()?;
    let mut stop = server::stop_signal()?;
    let mut postgres = None;
    let started = tokio::select! {
        started = start(&files, &arguments, &mut postgres) => Some(started),
        () = server::told(&mut stop) => None,
    };
    let served = match started {
        Some(Ok((
            Running {
                app,
                listener,
                issuer,
            },
            _logs,
        ))) => {
            let served = server::serve(app, listener, stop).await;
            files.withdraw(Some(&issuer))?;
            served.map_err(anyhow::Error::from)
        }
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    if let Some(postgres) = postgres {
        postgres
            .stop()
            .await
            .context("the embedded Postgres did not stop")?;
    }
    served
}

async fn start(
    files: &DevFiles,
    arguments: &Arguments,
    postgres: &mut Option<Postgres>,
) -> anyhow::Result<(Running, telemetry::LogGuard)> {
    let owner_url = if let Some(url) = &arguments.database_url {
        url.clone()
    } else {
        let mut options = Options::new(files.postgres());
        options.offline = arguments.offline;
        options.settings = vec![("max_connections".to_owned(), "200".to_owned())];
        let started = Postgres::start(options, output::note).await?;
        let url = started.url("postgres", DATABASE);
        *postgres = Some(started);
        url
    };
    create_database(&owner_url).await?;
    for migration in ledger::migrate::run(&owner_url).await? {
        output::note(&format!("applied migration {migration}"));
    }
    let database_url = match postgres {
        Some(postgres) => postgres.url(APP_ROLE, DATABASE),
        None => as_application(&owner_url).await?,
    };
    let listener = server::listen(arguments.listen)?;
    let address = listener.local_addr()?;
    let issuer = arguments.issuer.clone().unwrap_or_else(|| issuer_at(address));
    let listen = vec![("listen", "--listen", address.to_string())];
    let tuned = tuned();
    let settings = files.settings((&issuer, &database_url), &tuned, listen)?;
    let logs = telemetry::start_logs(settings.log_format, &settings.log_filter);
    let master = settings.master_key().map_err(anyhow::Error::msg)?;
    let app = App::open(settings, master, Clock::default())
        .await
        .context("the server cannot start (is master.key the one that this database was made with?)")?;
    let mut remembered = files.remembered()?;
    let demo = demo::ensure(&app, &mut remembered).await;
    files.remember(&remembered)?;
    let demo = demo?;
    describe(&issuer, &demo)?;
    files.announce(&DevJson {
        issuer: issuer.clone(),
        listen: Some(address.to_string()),
        database_url,
        clients: demo.clients,
        users: vec![demo.user],
        admin: demo.admin,
        settings: tuned,
    })?;
    Ok((
        Running {
            app,
            listener,
            issuer,
        },
        logs,
    ))
}

/// The URL under which this machine reaches an address of its own.
fn issuer_at(address: SocketAddr) -> String {
    if address.ip().is_loopback() {
        format!("http://{address}")
    } else {
        format!("http://localhost:{}", address.port())
    }
}

/// Makes the database where there is none.
async fn create_database(url: &str) -> anyhow::Result<()> {
    const NO_SUCH_DATABASE: &str = "3D000";
    let options: PgConnectOptions = url.parse().context("--database-url")?;
    match options.connect().await {
        Ok(connection) => return Ok(connection.close().await?),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_DATABASE) => {}
        Err(error) => return Err(error).context("the database cannot be reached"),
    }
    let name = options.get_database().unwrap_or(DATABASE).replace('"', "\"\"");
    let mut connection = options.clone().database("postgres").connect().await?;
    connection
        .execute(format!("CREATE DATABASE \"{name}\"").as_str())
        .await
        .context("the database could not be created")?;
    Ok(connection.close().await?)
}

/// The URL with which the server works in somebody's database: in the application's role, so that the ledger is
/// append-only for it as in production.
async fn as_application(owner_url: &str) -> anyhow::Result<String> {
    let mut url = Url::parse(owner_url).context("--database-url")?;
    url.query_pairs_mut()
        .append_pair("options", &format!("-c role={APP_ROLE}"));
    // Not `+`, which other clients take for a plus.
    let url = url.as_str().replace("options=-c+role", "options=-c%20role");
    let options: PgConnectOptions = url.parse()?;
    match options.connect().await {
        Ok(connection) => {
            connection.close().await?;
            Ok(url)
        }
        Err(error) => {
            output::note(&format!(
                "the role {APP_ROLE} cannot be taken ({error}): the server works as the owner, and could change the ledger"
            ));
            Ok(owner_url.to_owned())
        }
    }
}

/// What to try first.
fn describe(issuer: &str, demo: &Demo) -> anyhow::Result<()> {
    // RFC 7636 appendix B, so that the code can be exchanged by hand.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let (web, machine) = (&demo.clients.confidential, &demo.clients.machine);
    let basic = |client: &super::dev_files::DevClient| {
        let secret = client.client_secret.as_deref().unwrap_or_default();
        format!("-u '{}:{secret}'", client.client_id)
    };
    let redirect_uri = web.redirect_uris.first().map_or("", String::as_str);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", &web.client_id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", "view-user")
        .append_pair("state", "demo")
        .append_pair("code_challenge", CHALLENGE)
        .append_pair("code_challenge_method", "S256")
        .finish();
    let (web_basic, machine_basic) = (basic(web), basic(machine));
    output::line(&format!(
        "\
Grantlog serves at {issuer}

user      {username} / {password}
clients   {} (web), {} (native), {} (machine), {} (administration)

# A token for the machine, and what it is:
TOKEN=$(curl -s {machine_basic} -d grant_type=client_credentials {issuer}/oauth/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')
curl -s {machine_basic} -d token=$TOKEN {issuer}/oauth/introspect

# A login: open this, log in, and copy the code from the address that you are sent to:
{issuer}/oauth/authorize?{query}
# … then exchange it:
curl -s {web_basic} -d grant_type=authorization_code -d redirect_uri={redirect_uri} -d code_verifier={VERIFIER} -d code=CODE {issuer}/oauth/token

Ctrl-C stops everything; the data stays.",
        web.client_id,
        demo.clients.public.client_id,
        machine.client_id,
        demo.admin.client_id,
        username = demo.user.username,
        password = demo.user.password,
    ))
}
