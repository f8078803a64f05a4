//! One stream on one node: waits for the lease, then delivers until told to stop or overtaken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::{Notify, watch};

use super::course::{self, Progress, Step, Window};
use super::envelope::Envelope;
use super::read::{self, WINDOW};
use super::runner::Timing;
use super::sink::{Delivery, Failure, LONGEST, Limits, Sink};
use super::store::{self, Lease};
use super::{StreamError, nats, ocsf, syslog, webhook};
use crate::app::App;
use crate::clock::monotonic;
use crate::domain::stream::{Defined, StreamTarget};
use crate::ledger::{Actor, Context, head_position};

/// The longest pause after a failure of ours.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often a cursor moves at most where nothing passes the filter.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often checkpoints are looked for at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How long a receiver that does not take a checkpoint gets no other.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(30);

/// Opens the way to a stream's receiver. A receiver that cannot be reached is found out by the first delivery.
async fn open(app: &App, defined: &Defined, limits: Limits) -> Result<Box<dyn Sink>, StreamError> {
    let secrets = app.operations.stream_secrets(&defined.definition.secrets).await?;
    Ok(match &defined.definition.target {
        StreamTarget::Webhook { url, batched } => {
            Box::new(webhook::Webhook::open(app, (url, *batched), &secrets, limits))
        }
        StreamTarget::Nats { url, prefix } => Box::new(nats::JetStream::open(
            app,
            (url, prefix),
            secrets.first().map(Vec::as_slice),
            limits,
        )?),
        StreamTarget::OcsfFile { path, max_bytes } => {
            Box::new(ocsf::file::OcsfFile::open(app, (path, *max_bytes)))
        }
        StreamTarget::OcsfHttp { url } => {
            Box::new(ocsf::http::OcsfHttp::open(app, url, secrets.into_iter().next())?)
        }
        StreamTarget::Syslog { url } => Box::new(syslog::Syslog::open(app, url)?),
    })
}

