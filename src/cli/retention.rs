//! `grantlog retention`: how long grants, refusals and addresses are kept, and what of the ledger leaves it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::arguments::{Confirmation, Connection, Json};
use super::audit_export::record_reading;
use super::session::Session;
use super::{output, prompt};
use crate::domain::retention::RetentionClass;
use crate::evidence::{archive, store};
use crate::operations::address_retention::AddressMonth;
use crate::operations::retention::{
    DetachedQuarter, Facts, Keeping, KeptForGood, MAX_KEEP_DAYS, MIN_KEEP_DAYS, NotDetached, Quarter,
    ShownRetention,
};

/// How long the sealer is waited for, and how often it is looked at.
const SEALED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the database is asked to detach while somebody holds the ledger's lock.
const TRIES: u32 = 5;
/// Postgres's code for a lock that was not given in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show how long events and addresses are kept, and which quarters and months there are
    Show {
        #[command(flatten)]
        output: Json,
    },
    /// Set how long events of a class are kept after the end of their quarter, or addresses after that of their month
    Set(Set),
    /// Export, verify and take out of the ledger the quarters whose time has come
    Detach(Detach),
}

/// What is kept for a time.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClassName {
    /// Events of grants
    Grant,
    /// Events of refused requests
    Refusal,
    /// Callers' addresses and user agents, and operators' names, wherever they are
    Address,
}

impl From<ClassName> for RetentionClass {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::Grant => Self::Grant,
            ClassName::Refusal => Self::Refusal,
            ClassName::Address => Self::Address,
        }
    }
}

