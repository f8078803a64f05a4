//! The engine: one node at a time follows the ledger and lets the rules watch.
//!
//! It acts first and moves its cursor afterwards, with the states of the rules in the same transaction. A node that dies
//! in between leaves cursor and states as they were; the next one folds the same events, comes to the same findings, and
//! finds their alerts there. So nothing is skipped, and nothing is done twice.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::geoip::GeoIp;
use super::observed::Observed;
use super::watch::{WINDOW, Watch};
use super::{PolicyError, act, read, state};
use crate::app::App;
use crate::clock::{Timestamp, monotonic};
use crate::evidence::Standing;
use crate::operations::Operations;

/// How often the head is looked at where no local commit announces itself.
const POLL: Duration = Duration::from_millis(100);
/// How often a node that does not lead tries to.
const STAND_BY: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The pause after what was there, so that the next look is worth its statements.
const GATHER: Duration = Duration::from_millis(25);
/// How long the cursor may stay behind what was folded, so that states are not written for every event …
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// … and how many times as long as the last writing took, which grows with what the rules remember.
const SAVE_REST: u32 = 50;
/// After how many positions it moves at once: some tenths of a second of reading for whoever succeeds.
const SAVE_AFTER: i64 = 200_000;
/// Who leads holds this advisory lock; it ends with the connection.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtext('grantlog.policies'), 0)";

/// The task that follows the ledger.
pub struct PolicyEngine {
    stop: watch::Sender<bool>,
    reached: watch::Receiver<i64>,
    task: JoinHandle<()>,
}

impl PolicyEngine {
    /// Starts it.
    #[must_use]
    pub fn start(app: &App, places: Option<Arc<GeoIp>>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (reach, reached) = watch::channel(0);
        let worker = Worker {
            operations: app.operations.clone(),
            evidence: Arc::clone(&app.evidence),
            places,
            stopped,
            reach,
        };
        Self {
            stop,
            reached,
            task: tokio::spawn(worker.run()),
        }
    }

    /// Waits until this node's engine has dealt with everything up to a position. It never comes where another node
    /// leads.
    pub async fn wait_for(&self, position: i64) {
        let mut reached = self.reached.clone();
        // An engine that stopped reaches nothing more.
        let _ = reached.wait_for(|reached| *reached >= position).await;
    }

    /// Ends it after the events that it is at, and saves what the rules remember.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }

    /// Ends it where it is, as a crash would.
    pub fn abort(self) {
        self.task.abort();
    }
}

struct Worker {
    operations: Operations,
    evidence: Arc<Standing>,
    places: Option<Arc<GeoIp>>,
    stopped: watch::Receiver<bool>,
    reach: watch::Sender<i64>,
}

fn warn(error: &PolicyError) {
    let cause = error as &dyn std::error::Error;
    tracing::warn!(error = cause, "policies cannot follow the ledger, trying again");
}

/// What a node that leads has in memory.
struct Lead {
    watch: Watch,
    /// Up to where everything was dealt with.
    position: i64,
    /// The cursor in the database.
    saved: i64,
    saved_at: std::time::Instant,
    /// Before when it is not moved again, unless it is far behind.
    save_after: Duration,
}

/// What came of a look at the ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There was nothing.
    Idle,
    /// All that was there is dealt with.
    Caught,
    /// More waits.
    More,
}