pub(super) struct Worker {
    pub(super) app: App,
    pub(super) lease: Lease,
    pub(super) defined: Defined,
    pub(super) timing: Timing,
    /// Somebody may have asked for a redelivery.
    pub(super) news: Arc<Notify>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// What a node that holds the stream has in memory.
struct Lead {
    sink: Box<dyn Sink>,
    progress: Progress,
    /// Nothing up to here passes the filter but what was delivered.
    seen: i64,
    delivered: i64,
    checkpoint: i64,
    renewed: Instant,
    saved: Instant,
    /// Until when the receiver is left alone.
    due: Instant,
    checkpoint_due: Instant,
    look_for_redeliveries: bool,
}

impl Worker {
    pub(super) async fn run(mut self) {
        let mut pause = self.timing.poll;
        while !*self.stopped.borrow() {
            match self.lead().await {
                Ok(()) | Err(StreamError::Overtaken) => pause = self.timing.poll,
                Err(error) => {
                    self.warn(&error);
                    // A database that is gone is noted in the log.
                    let _ = store::note_failure(self.pool(), self.lease.stream, &error.to_string()).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.rest(pause).await;
        }
        // Otherwise the lease comes to its end.
        let _ = store::release(self.pool(), self.lease).await;
    }

    fn warn(&self, error: &StreamError) {
        let cause = error as &dyn std::error::Error;
        tracing::warn!(
            stream = self.defined.name,
            error = cause,
            "a stream stands still, trying again"
        );
    }

    fn pool(&self) -> &PgPool {
        self.app.ledger.pool()
    }

    /// Waits, unless told to stop.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Delivers until told to stop; returns after a moment where another node does.
    async fn lead(&mut self) -> Result<(), StreamError> {
        let Some(cursor) = store::take(self.pool(), self.lease).await? else {
            self.rest(self.timing.stand_by).await;
            return Ok(());
        };
        let now = monotonic();
        let mut lead = Lead {
            sink: open(&self.app, &self.defined, Limits::of(self.lease.length)).await?,
            progress: cursor.progress,
            seen: cursor.progress.position,
            delivered: cursor.delivered,
            checkpoint: cursor.checkpoint,
            renewed: now,
            saved: now,
            due: now + cursor.pause,
            checkpoint_due: now,
            look_for_redeliveries: true,
        };
        while !*self.stopped.borrow() {
            self.turn(&mut lead).await?;
        }
        Ok(())
    }

    async fn turn(&mut self, lead: &mut Lead) -> Result<(), StreamError> {
        if let Some(fault) = self.app.evidence.fault() {
            return Err(StreamError::Evidence(fault.into()));
        }
        self.renew(lead).await?;
        let pause = lead.due.saturating_duration_since(monotonic());
        if !pause.is_zero() {
            self.rest(pause.min(self.lease.length / 3)).await;
            return Ok(());
        }
        if std::mem::take(&mut lead.look_for_redeliveries) {
            self.redeliver(lead).await?;
        }
        let head = head_position(self.pool()).await?;
        let size = course::batch_size(lead.progress, &self.defined.definition);
        let filter = &self.defined.definition.filter;
        let (events, window) = read::next(self.pool(), filter, (lead.seen, head), size).await?;
        if events.is_empty() {
            self.skip(lead, &window).await?;
        } else {
            self.deliver(lead, &events, &window).await?;
        }
        self.offer_checkpoint(lead).await?;
        if window.upto >= head {
            self.wait(lead).await;
        }
        Ok(())
    }

    /// Keeps the lease: after this it lasts longer than a delivery may take.
    async fn renew(&self, lead: &mut Lead) -> Result<(), StreamError> {
        if lead.renewed.elapsed() < self.lease.length / 4 {
            return Ok(());
        }
        store::take(self.pool(), self.lease)
            .await?
            .ok_or(StreamError::Overtaken)?;
        lead.renewed = monotonic();
        Ok(())
    }

    /// Waits for more.
    async fn wait(&mut self, lead: &mut Lead) {
        let (mut head, seen) = (self.app.ledger.head(), lead.seen);
        let moved = async {
            // A ledger that is closed announces nothing any more.
            if head.wait_for(|head| *head > seen).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
            () = moved => {}
            () = self.news.notified() => lead.look_for_redeliveries = true,
            () = tokio::time::sleep(self.timing.poll) => {}
        }
    }

    /// Nothing passed the filter.
    async fn skip(&self, lead: &mut Lead, window: &Window) -> Result<(), StreamError> {
        lead.seen = window.upto;
        let skipped = lead.seen - lead.progress.position;
        let is_due = skipped >= WINDOW || lead.saved.elapsed() >= SAVE_EVERY;
        if skipped == 0 || !is_due {
            return Ok(());
        }
        let step = Step::Advance { to: lead.seen };
        self.save(lead, &step, (0, 0)).await
    }

    async fn save(
        &self,
        lead: &mut Lead,
        step: &Step,
        (events, delivered): (usize, i64),
    ) -> Result<(), StreamError> {
        let saved = store::save(self.pool(), self.lease, lead.progress, step, (events, delivered)).await;
        lead.progress = saved?;
        lead.seen = lead.progress.position;
        lead.delivered = lead.delivered.max(delivered);
        lead.saved = monotonic();
        lead.renewed = lead.saved;
        Ok(())
    }

    async fn attempt(&self, lead: &mut Lead, events: &[Envelope]) -> Delivery {
        let limit = LONGEST.min(self.lease.length / 2);
        let delivery = tokio::time::timeout(limit, lead.sink.deliver(events)).await;
        delivery.unwrap_or_else(|_| Delivery::failed(0, Failure::new("timeout")))
    }

    async fn deliver(
        &self,
        lead: &mut Lead,
        events: &[Envelope],
        window: &Window,
    ) -> Result<(), StreamError> {
        let delivery = self.attempt(lead, events).await;
        let acknowledged = delivery.acknowledged.min(events.len());
        let delivered = events.get(..acknowledged).and_then(<[_]>::last);
        let delivered = delivered.map_or(0, Envelope::position);
        let jitter = f64::from(u16::from_be_bytes(self.random()?)) / f64::from(u16::MAX);
        let definition = &self.defined.definition;
        let step = course::settle(lead.progress, window, delivery, definition, jitter);
        self.save(lead, &step, (acknowledged, delivered)).await?;
        self.count(acknowledged, &step);
        match &step {
            Step::Advance { .. } => {}
            Step::Retry { pause, failure, .. } => {
                tracing::info!(
                    stream = self.defined.name,
                    error = failure.code,
                    "a delivery failed"
                );
                lead.due = monotonic() + *pause;
            }
            Step::GiveUp {
                position, failure, ..
            } => {
                let (stream, error) = (&self.defined.name, &failure.code);
                tracing::warn!(stream, position, error, "an event became a dead letter");
            }
            Step::Pause { .. } => self.pause(lead).await?,
        }
        Ok(())
    }

    fn random(&self) -> Result<[u8; 2], StreamError> {
        let bytes = self.app.ledger.random().bytes();
        bytes.map_err(|error| StreamError::Ledger(error.into()))
    }

    fn count(&self, acknowledged: usize, step: &Step) {
        let stream = self.defined.name.clone();
        let events = u64::try_from(acknowledged).unwrap_or(u64::MAX);
        metrics::counter!("grantlog_stream_events_total", "stream" => stream.clone()).increment(events);
        let outcome = match step {
            Step::Advance { .. } => "delivered",
            Step::Retry { .. } => "failed",
            Step::GiveUp { .. } => "dead_letter",
            Step::Pause { .. } => "gone",
        };
        metrics::counter!("grantlog_stream_deliveries_total", "stream" => stream, "outcome" => outcome)
            .increment(1);
    }

    /// The receiver is gone: that the stream stands still is an event, which ends this worker.
    async fn pause(&self, lead: &mut Lead) -> Result<(), StreamError> {
        let request = self.app.ledger.random().uuid();
        let request = request.map_err(|error| StreamError::Ledger(error.into()))?;
        let context = Context::local(request, Actor::System, "stream");
        let operations = &self.app.operations;
        operations
            .pause_stream(&context, &self.defined.name, "gone")
            .await?;
        lead.due = monotonic() + LONGEST_PAUSE;
        Ok(())
    }

    /// Delivers once more what somebody asked for.
    async fn redeliver(&self, lead: &mut Lead) -> Result<(), StreamError> {
        while let Some(position) = store::next_redelivery(self.pool(), self.lease.stream).await? {
            self.renew(lead).await?;
            let error = match read::at(self.pool(), position).await? {
                // Its partition was detached.
                None => Some("not_in_the_ledger".to_owned()),
                Some(event) => {
                    let delivery = self.attempt(lead, std::slice::from_ref(&event)).await;
                    let failure = delivery.failure.map(|failure| failure.code);
                    failure.or((delivery.acknowledged == 0).then(|| "not_acknowledged".to_owned()))
                }
            };
            store::settle_redelivery(self.pool(), self.lease.stream, position, error.as_deref()).await?;
            // A receiver that still does not take them must not keep what is new from its turn.
            lead.look_for_redeliveries = error.is_some();
            if error.is_some() || *self.stopped.borrow() {
                break;
            }
        }
        Ok(())
    }

    /// Each delivered event is soon followed by a checkpoint that covers it.
    async fn offer_checkpoint(&self, lead: &mut Lead) -> Result<(), StreamError> {
        if lead.delivered <= lead.checkpoint || lead.checkpoint_due > monotonic() {
            return Ok(());
        }
        lead.checkpoint_due = monotonic() + CHECKPOINT_EVERY;
        let newest = read::checkpoint(self.pool()).await?;
        let Some(checkpoint) = newest.filter(|newest| newest.size > lead.checkpoint) else {
            return Ok(());
        };
        let limit = LONGEST.min(self.lease.length / 2);
        let taken = tokio::time::timeout(limit, lead.sink.checkpoint(&checkpoint)).await;
        match taken.unwrap_or_else(|_| Err(Failure::new("timeout"))) {
            Ok(()) => {
                store::save_checkpoint(self.pool(), self.lease, checkpoint.size).await?;
                lead.checkpoint = checkpoint.size;
            }
            Err(failure) => {
                tracing::info!(
                    stream = self.defined.name,
                    error = failure.code,
                    "a checkpoint was not taken"
                );
                lead.checkpoint_due = monotonic() + CHECKPOINT_PAUSE;
            }
        }
        Ok(())
    }
}
