//! Being responsible for a server: preparing it, starting it, and starting it again when it dies.

use std::fs::File;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::account::Account;
use super::cluster;
use super::error::PostgresError;
use super::home::Home;
use super::obtain::{obtain, remedy};
use super::pidfile::Live;
use super::search::{Binaries, Outcome, find};
use super::server::{Plan, is_passing};
use super::settings;
use super::watchdog::Watchdog;
use super::{Options, Progress};

/// For how long a first start waits for what a killed predecessor has left behind.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that has lived for this long has not died of its start.
const HEALTHY: Duration = Duration::from_secs(10);
const SHORTEST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The watchdog gives up after 40 seconds.
const STOPPING: Duration = Duration::from_secs(45);

/// A server that is ours to keep alive and to stop.
#[derive(Debug)]
pub(crate) struct Owner {
    plan: Plan,
    watchdog: Watchdog,
    child: Child,
    started: Instant,
    delay: Duration,
    progress: Progress,
    /// Held until the server has stopped.
    _lock: File,
}

impl Owner {
    /// Does whatever is needed until the server accepts connections.
    pub(crate) async fn begin(
        options: &Options,
        home: &Home,
        lock: File,
        progress: &Progress,
    ) -> Result<(Self, Live), PostgresError> {
        let settings = settings::merge(&options.settings)?;
        let (account, binaries) = programs(options, home, progress).await?;
        cluster::ensure(home, &account, &binaries, progress).await?;
        let socket_dir = home.socket_dir(&account)?;
        let mut watchdog = Watchdog::spawn(home, &account)?;
        let plan = Plan {
            home: home.clone(),
            account,
            binaries,
            socket_dir,
            settings,
        };
        let (child, live) = first_start(&plan, &mut watchdog, progress).await?;
        tracing::info!(pid = live.pid, binaries = %plan.binaries, home = %home.path().display(), "PostgreSQL runs");
        let (started, progress) = (Instant::now(), progress.clone());
        let owner = Self {
            plan,
            watchdog,
            child,
            started,
            delay: SHORTEST_DELAY,
            progress,
            _lock: lock,
        };
        Ok((owner, live))
    }

    /// Returns when the server has ended. A watchdog that is lost meanwhile is replaced.
    pub(crate) async fn ended(&mut self) {
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::warn!(status, log = %self.plan.home.log().display(), "PostgreSQL ended by itself");
                    return;
                }
                () = self.watchdog.lost() => self.replace_watchdog().await,
            }
        }
    }

    async fn replace_watchdog(&mut self) {
        tracing::warn!("the watchdog of PostgreSQL ended; starting another");
        let replaced = async {
            let mut watchdog = Watchdog::spawn(&self.plan.home, &self.plan.account)?;
            if let Some(pid) = self.child.id() {
                watchdog.watch(pid).await?;
            }
            Ok::<_, PostgresError>(watchdog)
        };
        match replaced.await {
            Ok(watchdog) => self.watchdog = watchdog,
            Err(error) => {
                tracing::error!(%error, "cannot start the watchdog");
                sleep(LONGEST_DELAY).await;
            }
        }
    }

    /// Starts the server again, as often as it takes.
    pub(crate) async fn restart(&mut self) -> Live {
        if self.started.elapsed() >= HEALTHY {
            self.delay = SHORTEST_DELAY;
        }
        loop {
            sleep(self.delay).await;
            self.delay = (self.delay * 2).min(LONGEST_DELAY);
            if self.watchdog.is_lost() {
                self.replace_watchdog().await;
            }
            match self.plan.start(&mut self.watchdog, &self.progress).await {
                Ok((child, live)) => {
                    tracing::info!(pid = live.pid, "PostgreSQL runs again");
                    self.child = child;
                    self.started = Instant::now();
                    return live;
                }
                Err(error) if is_passing(&error) => tracing::debug!(%error, "PostgreSQL cannot start yet"),
                Err(error) => tracing::error!(%error, "PostgreSQL does not start again"),
            }
        }
    }

    /// Stops the server. The watchdog does it, as it would if we were killed: one way, used every day.
    pub(crate) async fn stop(self) -> Result<(), PostgresError> {
        let Self {
            plan,
            watchdog,
            mut child,
            ..
        } = self;
        let stopped = async { tokio::join!(watchdog.finish(), child.wait()).1 };
        match timeout(STOPPING, stopped).await {
            Ok(_) => Ok(()),
            Err(_) => Err(PostgresError::Stop {
                home: plan.home.path().to_owned(),
                waited: STOPPING.as_secs(),
                log: plan.home.log(),
            }),
        }
    }
}

async fn first_start(
    plan: &Plan,
    watchdog: &mut Watchdog,
    progress: &Progress,
) -> Result<(Child, Live), PostgresError> {
    let began = Instant::now();
    loop {
        match plan.start(watchdog, progress).await {
            Err(error) if is_passing(&error) && began.elapsed() < PATIENCE => {
                tracing::info!(%error, "waiting for what an earlier PostgreSQL has left behind");
                sleep(Duration::from_millis(100)).await;
            }
            done => return done,
        }
    }
}

/// Finds the server's programs, or obtains them, and the user to run them as.
async fn programs(
    options: &Options,
    home: &Home,
    progress: &Progress,
) -> Result<(Account, Binaries), PostgresError> {
    let cluster = home.cluster();
    let major = cluster::made_by(&cluster);
    let account = Account::choose(Some(&cluster)).await?;
    let outcome = find(&options.search, &account, major).await?;
    let refused = if options.offline {
        ", and obtaining one is switched off (offline)"
    } else {
        ""
    };
    let explain = |outcome: Outcome| match (major, outcome) {
        (Some(major), Outcome { other_major, .. }) if !other_major.is_empty() => PostgresError::OtherMajor {
            cluster: cluster.clone(),
            major,
            found: other_major.join(" and "),
        },
        (_, Outcome { too_old, .. }) if !too_old.is_empty() => PostgresError::TooOld {
            found: too_old.join(" and "),
            remedy: remedy(&account),
        },
        _ => PostgresError::NotFound {
            attempts: refused.to_owned(),
            remedy: remedy(&account),
        },
    };
    if let Some(binaries) = outcome.usable {
        return Ok((account, binaries));
    }
    if options.offline || options.search.sources.is_empty() || options.search.pg_bin.is_some() {
        return Err(explain(outcome));
    }
    progress.tell("no usable PostgreSQL server was found; obtaining one");
    obtain(&options.search, &account, major, progress).await?;
    // Debian's package has brought the user postgres along.
    let account = Account::choose(Some(&cluster)).await?;
    let outcome = find(&options.search, &account, major).await?;
    match outcome.usable {
        Some(binaries) => Ok((account, binaries)),
        None => Err(explain(outcome)),
    }
}
