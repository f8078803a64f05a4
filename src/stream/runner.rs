//! Keeps a worker for each stream that is defined and not paused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinHandle, JoinSet};
use uuid::Uuid;

use super::StreamError;
use super::store::{self, Lease};
use super::worker::Worker;
use crate::app::App;
use crate::domain::stream::{Defined, Stream};
use crate::ledger::LANE;

/// The most streams.
const MOST: u32 = 1_000;

/// How a runner paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often other nodes' events are looked for.
    pub poll: Duration,
    /// How often a node that does not hold a stream tries to take it.
    pub stand_by: Duration,
    /// For how long a node that says nothing keeps a stream; a delivery may take half of it.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(250),
            stand_by: Duration::from_secs(1),
            lease: Duration::from_secs(45),
        }
    }
}

/// The task that carries all streams on this node.
pub struct StreamRunner {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl StreamRunner {
    /// Starts it.
    #[must_use]
    pub fn start(app: &App) -> Self {
        Self::start_with(app, Timing::default())
    }

    /// Starts it with a pace of its own.
    #[must_use]
    pub fn start_with(app: &App, timing: Timing) -> Self {
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor {
            app: app.clone(),
            timing,
            // A node that cannot have a name of its own holds nothing that another holds.
            holder: app.ledger.random().uuid().unwrap_or_default(),
            stopped,
            version: -1,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        Self {
            stop,
            task: tokio::spawn(supervisor.run()),
        }
    }

    /// Ends every stream after the delivery that it is at, and gives it up to other nodes.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }

    /// Ends every stream where it is, as a crash would.
    pub fn abort(self) {
        self.task.abort();
    }
}

/// A worker that runs.
struct Running {
    generation: i32,
    defined: Defined,
    news: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: Id,
}

struct Supervisor {
    app: App,
    timing: Timing,
    holder: Uuid,
    stopped: watch::Receiver<bool>,
    /// The last position that says something of a stream, as far as it was dealt with.
    version: i64,
    running: BTreeMap<Uuid, Running>,
    /// Ended with the supervisor.
    tasks: JoinSet<()>,
}

impl Supervisor {
    async fn run(mut self) {
        while !*self.stopped.borrow() {
            if let Err(error) = self.follow().await {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(
                    error = cause,
                    "the definitions of streams cannot be read, trying again"
                );
            }
            tokio::select! {
                _ = self.stopped.wait_for(|stopped| *stopped) => {}
                () = tokio::time::sleep(self.timing.poll) => {}
            }
        }
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Brings the workers in line with the definitions.
    async fn follow(&mut self) -> Result<(), StreamError> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            // One that panicked is begun anew.
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            self.running.retain(|_, running| running.task != id);
            self.version = -1;
        }
        let version: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(position), 0) FROM grantlog.ledger_stream WHERE lane = $1",
        )
        .bind(LANE)
        .fetch_one(self.app.ledger.pool())
        .await?;
        if version == self.version {
            return Ok(());
        }
        let listed = self.app.operations.list::<Stream>(0, MOST).await?;
        let mut wanted: BTreeMap<Uuid, (i32, Defined)> = BTreeMap::new();
        for stream in listed {
            let defined = stream.loaded.defined.clone();
            // One row per stream was defined, however often.
            if let Some(defined) = defined.filter(|defined| defined.paused.is_none()) {
                wanted.insert(stream.loaded.id, (stream.loaded.generation, defined));
            }
        }
        self.running.retain(|id, running| {
            let stays = wanted.get(id).is_some_and(|(generation, defined)| {
                *generation == running.generation && *defined == running.defined
            });
            if stays {
                running.news.notify_one();
            } else {
                running.stop.send_replace(true);
            }
            stays
        });
        for (id, (generation, defined)) in wanted {
            if !self.running.contains_key(&id) {
                self.begin(id, generation, defined).await?;
            }
        }
        self.version = version;
        Ok(())
    }

    async fn begin(&mut self, id: Uuid, generation: i32, defined: Defined) -> Result<(), StreamError> {
        let lease = Lease {
            stream: id,
            generation,
            // Of its own: the worker before it may still be at its last delivery.
            holder: self.app.ledger.random().uuid().unwrap_or(self.holder),
            length: self.timing.lease,
        };
        store::ensure(self.app.ledger.pool(), lease, (&defined.name, defined.after)).await?;
        let (stop, stopped) = watch::channel(false);
        let news = Arc::new(Notify::new());
        let worker = Worker {
            app: self.app.clone(),
            lease,
            defined: defined.clone(),
            timing: self.timing,
            news: Arc::clone(&news),
            stopped,
        };
        let task = self.tasks.spawn(worker.run()).id();
        let running = Running {
            generation,
            defined,
            news,
            stop,
            task,
        };
        self.running.insert(id, running);
        Ok(())
    }
}