impl Worker {
    async fn run(mut self) {
        let mut pause = POLL;
        while !*self.stopped.borrow() {
            match self.lead().await {
                Ok(()) => pause = POLL,
                Err(error) => {
                    warn(&error);
                    state::note_failure(self.operations.ledger.pool(), &error).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.rest(pause.max(POLL)).await;
        }
    }

    /// Waits, unless told to stop.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Leads until told to stop; returns at once, after a moment, where another node does.
    async fn lead(&mut self) -> Result<(), PolicyError> {
        let options = self.operations.ledger.pool().connect_options();
        let mut connection =
            PgConnection::connect_with(&options.as_ref().clone().application_name("grantlog policies"))
                .await?;
        let leads: bool = sqlx::query_scalar(LOCK).fetch_one(&mut connection).await?;
        if !leads {
            drop(connection);
            self.rest(STAND_BY).await;
            return Ok(());
        }
        let mut lead = self.begin(&mut connection).await?;
        let mut head = self.operations.ledger.head();
        let outcome = loop {
            if *self.stopped.borrow() {
                break Ok(());
            }
            match self.follow(&mut connection, &mut lead).await {
                Ok(Step::More) => {}
                Ok(Step::Caught) => self.rest(GATHER).await,
                Ok(Step::Idle) => {
                    tokio::select! {
                        _ = self.stopped.wait_for(|stopped| *stopped) => {}
                        // A ledger that is closed announces nothing any more: the timer goes on.
                        Ok(()) = head.changed() => {}
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
                Err(error) => break Err(error),
            }
        };
        outcome?;
        self.save(&mut connection, &mut lead).await?;
        // Explicitly: the lock is free for the next node.
        connection.close().await?;
        Ok(())
    }

    async fn begin(&self, connection: &mut PgConnection) -> Result<Lead, PolicyError> {
        let position = state::cursor(connection).await?;
        if position > read::head(connection).await? {
            return Err(PolicyError::Beyond(position));
        }
        let mut watch = Watch::at(connection, position).await?;
        let master = self.operations.ledger.vault().master();
        for (id, watching) in &mut watch.rules {
            let known = state::load(connection, master, (id, &watching.hash)).await?;
            let remembered = known.is_some_and(|known| watching.rule.load(&known).is_ok());
            if remembered {
                watching.moved = false;
            } else {
                watching.learn(connection, position).await?;
            }
        }
        self.reach.send_replace(position);
        Ok(Lead {
            watch,
            position,
            saved: position,
            saved_at: monotonic(),
            save_after: SAVE_EVERY,
        })
    }

    /// Deals with the next events.
    async fn follow(&self, connection: &mut PgConnection, lead: &mut Lead) -> Result<Step, PolicyError> {
        self.evidence.require_sound()?;
        let head = read::head(connection).await?;
        let due = lead.position - lead.saved >= SAVE_AFTER || lead.saved_at.elapsed() >= lead.save_after;
        if due && lead.position > lead.saved {
            self.save(connection, lead).await?;
        }
        if head <= lead.position {
            return Ok(Step::Idle);
        }
        let upto = head.min(lead.position + WINDOW);
        let events = read::between(connection, (lead.position, upto), lead.watch.wants()).await?;
        let last: Option<Timestamp> = events.last().map(|event| event.at);
        for mut event in events {
            if lead.watch.wants_places() {
                self.locate(&mut event).await?;
            }
            self.deal_with(connection, lead, &event).await?;
            lead.position = event.position;
            if Watch::is_setting(&event) {
                // What is to be read from here on may be more.
                self.reach.send_replace(lead.position);
                return Ok(Step::More);
            }
        }
        lead.position = upto;
        self.reach.send_replace(upto);
        if let Some(last) = last {
            let behind = self.operations.ledger.clock().now() - last;
            #[expect(clippy::cast_precision_loss, reason = "seconds to look at")]
            let behind = behind.num_milliseconds().max(0) as f64 / 1000.0;
            metrics::gauge!("grantlog_policy_lag_seconds").set(behind);
        }
        Ok(if upto < head { Step::More } else { Step::Caught })
    }

    async fn deal_with(
        &self,
        connection: &mut PgConnection,
        lead: &mut Lead,
        event: &Observed,
    ) -> Result<(), PolicyError> {
        for watching in lead.watch.rules.values_mut() {
            for finding in watching.observe(event) {
                self.evidence.require_sound()?;
                let policy = (&watching.definition, watching.action);
                if act::raise(&self.operations, policy, &finding).await? {
                    let severity = finding.severity.unwrap_or(watching.definition.severity);
                    let rule = watching.definition.id.clone();
                    metrics::counter!("grantlog_alerts_total", "severity" => severity.name(), "rule" => rule)
                        .increment(1);
                }
            }
        }
        if Watch::is_setting(event) {
            lead.watch.set(connection, event.position).await?;
        }
        Ok(())
    }

    async fn locate(&self, event: &mut Observed) -> Result<(), PolicyError> {
        if let Some(places) = &self.places {
            event.place = places.locate(&self.operations.ledger, event).await?;
        }
        Ok(())
    }

    async fn save(&self, connection: &mut PgConnection, lead: &mut Lead) -> Result<(), PolicyError> {
        let ledger = &self.operations.ledger;
        let sealer = (ledger.vault().master(), ledger.random());
        let began = monotonic();
        state::save(connection, sealer, &mut lead.watch, (lead.saved, lead.position)).await?;
        lead.saved = lead.position;
        lead.saved_at = monotonic();
        lead.save_after = SAVE_EVERY.max(began.elapsed() * SAVE_REST);
        Ok(())
    }
}
