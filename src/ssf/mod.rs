//! The transmitter of the OpenID Shared Signals Framework 1.0: clients hear, as Security Event Tokens (RFC 8417), when
//! logins of their users end, credentials change, and accounts are disabled or erased.
//!
//! - [`fold`] reads the ledger in order, on one node at a time, exactly once per event: which streams there are, which
//!   clients have to do with which users, and what is to be told to whom. What a signal says is [`signals`]' business.
//! - [`outbox`] holds what was not acknowledged; [`set`] signs it when it is handed out, by [`push`] (RFC 8935) or at the
//!   poll endpoint (RFC 8936, `http/ssf/poll.rs`).
//!
//! Delivery is at least once, in the order of the ledger. A token keeps its `jti` however often it is sent.

mod fold;
pub mod header;
mod measure;
pub mod outbox;
mod push;
mod set;
mod signals;

pub use measure::measure;
pub(crate) use set::sign;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::ledger::LedgerError;

/// The scope that opens all of it.
pub const MANAGE: &str = "ssf.manage";
/// The scope that opens what changes no stream.
pub const READ: &str = "ssf.read";
/// Seconds that must pass between two verifications of a stream (`min_verification_interval`).
pub const VERIFICATION_SECONDS: i64 = 10;
/// The most tokens that wait for one receiver; a stream with more is disabled.
pub const MAX_WAITING: i64 = 10_000;
/// How long a token waits at most; a stream with an older one is disabled.
pub const MAX_AGE_DAYS: i64 = 7;
/// How often other nodes' work is looked for.
const POLL: Duration = Duration::from_millis(250);
/// The longest pause after a failure of our own.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why a round failed. The next one may succeed.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    UnknownEvent(#[from] crate::domain::UnknownEvent),
    #[error(transparent)]
    Fault(#[from] crate::evidence::Fault),
    #[error("a signal cannot be written")]
    Json(#[from] serde_json::Error),
}

/// The tasks that follow the ledger and send, on this node.
pub struct Transmitter {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Transmitter {
    /// Starts them.
    #[must_use]
    pub fn start(app: &App) -> Self {
        let (stop, stopped) = watch::channel(false);
        let fold = tokio::spawn(fold::run(app.clone(), stopped.clone()));
        let push = tokio::spawn(push::run(app.clone(), stopped.clone()));
        let tend = tokio::spawn(push::tend(app.clone(), stopped));
        Self {
            stop,
            tasks: vec![fold, push, tend],
        }
    }

    /// Ends them. What was being sent is sent again later.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }

    /// Ends them where they are, as a crash would.
    pub fn abort(self) {
        for task in self.tasks {
            task.abort();
        }
    }
}

/// Does rounds until told to stop: at once again where there was something to do, and otherwise after a pause. Of a ledger
/// that is not the signed one nothing is told.
async fn rounds<F>(
    (what, app): (&'static str, &App),
    mut stopped: watch::Receiver<bool>,
    mut work: impl FnMut() -> F + Send,
) where
    F: Future<Output = Result<bool, SignalError>> + Send,
{
    let mut pause = POLL;
    loop {
        let done = match app.evidence.require_sound() {
            Ok(()) => work().await,
            Err(fault) => Err(fault.into()),
        };
        let wait = match done {
            Ok(true) => Duration::ZERO,
            Ok(false) => POLL,
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(error = cause, what, "shared signals stand still, trying again");
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
        };
        if wait <= POLL {
            pause = POLL;
        }
        if crate::logout::rest(&mut stopped, wait, std::future::pending()).await {
            return;
        }
    }
}
