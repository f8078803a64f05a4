//! The sealer: a task per node that follows the ledger, extends the tree and signs it. Of several nodes the one that
//! holds the log's row seals; the others pass by it (`SKIP LOCKED`), so a node that dies is succeeded by whoever comes
//! next. Nothing that is enforced waits for it.
//!
//! Tiles and checkpoint move in one transaction, and the row's lock orders all of them: no two trees of one size are
//! signed, whatever dies when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::note::NoteSigner;
use super::store::{self, Log, unsigned};
use super::tile::{Edge, MAX_ENTRY, TileId, WIDTH};
use super::tree::{Hash, leaf_hash};
use super::{EvidenceError, Fault, Standing, detached};
use crate::app::App;
use crate::clock::monotonic;
use crate::ledger::{Actor, Context, Ledger};
use crate::operations::Operations;

/// A checkpoint is signed this long after the last, where anything waits …
const PERIOD: Duration = Duration::from_secs(1);
/// … or when this many events wait.
const MANY: u64 = 256;
/// The most events of one checkpoint.
const BATCH: u64 = 1024;
/// How often the head is looked at: other nodes append too.
const POLL: Duration = Duration::from_millis(50);
/// How long to wait before trying again after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));
/// From how many waiting events on the log says how far it is.
const BACKLOG: u64 = 20_000;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The handle to the task.
pub struct Sealer {
    stop: watch::Sender<bool>,
    sealed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Sealer {
    /// Starts it. On the first start it makes the log's key.
    #[must_use]
    pub fn start(app: &App) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (seal, sealed) = watch::channel(0);
        let worker = Worker {
            operations: app.operations.clone(),
            standing: Arc::clone(&app.evidence),
            origin: app.settings.evidence_origin(),
            edge: None,
            signers: Vec::new(),
            sealed: seal,
            told: monotonic(),
        };
        let task = tokio::spawn(worker.run(app.ledger.head(), stopped));
        Self { stop, sealed, task }
    }

    /// Waits until a checkpoint covers a position; false where the sealer has ended.
    pub async fn wait_for(&self, position: u64) -> bool {
        self.sealed
            .clone()
            .wait_for(|sealed| *sealed >= position)
            .await
            .is_ok()
    }

    /// Ends it after the checkpoint that it is at.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

/// What came of a look at the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A batch is sealed, and more waits.
    More,
    /// Nothing is due.
    Done,
    /// Another node is sealing.
    Busy,
}

struct Worker {
    operations: Operations,
    standing: Arc<Standing>,
    origin: String,
    /// The tree's right edge, as of the last checkpoint that this node signed.
    edge: Option<Edge>,
    signers: Vec<(Uuid, NoteSigner)>,
    sealed: watch::Sender<u64>,
    told: std::time::Instant,
}

impl Worker {
    fn ledger(&self) -> &Ledger {
        &self.operations.ledger
    }

