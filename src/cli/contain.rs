//! `grantlog contain`: take access away by what an incident is known by.

use std::future::ready;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{client, missing, output, prompt, user};
use crate::policy::contain::{By, Contained, Containment};
use crate::trail::bounds::{Names, moments};
use crate::trail::when::{When, moment};

/// By what grants are chosen.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ByName {
    /// Those of a client: its id
    Client,
    /// Those of a user: the login name or id
    User,
    /// Those whose tokens are bound to a key, or whose client authenticated with one: its thumbprint or kid
    Key,
    /// Those that were begun or used from the network (/24 or /48) of an address
    Address,
    /// All that were issued or used within --since and --until
    Window,
}

/// Revoke grants by client, user, key, address or window of time
#[derive(Args)]
pub(super) struct Arguments {
    /// By what
    #[arg(long, value_enum)]
    by: ByName,
    /// Which client, user, key or address
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
    /// What was issued or used from then on: a moment (RFC 3339), a day, or so long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<When>,
    /// Until when
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<When>,
    /// Take away what new grants would come from, too: by client, the client (it is suspended); by user, all logins of before;
    /// by key, the clients that authenticated with it; by address or window, the logins that were begun or used there, with
    /// all that was given in them
    #[arg(long)]
    whole: bool,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let contained = contain(&session, arguments).await;
    session.close().await;
    contained
}

async fn choose(session: &Session, arguments: &Arguments) -> anyhow::Result<By> {
    let value = || arguments.value.as_deref().context("say which one");
    Ok(match arguments.by {
        ByName::Client => By::Client(client::find(session, value()?).await?),
        ByName::User => By::User(user::find(session, value()?).await?),
        ByName::Key => By::Key(value()?.to_owned()),
        ByName::Address => By::Address(value()?.parse().context("this is not an IP address")?),
        ByName::Window if arguments.value.is_some() => {
            bail!("a window has --since and --until, and no value")
        }
        ByName::Window if arguments.since.is_none() => bail!("a window needs --since"),
        ByName::Window => By::Window,
    })
}

async fn contain(session: &Session, arguments: Arguments) -> anyhow::Result<()> {
    if arguments.reason.trim().is_empty() {
        bail!("--reason: say why");
    }
    let now = session.ledger().clock().now();
    let (since, until) = moments(Names::OPTIONS, (arguments.since, arguments.until), now)?;
    let containment = Containment {
        by: choose(session, &arguments).await?,
        since,
        until,
        whole: arguments.whole,
        reason: arguments.reason,
    };
    let context = session.context("contain")?;
    let reading = containment.by.reading(session.operations.reading_now().await?);
    session.operations.record_reading(&context, reading).await?;
    let spinner = output::spinner("looking for grants");
    let found = containment.find(&session.operations).await?;
    spinner.finish_and_clear();
    missing::note(&found.missing);
    let done = if arguments.dry_run {
        found
    } else {
        prompt::confirm(
            arguments.confirmation,
            &format!("{}: take this away?", counts(&found)),
        )?;
        let spinner = output::spinner("revoking");
        let may_stop = |_| ready(Ok(true));
        let done = containment
            .apply(&session.operations, (&context, found), may_stop)
            .await?;
        spinner.finish_and_clear();
        done
    };
    if arguments.output.json {
        return output::json(&json!({
            "dry_run": arguments.dry_run, "grants": done.grants, "client": done.client(&containment.by),
            "clients": done.clients, "subject": done.subject, "sessions": done.sessions, "missing": done.missing,
            "records": done.records,
        }));
    }
    let what = if arguments.dry_run {
        "would be contained"
    } else {
        "contained"
    };
    output::line(&format!("{what}: {}", counts(&done)))?;
    for record in &done.records {
        output::line(&format!("recorded as alert {record}"))?;
    }
    Ok(())
}

fn counts(contained: &Contained) -> String {
    format!(
        "{} live grants, {} clients to suspend, {} logins to end, {} users to log in again",
        contained.grants.len(),
        contained.clients.len(),
        contained.sessions.len(),
        usize::from(contained.subject.is_some())
    )
}
