//! The evidence log: what is sealed, what is served, and that every change of what a checkpoint covers is found.

pub(crate) mod attacker;
mod command_line;
mod keys;
mod sealing;
mod served;
mod witnesses;

use grantlog::app::{App, StartError};
use grantlog::clock::Clock;
use grantlog::config::Settings;
use grantlog::crypto::master::MasterKey;
use grantlog::evidence::checkpoint::{self, Checkpoint};
use grantlog::evidence::note::VerifierKey;
use grantlog::evidence::verify::Anchor;
use grantlog::evidence::{Sealer, store};
use grantlog::ledger::Priority;

use crate::harness::{TestServer, settings};
use crate::ledger::command;

/// A server whose ledger is sealed.
pub(crate) struct Sealed {
    pub(crate) server: TestServer,
    pub(crate) sealer: Sealer,
}

impl Sealed {
    /// One with at least so many events, all of them sealed.
    pub(crate) async fn with_events(count: usize) -> Self {
        Self::start(count, |_| {}).await
    }

    pub(crate) async fn start(count: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let server = TestServer::start_with(change).await;
        append(&server, count).await;
        let sealer = Sealer::start(&server.app);
        let this = Self { server, sealer };
        this.settle().await;
        this
    }

    /// Waits until everything is sealed.
    pub(crate) async fn settle(&self) {
        // The log's key is an event too.
        let key = async {
            while self.keys().await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        key.await;
        assert!(self.sealer.wait_for(self.head().await).await);
    }

    pub(crate) async fn head(&self) -> u64 {
        store::read(self.server.app.ledger.pool()).await.unwrap().head
    }

    pub(crate) async fn keys(&self) -> Vec<VerifierKey> {
        store::verifier_keys(self.server.app.ledger.pool()).await.unwrap()
    }

    /// The last checkpoint's note.
    pub(crate) async fn note(&self) -> String {
        let pool = self.server.app.ledger.pool();
        let log = store::read(pool).await.unwrap();
        store::published(pool, &log).await.unwrap().unwrap().to_string()
    }

    pub(crate) async fn checkpoint(&self) -> Checkpoint {
        checkpoint::open(&self.note().await, &self.keys().await)
            .unwrap()
            .0
    }

    pub(crate) async fn anchor(&self) -> Anchor {
        Anchor {
            from: "taken before".to_owned(),
            checkpoint: self.checkpoint().await,
        }
    }
}

/// Appends so many events, several in each command.
pub(crate) async fn append(server: &TestServer, count: usize) {
    let ledger = &server.app.ledger;
    for left in (0..count).step_by(50) {
        let events = i64::try_from((count - left).min(50)).unwrap();
        ledger
            .append(command(ledger, events), Priority::Normal)
            .await
            .unwrap();
    }
}

/// Another node on the same database, which remembers nothing but what its file says.
pub(crate) async fn reopen(server: &TestServer, file: Option<std::path::PathBuf>) -> Result<App, StartError> {
    let mut settings = settings(&server.database.app_url);
    settings.evidence_checkpoint_file = file;
    App::open(settings, MasterKey::from_bytes([42; 32]), Clock::default()).await
}
