//! `grantlog network`: networks that policies throttle.

use std::net::IpAddr;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::{Connection, Json};
use super::output;
use super::session::Session;
use crate::domain::value::Digest;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the networks that are throttled now, with why
    List {
        #[command(flatten)]
        output: Json,
    },
    /// End a network's throttle before its time
    Release(Release),
}

/// Which network.
#[derive(Args)]
pub(super) struct Release {
    /// An address of it: the /24 of IPv4, the /48 of IPv6 that it is in
    #[arg(long, value_name = "ADDRESS", required_unless_present = "network")]
    address: Option<IpAddr>,
    /// Its digest, as `network list` and alerts have it
    #[arg(long, value_name = "DIGEST", value_parser = digest, conflicts_with = "address")]
    network: Option<Digest>,
    /// Why, without naming an address: it is recorded in clear
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

fn digest(text: &str) -> Result<Digest, String> {
    Digest::from_hex(text).ok_or_else(|| "a digest is 64 hexadecimal digits".to_owned())
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let done = match command {
        Command::List { output } => list(&session, output).await,
        Command::Release(release) => release.run(&session).await,
    };
    session.close().await;
    done
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let throttled = session.operations.throttled_networks().await?;
    if output.json {
        return output::json(&throttled);
    }
    let rows: Vec<_> = throttled
        .into_iter()
        .map(|throttle| {
            [
                throttle.network.to_string(),
                output::moment(throttle.since),
                output::moment(throttle.until),
                throttle.per_minute.to_string(),
                throttle.reason,
            ]
        })
        .collect();
    output::table(["NETWORK", "SINCE", "UNTIL", "A MINUTE", "REASON"], &rows)
}

impl Release {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let operations = &session.operations;
        let released: Vec<Digest> = match (self.network, self.address) {
            (Some(network), _) => {
                let throttled = operations.throttled_networks().await?.into_iter();
                let networks = throttled.map(|throttle| throttle.network);
                networks.filter(|throttled| *throttled == network).collect()
            }
            (None, Some(address)) => operations.throttled_networks_of(address).await?,
            (None, None) => Vec::new(),
        };
        if released.is_empty() {
            bail!("this network is not throttled: `grantlog network list` says which are");
        }
        let context = session.context("network release")?;
        for network in &released {
            operations
                .release_network(&context, *network, &self.reason)
                .await?;
        }
        if self.output.json {
            return output::json(&json!({"released": released}));
        }
        for network in &released {
            output::line(&format!("network {network} is throttled no more"))?;
        }
        Ok(())
    }
}
