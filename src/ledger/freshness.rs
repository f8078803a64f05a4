//! The freshness check: what appends nothing may rely on cached aggregates only after one statement has
//! compared their sequences with the database. Checks that wait are asked together.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::command::Expectation;
use super::unit::LedgerError;
use super::{LANE, load};

/// Statements under way at once; while they run, the next checks gather.
const LANES: usize = 2;
/// The most checks in one statement.
const MAX_BATCH: usize = 256;

struct Check {
    expectations: Vec<Expectation>,
    answer: oneshot::Sender<Result<bool, LedgerError>>,
}

/// The handle to the tasks that ask.
pub(super) struct Freshness(mpsc::Sender<Check>);

impl Freshness {
    pub(super) fn start(pool: PgPool) -> Self {
        let (sender, queue) = mpsc::channel(16_384);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..LANES {
            tokio::spawn(run(Arc::clone(&queue), pool.clone()));
        }
        Self(sender)
    }

    pub(super) async fn is_current(&self, expectations: Vec<Expectation>) -> Result<bool, LedgerError> {
        let (answer, current) = oneshot::channel();
        self.0
            .try_send(Check { expectations, answer })
            .map_err(|_| LedgerError::Unavailable)?;
        current.await.unwrap_or(Err(LedgerError::Unavailable))
    }
}

async fn run(queue: Arc<Mutex<mpsc::Receiver<Check>>>, pool: PgPool) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        if queue.lock().await.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        match ask(&pool, &batch).await {
            Ok(moved) => {
                for (check, moved) in batch.drain(..).zip(moved) {
                    let _ = check.answer.send(Ok(!moved));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the freshness of cached aggregates could not be checked");
                for check in batch.drain(..) {
                    let _ = check.answer.send(Err(LedgerError::Unavailable));
                }
            }
        }
    }
}

/// For each check, whether any of its aggregates has moved on.
async fn ask(pool: &PgPool, batch: &[Check]) -> Result<Vec<bool>, sqlx::Error> {
    let (mut kinds, mut ids, mut sequences, mut owners) =
        (Vec::new(), Vec::<Uuid>::new(), Vec::new(), Vec::new());
    for (owner, check) in batch.iter().enumerate() {
        for expectation in &check.expectations {
            kinds.push(expectation.kind.name());
            ids.push(expectation.id);
            sequences.push(expectation.sequence);
            owners.push(owner);
        }
    }
    let places: Vec<i32> = load::retrying(|| async {
        sqlx::query_scalar("SELECT place FROM grantlog.moved($1, $2, $3, $4)")
            .bind(LANE)
            .bind(&kinds)
            .bind(&ids)
            .bind(&sequences)
            .fetch_all(pool)
            .await
    })
    .await?;
    let mut moved = vec![false; batch.len()];
    for place in places {
        let owner = usize::try_from(place)
            .ok()
            .and_then(|place| owners.get(place.checked_sub(1)?));
        if let Some(slot) = owner.and_then(|owner| moved.get_mut(*owner)) {
            *slot = true;
        }
    }
    Ok(moved)
}
