//! What runs beside the requests. Each task goes on after a failure: the next round may succeed.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::clock::{Timestamp, machine_now, monotonic};
use crate::crypto::client_secret;
use crate::evidence::{Sealer, witness};
use crate::http::one_time::OneTime;
use crate::ledger::{Actor, Context, LedgerError};
use crate::logout::LogoutFollower;
use crate::operations::OperationError;
use crate::policy::PolicyEngine;
use crate::projection::ProjectionRunner;
use crate::projection::replay::NotBlanked;
use crate::ssf::Transmitter;
use crate::stream::StreamRunner;

const ERASURES_EVERY: Duration = Duration::from_secs(1);
const ALL_ERASURES_EVERY: Duration = Duration::from_hours(1);
const KEYS_EVERY: Duration = Duration::from_secs(5);
const CLOCK_EVERY: Duration = Duration::from_secs(30);
const SUPPRESSED_EVERY: Duration = Duration::from_mins(1);
const PRUNE_EVERY: Duration = Duration::from_mins(1);
const SECRETS_EVERY: Duration = Duration::from_hours(1);
const NETWORKS_EVERY: Duration = Duration::from_secs(1);
const RETENTION_EVERY: Duration = Duration::from_hours(1);
const PARTITIONS_EVERY: Duration = Duration::from_hours(24);

/// The tasks that run.
pub(super) struct Background {
    projections: ProjectionRunner,
    logouts: LogoutFollower,
    policies: PolicyEngine,
    signals: Option<Transmitter>,
    sealer: Sealer,
    streams: StreamRunner,
    tasks: Vec<JoinHandle<()>>,
    app: App,
}

impl Background {
    /// Ends them, the projections after the batch they are in, the others wherever they are: what those do can
    /// be done again.
    pub(super) async fn stop(self) {
        for task in self.tasks {
            task.abort();
        }
        record_suppressed(&self.app, true).await;
        if let Some(signals) = self.signals {
            signals.stop().await;
        }
        self.streams.stop().await;
        self.policies.stop().await;
        self.logouts.stop().await;
        self.sealer.stop().await;
        self.projections.stop().await;
    }
}

/// Counts what was refused beyond the budgets; at the end of the server all of it.
async fn record_suppressed(app: &App, all: bool) {
    let request = app.ledger.random().uuid().unwrap_or_default();
    let context = Context::local(request, Actor::System, "refusals");
    app.ledger.record_suppressed(&context, all).await;
}

/// Starts them all.
pub(super) fn start(app: &App) -> Background {
    let witnesses = Duration::from_secs(app.settings.evidence_witness_seconds.into());
    let tasks = vec![
        every(witnesses, app, |app| async move { witness::ask_all(&app).await }),
        every(KEYS_EVERY, app, |app| async move {
            if let Err(error) = app.keys.refresh().await {
                tracing::warn!(%error, "the signing keys could not be read again");
            }
        }),
        every(CLOCK_EVERY, app, |app| async move {
            if let Err(error) = follow_clock(&app).await {
                tracing::warn!(%error, "the database's clock could not be read");
            }
        }),
        every(SUPPRESSED_EVERY, app, |app| async move {
            record_suppressed(&app, false).await;
        }),
        every(PRUNE_EVERY, app, |app| async move {
            for values in OneTime::ALL {
                if let Err(error) = values.prune(&app).await {
                    tracing::warn!(%error, table = values.table(), "what is over could not be deleted");
                }
            }
        }),
        every(NETWORKS_EVERY, app, |app| async move {
            if let Err(error) = app.throttles.follow(&app.ledger).await {
                tracing::warn!(%error, "throttled networks could not be read");
            }
        }),
        count_uses(app),
        every(SECRETS_EVERY, app, |app| async move {
            if let Err(error) = client_secret::prune(&app.ledger).await {
                tracing::warn!(%error, "client secrets that are over could not be deleted");
            }
        }),
        every(RETENTION_EVERY, app, |app| async move {
            if let Err(error) = keep_retention(&app).await {
                tracing::warn!(%error, "what is kept no longer could not be looked after");
            }
        }),
        every(PARTITIONS_EVERY, app, |app| async move {
            match create_partitions(&app).await {
                Ok(0) => {}
                Ok(created) => tracing::info!(created, "partitions for the coming quarters"),
                Err(error) => tracing::error!(%error, "partitions could not be created ahead"),
            }
        }),
        tokio::spawn(follow_erasures(app.clone())),
    ];
    Background {
        projections: ProjectionRunner::start(&app.ledger),
        logouts: LogoutFollower::start(app),
        policies: PolicyEngine::start(app, app.geoip.clone()),
        signals: app.settings.shared_signals.then(|| Transmitter::start(app)),
        sealer: Sealer::start(app),
        streams: StreamRunner::start(app),
        tasks,
        app: app.clone(),
    }
}