/// How long to keep something.
#[derive(Args)]
pub(super) struct Set {
    /// What
    #[arg(long, value_enum)]
    class: ClassName,
    /// How long after the end of its quarter, or month: 30d to 36500d, or `forever`
    #[arg(long, value_name = "DAYS", value_parser = keep)]
    keep: Keep,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

/// Days, or for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keep(Option<u32>);

fn keep(text: &str) -> Result<Keep, String> {
    if text == "forever" {
        return Ok(Keep(None));
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    let days = days.filter(|days| (MIN_KEEP_DAYS..=MAX_KEEP_DAYS).contains(days));
    days.map(|days| Keep(Some(days)))
        .ok_or_else(|| format!("it is {MIN_KEEP_DAYS}d to {MAX_KEEP_DAYS}d, or `forever`"))
}

/// What to take out.
#[derive(Args)]
pub(super) struct Detach {
    /// The quarter, `grant_2024q1` [default: all whose time has come]
    quarter: Option<String>,
    /// Where the evidence log is exported to first; an export that is there is carried on. Keep it
    #[arg(long, value_name = "DIR")]
    export: PathBuf,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    /// Say what would be taken out; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take it out though this reader of the ledger has not come past it and will never see it: `stream:NAME`,
    /// `shared-signals`, `policies` or `logout` (repeat); it is recorded
    #[arg(long, value_name = "READER")]
    despite: Vec<String>,
    /// Drop the tables afterwards, instead of leaving them in a schema of their own
    #[arg(long)]
    drop: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let done = match command {
        Command::Show { output } => show(&session, output).await,
        Command::Set(set) => set.run(&session).await,
        Command::Detach(detach) => detach.run(&session, connection).await,
    };
    session.close().await;
    done
}

impl Set {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let context = session.context_with("retention set", Some(&self.reason))?;
        let operations = &session.operations;
        let class = RetentionClass::from(self.class);
        if class == RetentionClass::Address {
            let now = session.ledger().clock().now();
            let mut months = operations.address_months(self.keep.0).await?;
            months.retain(|month| month.due_at.is_some_and(|due_at| due_at <= now));
            if let Some(AddressMonth { month, .. }) = months.last() {
                let question =
                    format!("Forget all addresses up to those of {month}, for good, within the hour?");
                prompt::confirm(self.confirmation, &question)?;
            }
        }
        operations.set_retention(&context, class, self.keep.0).await?;
        show(session, self.output).await
    }
}

async fn show(session: &Session, output: Json) -> anyhow::Result<()> {
    let retention = session.operations.shown_retention().await?;
    if output.json {
        return output::json(&retention);
    }
    let ShownRetention {
        keep,
        kept_for_good,
        addresses,
        quarters,
        detached,
    } = retention;
    for Keeping { class, keep_days } in keep {
        output::line(&kept(class, keep_days))?;
    }
    output::line("events of other classes are kept for good:")?;
    for KeptForGood {
        aggregate_type,
        bytes,
    } in kept_for_good
    {
        output::line(&format!("  {aggregate_type:<26} {} KiB", bytes / 1024))?;
    }
    let day = |at: crate::clock::Timestamp| at.format("%Y-%m-%d").to_string();
    let mut rows: Vec<_> = quarters
        .iter()
        .map(|quarter| {
            [
                quarter.partition.clone(),
                day(quarter.ends_at),
                (quarter.bytes / 1024).to_string(),
                quarter.due_at.map_or_else(|| "-".to_owned(), day),
            ]
        })
        .collect();
    rows.extend(detached.into_iter().map(|DetachedQuarter { partition, events }| {
        [
            partition,
            "-".to_owned(),
            "-".to_owned(),
            format!("detached, {events} events"),
        ]
    }));
    output::table(["QUARTER", "ENDS", "KIB", "DUE"], &rows)?;
    let rows: Vec<_> = addresses
        .into_iter()
        .map(|AddressMonth { month, keys, due_at }| {
            [
                month,
                keys.to_string(),
                due_at.map_or_else(|| "-".to_owned(), day),
            ]
        })
        .collect();
    output::table(["ADDRESSES OF", "KEYS", "DUE"], &rows)
}

fn kept(class: RetentionClass, keep_days: Option<u32>) -> String {
    let (what, period) = match class {
        RetentionClass::Grant | RetentionClass::Refusal => {
            (format!("events of the class {}", class.name()), "quarter")
        }
        RetentionClass::Address => ("addresses, user agents and operators' names".to_owned(), "month"),
    };
    match keep_days {
        None => format!("{what} are kept for good"),
        Some(days) => format!("{what} are kept {days} days after the end of their {period}"),
    }
}

impl Detach {
    async fn run(self, session: &Session, connection: &Connection) -> anyhow::Result<()> {
        let now = session.ledger().clock().now();
        let mut quarters = session.operations.quarters().await?;
        match &self.quarter {
            Some(name) => {
                quarters.retain(|quarter| quarter.partition == *name);
                ensure!(!quarters.is_empty(), "the ledger has no quarter {name}");
            }
            None => quarters.retain(|quarter| quarter.due_at.is_some_and(|due_at| due_at <= now)),
        }
        let mut planned = Vec::new();
        let mut kept = Vec::new();
        for quarter in quarters {
            let facts = session.operations.quarter_facts(&quarter).await?;
            match quarter.obstacle(&facts, &self.despite, now) {
                None => planned.push((quarter, facts)),
                Some(obstacle) => kept.push((quarter, obstacle)),
            }
        }
        if !self.dry_run && !planned.is_empty() {
            let names: Vec<&str> = planned
                .iter()
                .map(|(quarter, _)| quarter.partition.as_str())
                .collect();
            prompt::confirm(
                self.confirmation,
                &format!("Take {} out of the ledger?", names.join(", ")),
            )?;
            let mut owner = owner(connection).await?;
            for (quarter, facts) in &planned {
                self.detach(session, &mut owner, (quarter, facts)).await?;
            }
            owner.close().await?;
        }
        self.print(&planned, &kept)?;
        match (&self.quarter, kept.first()) {
            (Some(name), Some((_, obstacle))) => bail!("{name} stays: {obstacle}"),
            _ => Ok(()),
        }
    }

