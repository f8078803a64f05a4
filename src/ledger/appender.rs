//! Group commit: one task per node takes whatever commands wait and appends them in one round trip and one
//! durable commit; while that runs, the next batch gathers.

use std::collections::VecDeque;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::append_call::{self, Conflict, Footprint, Verdict};
use super::command::Command;
use crate::clock::{Clock, Timestamp, machine_now};

/// The most commands in one batch.
const MAX_BATCH: usize = 512;
/// The most refusals in one batch: they must not crowd out grants.
const MAX_LOW_PRIORITY: usize = 64;
/// The most commands that wait; more are told to come back.
const MAX_WAITING: usize = 16_384;
/// How long the database may take over one batch before its connection is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a batch is tried, across reconnections, before its callers are told `Unavailable`.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// Which queue a command waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Grants, administration.
    Normal,
    /// Refusals: a flood of bad requests must not delay good ones.
    Low,
}

/// Where a command's events stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of its first event; the others follow without a gap.
    pub first_position: i64,
    /// When it was recorded, on the database's clock.
    pub at: Timestamp,
    /// Whether an earlier try of this same command had succeeded.
    pub repeated: bool,
}

/// Why a command is not in the ledger.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// An aggregate changed since the command was decided: load it and decide again.
    #[error("{} {} is at sequence {}, not {}", .0.aggregate_type, .0.aggregate_id, .0.actual, .0.expected)]
    Conflict(Conflict),
    /// The name belongs to another aggregate.
    #[error("this {0} is taken")]
    NameTaken(String),
    /// The database refused the command's data (SQLSTATE); nothing of it was written.
    #[error("the ledger refused the command (SQLSTATE {0})")]
    Refused(String),
    /// The database could not be reached in time. Whether the command was appended is not known.
    #[error("the ledger is unavailable")]
    Unavailable,
}

struct Waiting {
    command: Command,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
}

enum Message {
    Append(Waiting),
    Close(oneshot::Sender<()>),
}

/// The handle to the appender task.
pub(super) struct Appender {
    normal: mpsc::Sender<Message>,
    low: mpsc::Sender<Message>,
}

impl Appender {
    pub(super) fn start(
        database: PgConnectOptions,
        epoch: i64,
        clock: Clock,
        head: watch::Sender<i64>,
    ) -> Self {
        let (normal, normal_queue) = mpsc::channel(MAX_WAITING);
        let (low, low_queue) = mpsc::channel(MAX_WAITING / 4);
        let writer = Writer {
            database,
            epoch,
            clock,
            head,
            connection: None,
        };
        tokio::spawn(
            Queue {
                normal: normal_queue,
                low: low_queue,
                deferred: VecDeque::new(),
                writer,
            }
            .run(),
        );
        Self { normal, low }
    }