/// At once and then every so often.
fn every<F>(period: Duration, app: &App, work: impl Fn(App) -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    let app = app.clone();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        loop {
            ticks.tick().await;
            work(app.clone()).await;
        }
    })
}

/// Forgets, and destroys where they are there again, the keys of whom the ledger says was erased, and blanks replayed
/// tables: first for all of them, since the table of keys may have come back from a backup, then for those that come.
async fn follow_erasures(app: App) {
    let mut after = 0;
    let mut looked = monotonic();
    loop {
        match app.operations.repeat_erasures(after).await {
            Ok(repeated) => {
                let subjects = repeated.subjects.len();
                if subjects > 0 {
                    tracing::info!(subjects, "keys of erased users were destroyed");
                }
                for NotBlanked { schema, why } in repeated.not_blanked {
                    tracing::warn!(
                        schema,
                        why,
                        "a replayed schema shows erased users and could not be blanked"
                    );
                }
                after = repeated.upto;
            }
            Err(error) => tracing::warn!(%error, "erasures could not be followed"),
        }
        if looked.elapsed() > ALL_ERASURES_EVERY {
            (after, looked) = (0, monotonic());
        }
        tokio::time::sleep(ERASURES_EVERY).await;
    }
}

/// Writes down how often tokens were used, every so often and whenever much has gathered.
fn count_uses(app: &App) -> JoinHandle<()> {
    let app = app.clone();
    tokio::spawn(async move {
        let seconds = app.settings.token_use_seconds;
        if seconds == 0 {
            return;
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(seconds.into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = app.uses.filled() => {}
            }
            if let Err(error) = app.uses.write_down(&app.ledger).await {
                tracing::warn!(%error, "uses of tokens could not be written down, trying again");
            }
        }
    })
}

async fn follow_clock(app: &App) -> Result<(), sqlx::Error> {
    let mut connection = app.ledger.pool().acquire().await?;
    let before = machine_now();
    let now: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *connection)
        .await?;
    app.ledger.clock().follow(before, now);
    Ok(())
}

/// Forgets the addresses that are kept no longer, and tells of what somebody must take out of the ledger.
async fn keep_retention(app: &App) -> Result<(), OperationError> {
    let request = app.ledger.random().uuid().map_err(LedgerError::from)?;
    let context = Context::local(request, Actor::System, "retention");
    let destroyed = app.operations.forget_addresses(&context).await?;
    if destroyed > 0 {
        tracing::info!(
            destroyed,
            "keys to addresses that are kept no longer were destroyed"
        );
    }
    let overdue = app.operations.overdue().await?;
    let quarters = u32::try_from(overdue.quarters.len()).unwrap_or(u32::MAX);
    metrics::gauge!("grantlog_retention_overdue_quarters").set(f64::from(quarters));
    Ok(())
}

async fn create_partitions(app: &App) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT grantlog.create_partitions(now(), interval '9 months')")
        .fetch_one(app.ledger.pool())
        .await
}
