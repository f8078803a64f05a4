//! What follows from the end of a login: its user's stale logins end too, the grants that end with it are revoked, and
//! the clients that had an ID token of it are told (OpenID Connect Back-Channel Logout 1.0).
//!
//! All of it is done by a reader of the ledger, after the fact and as often as it takes: nothing that must hold at once
//! waits for it. That a grant is over when its login is, is decided where grants are used
//! (`standing/mod.rs`), on the login's own events.
//!
//! - [`fold`] reads the ledger in order and writes tasks, on one node at a time, exactly once per event.
//! - [`tasks`] are taken by any node and tried again until they are done; [`deliver`] makes the call to a client.
//!
//! Delivery is at least once: a node that dies between a client's answer and the note of it leaves the task to the next.

mod deliver;
mod fold;
mod measure;
mod tasks;
mod token;

pub use measure::measure;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::ledger::LedgerError;

/// How often other nodes' events and tasks are looked for.
const POLL: Duration = Duration::from_millis(250);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why a round failed. The next one may succeed.
#[derive(Debug, thiserror::Error)]
enum LogoutError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    UnknownEvent(#[from] crate::domain::UnknownEvent),
    #[error(transparent)]
    Fault(#[from] crate::evidence::Fault),
}

/// The tasks that follow logouts on this node.
pub struct LogoutFollower {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl LogoutFollower {
    /// Starts them.
    #[must_use]
    pub fn start(app: &App) -> Self {
        let (stop, stopped) = watch::channel(false);
        let news = Arc::new(Notify::new());
        let fold = tokio::spawn(fold::run(app.clone(), Arc::clone(&news), stopped.clone()));
        let tasks = tokio::spawn(tasks::run(app.clone(), news, stopped));
        Self {
            stop,
            tasks: vec![fold, tasks],
        }
    }

    /// Ends them. Calls to clients that are under way are given up and made again later.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Waits; true when it is time to end.
pub(crate) async fn rest(
    stopped: &mut watch::Receiver<bool>,
    pause: Duration,
    news: impl Future<Output = ()>,
) -> bool {
    tokio::select! {
        ended = stopped.wait_for(|stopped| *stopped) => { drop(ended); true }
        () = news => false,
        () = tokio::time::sleep(pause) => false,
    }
}