    async fn run(mut self, mut head: watch::Receiver<i64>, mut stopped: watch::Receiver<bool>) {
        let mut pause = RETRY.0;
        loop {
            let wait = match self.round().await {
                Ok(Step::More) => Duration::ZERO,
                Ok(Step::Done) => {
                    pause = RETRY.0;
                    POLL
                }
                // Not at every append: whoever seals will have done so by then.
                Ok(Step::Busy) => 2 * POLL,
                Err(error) => {
                    if let EvidenceError::Changed(position) | EvidenceError::Gap(position) = error {
                        self.standing.set_fault(&Fault::Changed(position));
                    }
                    metrics::counter!("grantlog_evidence_failures_total").increment(1);
                    tracing::error!(%error, "the ledger cannot be sealed, trying again");
                    self.edge = None;
                    pause = (pause * 2).min(RETRY.1);
                    pause
                }
            };
            let sealed = *self.sealed.borrow();
            let patient = wait > POLL;
            let many = |position: &i64| !patient && unsigned(*position) >= sealed.saturating_add(MANY);
            tokio::select! {
                ended = stopped.wait_for(|stopped| *stopped) => { drop(ended); return; }
                Ok(_) = head.wait_for(many) => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Looks at the log, and seals where it is time.
    async fn round(&mut self) -> Result<Step, EvidenceError> {
        let log = store::read(self.ledger().pool()).await?;
        self.standing.observe(self.ledger().pool(), &log).await?;
        self.announce(&log);
        let waiting = log.head.saturating_sub(log.size);
        let period = (log.now - log.signed_at).to_std().unwrap_or_default();
        if waiting >= MANY || (waiting > 0 && period >= PERIOD) {
            self.keys().await?;
            return self.seal().await;
        }
        Ok(Step::Done)
    }

    fn announce(&mut self, log: &Log) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let number = |value: u64| value as f64;
        let waiting = log.head.saturating_sub(log.size);
        metrics::gauge!("grantlog_evidence_sealed_position").set(number(log.size));
        metrics::gauge!("grantlog_evidence_lag_events").set(number(waiting));
        self.sealed
            .send_if_modified(|sealed| std::mem::replace(sealed, log.size) != log.size);
        if waiting > BACKLOG && self.told.elapsed() >= PROGRESS_EVERY {
            self.told = monotonic();
            tracing::info!(sealed = log.size, of = log.head, "sealing the ledger");
        }
    }

    /// The keys that sign: all that are not retired.
    async fn keys(&mut self) -> Result<(), EvidenceError> {
        let mut active = self.operations.active_log_keys().await?;
        if active.is_empty() {
            let request = self
                .ledger()
                .random()
                .uuid()
                .map_err(crate::ledger::LedgerError::from)?;
            let context = Context::local(request, Actor::System, "evidence");
            self.operations.ensure_log_key(&context, &self.origin).await?;
            active = self.operations.active_log_keys().await?;
        }
        if self
            .signers
            .iter()
            .map(|(id, _)| id)
            .eq(active.iter().map(|key| &key.id))
        {
            return Ok(());
        }
        let mut signers = Vec::new();
        for key in active {
            signers.push((key.id, self.operations.open_log_key(&key).await?));
        }
        self.signers = signers;
        Ok(())
    }

    /// One batch, one checkpoint, one transaction.
    async fn seal(&mut self) -> Result<Step, EvidenceError> {
        let mut transaction = self.ledger().pool().begin().await?;
        let Some(mut log) = store::hold(&mut transaction).await? else {
            return Ok(Step::Busy);
        };
        let mut edge = self.take_edge(&mut transaction, &log).await?;
        let before = (log.size, log.note.is_empty());
        let tiles = extend(&mut transaction, &mut edge, log.head).await?;
        if before == (edge.size(), false) || edge.size() == 0 {
            return Ok(Step::Done);
        }
        let Some((_, first)) = self.signers.first() else {
            return Err(EvidenceError::NoKey);
        };
        let origin = first.verifier.name.clone();
        (log.size, log.root) = (edge.size(), edge.root());
        let checkpoint = Checkpoint::new(&origin, log.size, log.root);
        log.note = checkpoint
            .sign(self.signers.iter().map(|(_, key)| key))
            .to_string();
        store::write(&mut transaction, &tiles, &log).await?;
        transaction.commit().await?;
        metrics::counter!("grantlog_evidence_checkpoints_total").increment(1);
        self.standing.remember(&log);
        self.edge = Some(edge);
        self.announce(&log);
        let more = log.head >= log.size.saturating_add(MANY);
        Ok(if more { Step::More } else { Step::Done })
    }

    /// The tree's edge. Where another node signed since, it is read again, and so are the rows of the tile that is not
    /// full: they must be those that were sealed.
    async fn take_edge(&mut self, connection: &mut PgConnection, log: &Log) -> Result<Edge, EvidenceError> {
        if let Some(edge) = self
            .edge
            .take()
            .filter(|edge| edge.size() == log.size && edge.root() == log.root)
        {
            return Ok(edge);
        }
        let edge = store::edge(&mut *connection, log).await?;
        check_last_rows(connection, &edge).await?;
        Ok(edge)
    }
}

/// The rows of the tile that is not full are those that were sealed.
pub async fn check_last_rows(connection: &mut PgConnection, edge: &Edge) -> Result<(), EvidenceError> {
    let last = edge.partial().find(|((level, _), _)| *level == 0);
    let Some(((_, index), hashes)) = last else {
        return Ok(());
    };
    let after = index * WIDTH;
    let gone = detached::within(&mut *connection, (after, edge.size())).await?;
    let rows = store::rows(connection, (after, edge.size()), WIDTH).await?;
    let mut rows = rows.iter();
    for (position, hash) in (after + 1..).zip(hashes) {
        if detached::covers(&gone, position) {
            continue;
        }
        if rows.next().is_none_or(|row| row.hash() != *hash) {
            return Err(EvidenceError::Changed(position));
        }
    }
    Ok(())
}

/// Adds the next rows to the tree, and gives the tiles that changed.
async fn extend(
    connection: &mut PgConnection,
    edge: &mut Edge,
    head: u64,
) -> Result<BTreeMap<TileId, Vec<u8>>, EvidenceError> {
    let mut tiles = BTreeMap::new();
    let rows = store::rows(connection, (edge.size(), head), BATCH).await?;
    let mut keep = |tile: TileId, hashes: &[Hash]| drop(tiles.insert(tile, hashes.concat()));
    for row in &rows {
        let position = edge.size() + 1;
        if unsigned(row.position) != position {
            return Err(EvidenceError::Gap(position));
        }
        let leaf = row.leaf();
        if leaf.len() > MAX_ENTRY {
            return Err(EvidenceError::TooLarge(position));
        }
        edge.push(leaf_hash(&leaf), &mut keep);
    }
    if rows.len() as u64 != BATCH && edge.size() < head {
        return Err(EvidenceError::Gap(edge.size() + 1));
    }
    for (tile, hashes) in edge.partial() {
        keep(tile, hashes);
    }
    Ok(tiles)
}
