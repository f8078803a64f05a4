//! `grantlog serve` and `grantlog migrate`.

use anyhow::Context as _;
use clap::Args;

use super::arguments::{Connection, Json};
use super::output;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{self, Override, Settings};
use crate::{ledger, server, telemetry};

/// Options of `serve`; each wins over the variable and the file's field of the same name.
#[derive(Args)]
pub(super) struct Arguments {
    /// The issuer identifier: the URL that clients know this server by
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Where to serve
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where to serve /metrics
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<String>,
    /// A PEM file with the TLS certificate chain
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// A PEM file with its private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

/// Options of `migrate`.
#[derive(Args)]
pub(super) struct MigrateArguments {
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    let overrides = [
        ("issuer", "--issuer", arguments.issuer),
        ("listen", "--listen", arguments.listen),
        ("metrics_listen", "--metrics-listen", arguments.metrics_listen),
        ("tls_cert", "--tls-cert", arguments.tls_cert),
        ("tls_key", "--tls-key", arguments.tls_key),
    ];
    let overrides: Vec<Override> = overrides
        .into_iter()
        .filter_map(|(field, option, text)| Some((field, option, text?)))
        .collect();
    let settings = connection.configured(overrides)?;
    let _logs = telemetry::start_logs(settings.log_format, &settings.log_filter);
    let mut stop = server::stop_signal()?;
    let (app, listener) = tokio::select! {
        prepared = prepare(settings) => prepared?,
        () = server::told(&mut stop) => return Ok(()),
    };
    Ok(server::serve(app, listener, stop).await?)
}

/// Everything that comes before serving, and may be interrupted.
async fn prepare(settings: Settings) -> anyhow::Result<(App, std::net::TcpListener)> {
    if let Some(warning) = config::warn_of_readers(&settings) {
        tracing::warn!("{warning}");
    }
    if let Some((found, advice)) = config::warn_of_plain_http(&settings) {
        tracing::warn!("{found}: {advice}");
    }
    let master = settings.master_key().map_err(anyhow::Error::msg)?;
    // Before the database: an address in use is to be known at once.
    let listener = server::listen(settings.listen)?;
    server::wait_for_database(&settings.database_url).await?;
    let app = App::open(settings, master, Clock::default())
        .await
        .context("the server cannot start")?;
    tracing::info!(address = %listener.local_addr()?, issuer = app.settings.issuer, "serving");
    Ok((app, listener))
}

pub(super) async fn migrate(connection: &Connection, arguments: MigrateArguments) -> anyhow::Result<()> {
    let settings = connection.settings()?;
    let url = settings
        .migration_database_url
        .as_ref()
        .unwrap_or(&settings.database_url);
    let spinner = output::spinner("migrating");
    let applied = ledger::migrate::run(url)
        .await
        .context("the database was not migrated (migration_database_url must be its owner's)")?;
    spinner.finish_and_clear();
    if arguments.output.json {
        return output::json(&serde_json::json!({ "applied": applied }));
    }
    for migration in &applied {
        output::line(&format!("applied {migration}"))?;
    }
    if applied.is_empty() {
        output::line("the schema is up to date")?;
    }
    Ok(())
}