    /// Archive first, then the event, then the partition: whatever dies in between, nothing is lost, and running it
    /// again goes on.
    async fn detach(
        &self,
        session: &Session,
        owner: &mut PgConnection,
        (quarter, facts): (&Quarter, &Facts),
    ) -> anyhow::Result<()> {
        let pool = session.ledger().pool();
        let size = store::read(pool).await?.size;
        record_reading(session, "retention detach", (0, size)).await?;
        let bar = output::bar(0, "events");
        let mut progress = |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        };
        let leaves = archive::archive(pool, &self.export, &quarter.partition, &mut progress).await;
        bar.finish_and_clear();
        let event = quarter.detachment(facts, &self.despite, leaves?);
        let context = session.context_with("retention detach", Some(&self.reason))?;
        let position = session.operations.record_detachment(&context, event).await?;
        wait_until_sealed(session, position).await?;
        let table = take_out(owner, position).await?;
        if self.drop {
            // The name is one that the database gave.
            sqlx::query(&format!("DROP TABLE {table}")).execute(owner).await?;
        }
        Ok(())
    }

    fn print(&self, planned: &[(Quarter, Facts)], kept: &[(Quarter, NotDetached)]) -> anyhow::Result<()> {
        if self.output.json {
            let planned: Vec<Value> = planned
                .iter()
                .map(|(quarter, facts)| json!({"quarter": quarter, "facts": facts}))
                .collect();
            let kept: Vec<Value> = kept
                .iter()
                .map(|(quarter, why)| json!({"partition": quarter.partition, "why": why.to_string()}))
                .collect();
            return output::json(&json!({
                "dry_run": self.dry_run, "detached": planned, "kept": kept, "export": self.export,
            }));
        }
        let done = if self.dry_run {
            "would be detached"
        } else {
            "detached"
        };
        for (quarter, facts) in planned {
            let Facts {
                events, first, last, ..
            } = facts;
            output::line(&format!(
                "{}  {done}: {events} events, positions {first} to {last}",
                quarter.partition
            ))?;
        }
        for (quarter, why) in kept {
            output::line(&format!("{}  stays: {why}", quarter.partition))?;
        }
        if planned.is_empty() && kept.is_empty() {
            output::line("no quarter's time has come")?;
        }
        Ok(())
    }
}

/// The application's role can take nothing out of the ledger.
pub(super) async fn owner(connection: &Connection) -> anyhow::Result<PgConnection> {
    let settings = connection.settings()?;
    let url = settings
        .migration_database_url
        .as_ref()
        .unwrap_or(&settings.database_url);
    let mut owner = PgConnection::connect(url)
        .await
        .context("the database cannot be reached as its owner (migration_database_url)")?;
    let may: bool = sqlx::query_scalar(
        "SELECT has_function_privilege('grantlog.detach_partition(bigint)', 'EXECUTE') \
         AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'grantlog.ledger'::regclass), 'USAGE')",
    )
    .fetch_one(&mut owner)
    .await?;
    ensure!(
        may,
        "only the ledger's owner can take quarters out of it: set migration_database_url to its role"
    );
    Ok(owner)
}

async fn wait_until_sealed(session: &Session, position: u64) -> anyhow::Result<()> {
    let sealed = async {
        while store::read(session.ledger().pool()).await?.size < position {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::time::timeout(SEALED_WITHIN, sealed)
        .await
        .context("no server seals the ledger: nothing was taken out of it; start one, and run this again")?
}

async fn take_out(owner: &mut PgConnection, position: u64) -> anyhow::Result<String> {
    let mut tries = 1;
    loop {
        let taken = sqlx::query_scalar("SELECT grantlog.detach_partition($1)")
            .bind(i64::try_from(position)?)
            .fetch_one(&mut *owner)
            .await;
        match taken {
            Err(sqlx::Error::Database(error))
                if tries < TRIES && error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
            {
                tries += 1;
                tokio::time::sleep(LOOK_EVERY * 5).await;
            }
            taken => return taken.context("the quarter was not taken out of the ledger"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_keep_are_days_or_forever() {
        assert_eq!(keep("400d"), Ok(Keep(Some(400))));
        assert_eq!(keep("forever"), Ok(Keep(None)));
        for wrong in ["400", "", "d", "-1d", "1y", "99999999999d"] {
            assert!(keep(wrong).is_err(), "{wrong}");
        }
    }
}
