//! Gathering: questions to the database that wait are asked together, in one statement.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::unit::LedgerError;

/// Statements of a kind under way at once; while they run, the next questions gather.
const AT_ONCE: usize = 2;
/// The most questions in one statement.
const MAX_BATCH: usize = 256;
/// The most questions that wait.
const MAX_WAITING: usize = 16_384;

/// One question and where its answer goes.
struct Asked<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, LedgerError>>,
}

/// Asks many questions of a kind with one statement.
pub(super) trait Ask: Clone + Send + Sync + 'static {
    /// One question.
    type Question: Send + Sync + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// The answers, in the questions' order.
    fn ask(
        &self,
        questions: &[Self::Question],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, sqlx::Error>> + Send;
}

/// The handle to the tasks that ask.
pub(super) struct Gathered<K: Ask>(mpsc::Sender<Asked<K::Question, K::Answer>>);

type Queue<K> = Arc<Mutex<mpsc::Receiver<Asked<<K as Ask>::Question, <K as Ask>::Answer>>>>;

impl<K: Ask> Gathered<K> {
    pub(super) fn start(kind: &K) -> Self {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let queue: Queue<K> = Arc::new(Mutex::new(queue));
        for _ in 0..AT_ONCE {
            tokio::spawn(run(Arc::clone(&queue), kind.clone()));
        }
        Self(sender)
    }

    pub(super) async fn ask(&self, question: K::Question) -> Result<K::Answer, LedgerError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Asked { question, answer })
            .map_err(|_| LedgerError::Unavailable)?;
        answered.await.unwrap_or(Err(LedgerError::Unavailable))
    }
}

async fn run<K: Ask>(queue: Queue<K>, kind: K) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        if queue.lock().await.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        let (questions, answers): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|asked| (asked.question, asked.answer))
            .unzip();
        match kind.ask(&questions).await {
            Ok(found) => {
                for (sender, answer) in answers.into_iter().zip(found) {
                    // A caller that went away needs no answer.
                    let _ = sender.send(Ok(answer));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger could not be read");
                for sender in answers {
                    let _ = sender.send(Err(LedgerError::Unavailable));
                }
            }
        }
    }
}