    pub(super) async fn append(&self, command: Command, priority: Priority) -> Result<Appended, AppendError> {
        let (answer, verdict) = oneshot::channel();
        let queue = match priority {
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        };
        let waiting = Message::Append(Waiting { command, answer });
        queue.try_send(waiting).map_err(|_| AppendError::Unavailable)?;
        verdict.await.unwrap_or(Err(AppendError::Unavailable))
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.normal.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

struct Queue {
    normal: mpsc::Receiver<Message>,
    low: mpsc::Receiver<Message>,
    /// Commands that would have collided with another of their batch.
    deferred: VecDeque<Waiting>,
    writer: Writer,
}

impl Queue {
    async fn run(mut self) {
        let mut closing = None;
        loop {
            let batch = self.gather(&mut closing).await;
            if batch.is_empty() {
                if let Some(done) = closing.take() {
                    let _: Result<(), ()> = oneshot::Sender::send(done, ());
                }
                if self.normal.is_closed() && self.low.is_closed() {
                    return;
                }
                continue;
            }
            metrics::histogram!("grantlog_append_batch_commands").record(count(batch.len()));
            self.writer.write(batch).await;
        }
    }

    /// What waits now; waits for the first command where nothing does.
    async fn gather(&mut self, closing: &mut Option<oneshot::Sender<()>>) -> Vec<Waiting> {
        let mut footprint = Footprint::new();
        let mut batch = Vec::new();
        let mut deferred = std::mem::take(&mut self.deferred);
        while let Some(waiting) = deferred.pop_front() {
            self.admit(waiting, &mut footprint, &mut batch);
        }
        if batch.is_empty() && closing.is_none() {
            let message = tokio::select! {
                biased;
                message = self.normal.recv() => message,
                message = self.low.recv() => message,
            };
            match message {
                Some(Message::Append(waiting)) => self.admit(waiting, &mut footprint, &mut batch),
                Some(Message::Close(done)) => {
                    self.normal.close();
                    self.low.close();
                    *closing = Some(done);
                }
                None => return batch,
            }
        }
        while batch.len() < MAX_BATCH {
            match self.normal.try_recv() {
                Ok(Message::Append(waiting)) => self.admit(waiting, &mut footprint, &mut batch),
                Ok(Message::Close(done)) => {
                    self.normal.close();
                    self.low.close();
                    *closing = Some(done);
                }
                Err(_) => break,
            }
        }
        for _ in 0..MAX_LOW_PRIORITY {
            let Ok(Message::Append(waiting)) = self.low.try_recv() else {
                break;
            };
            self.admit(waiting, &mut footprint, &mut batch);
        }
        batch
    }

    fn admit(&mut self, waiting: Waiting, footprint: &mut Footprint, batch: &mut Vec<Waiting>) {
        if footprint.admit(&waiting.command) {
            batch.push(waiting);
        } else {
            self.deferred.push_back(waiting);
        }
    }
}

/// Owns the one connection that appends.
struct Writer {
    database: PgConnectOptions,
    epoch: i64,
    clock: Clock,
    head: watch::Sender<i64>,
    connection: Option<PgConnection>,
}

enum Trouble {
    /// Rolled back, or its outcome unknown: the same batch may be tried again, its command ids tell.
    Again,
    /// The data of some command is refused.
    Data(String),
    /// Nothing will help.
    Fatal,
}

impl Writer {
    async fn write(&mut self, batch: Vec<Waiting>) {
        let commands: Vec<&Command> = batch.iter().map(|waiting| &waiting.command).collect();
        match self.try_batch(&commands).await {
            Ok(verdicts) => answer(batch, verdicts),
            Err(Trouble::Data(code)) if batch.len() == 1 => {
                for waiting in batch {
                    let _ = waiting.answer.send(Err(AppendError::Refused(code.clone())));
                }
            }
            Err(Trouble::Data(_)) => {
                // One poisoned command must not take the others with it.
                for waiting in batch {
                    Box::pin(self.write(vec![waiting])).await;
                }
            }
            Err(Trouble::Again | Trouble::Fatal) => {
                for waiting in batch {
                    let _ = waiting.answer.send(Err(AppendError::Unavailable));
                }
            }
        }
    }

    async fn try_batch(&mut self, commands: &[&Command]) -> Result<Vec<Option<Verdict>>, Trouble> {
        let give_up = Instant::now() + GIVE_UP_AFTER;
        let mut pause = Duration::from_millis(5);
        loop {
            match self.try_once(commands).await {
                Ok(verdicts) => return Ok(verdicts),
                Err(Trouble::Again) if Instant::now() + pause < give_up => {
                    metrics::counter!("grantlog_append_retries_total").increment(1);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(250));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn try_once(&mut self, commands: &[&Command]) -> Result<Vec<Option<Verdict>>, Trouble> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let before = machine_now();
        match timeout(
            CALL_TIMEOUT,
            append_call::call(&mut connection, self.epoch, commands),
        )
        .await
        {
            Ok(Ok(verdicts)) => {
                self.connection = Some(connection);
                self.committed(before, &verdicts, commands);
                Ok(verdicts)
            }
            Ok(Err(sqlx::Error::Database(error))) => {
                let code = error.code().unwrap_or_default().into_owned();
                tracing::warn!(sqlstate = code, commands = commands.len(), "an append failed");
                self.connection = Some(connection);
                Err(classify(code))
            }
            // The connection's state is unknown: it is dropped, and with it what it was doing, or not.
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the appending connection was lost");
                Err(Trouble::Again)
            }
            Err(_) => {
                tracing::warn!("an append took longer than {CALL_TIMEOUT:?}");
                Err(Trouble::Again)
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, Trouble> {
        let options = self.database.clone().options([
            ("lock_timeout", "3s"),
            ("statement_timeout", "8s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
        ]);
        match timeout(CALL_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the ledger's database cannot be reached");
                Err(Trouble::Again)
            }
            Err(_) => Err(Trouble::Again),
        }
    }

    fn committed(&self, before: Timestamp, verdicts: &[Option<Verdict>], commands: &[&Command]) {
        let mut last = 0;
        for (verdict, command) in verdicts.iter().zip(commands) {
            if let Some(Verdict::Appended {
                first_position,
                at,
                repeated,
            }) = verdict
            {
                let events = i64::try_from(command.events.len()).unwrap_or_default();
                last = last.max(first_position + events - 1);
                if !repeated {
                    self.clock.follow(before, *at);
                }
            }
        }
        self.head.send_if_modified(|head| {
            let moved = last > *head;
            *head = last.max(*head);
            moved
        });
    }
}

fn answer(batch: Vec<Waiting>, verdicts: Vec<Option<Verdict>>) {
    for (waiting, verdict) in batch.into_iter().zip(verdicts) {
        let result = match verdict {
            Some(Verdict::Appended {
                first_position,
                at,
                repeated,
            }) => Ok(Appended {
                first_position,
                at,
                repeated,
            }),
            Some(Verdict::Conflict(conflict)) => Err(AppendError::Conflict(conflict)),
            Some(Verdict::NameTaken(kind)) => Err(AppendError::NameTaken(kind)),
            None => Err(AppendError::Unavailable),
        };
        // A caller that went away needs no answer.
        let _ = waiting.answer.send(result);
    }
}

/// By SQLSTATE class: what was rolled back for reasons outside the data may be tried again.
fn classify(code: String) -> Trouble {
    match code.as_str() {
        "GL001" => Trouble::Fatal,
        "55P03" | "57014" => Trouble::Again,
        _ if ["08", "25", "40", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Trouble::Again
        }
        _ => Trouble::Data(code),
    }
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
