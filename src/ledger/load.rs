//! Reading aggregates from the ledger.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::LANE;
use super::command::Expectation;
use super::gather::{Ask, Gathered};
use super::unit::LedgerError;
use crate::clock::Timestamp;
use crate::domain::{LedgerAggregate, LedgerEvent};

/// An aggregate as of a sequence.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// Its id.
    pub id: Uuid,
    /// The sequence of its last event; 0 where it does not exist.
    pub sequence: i64,
    /// Its state.
    pub state: Arc<A>,
}

impl<A: LedgerAggregate> Loaded<A> {
    /// What the freshness check, or an append, must find.
    #[must_use]
    pub fn expectation(&self) -> Expectation {
        Expectation {
            kind: A::KIND,
            id: self.id,
            sequence: self.sequence,
        }
    }

    /// Whether it has any event.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.sequence > 0
    }
}

impl<A> std::ops::Deref for Loaded<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.state
    }
}

/// An event of an aggregate, as it is read back.
pub(super) struct EventRow {
    sequence: i64,
    event_type: String,
    version: i16,
    payload: String,
}

/// Asks for the events of an aggregate after a sequence.
#[derive(Clone)]
pub(super) struct EventsAfter(pub(super) PgPool);

impl Ask for EventsAfter {
    type Question = Expectation;
    type Answer = Vec<EventRow>;

    async fn ask(&self, questions: &[Expectation]) -> Result<Vec<Vec<EventRow>>, sqlx::Error> {
        let kinds: Vec<&str> = questions.iter().map(|known| known.kind.name()).collect();
        let ids: Vec<Uuid> = questions.iter().map(|known| known.id).collect();
        let sequences: Vec<i64> = questions.iter().map(|known| known.sequence).collect();
        let rows: Vec<(i32, i64, String, i16, String)> = retrying(|| async {
            sqlx::query_as(
                "SELECT place, sequence, event_type, event_version, payload FROM grantlog.events_after($1, $2, $3, $4)",
            )
            .bind(LANE)
            .bind(&kinds)
            .bind(&ids)
            .bind(&sequences)
            .fetch_all(&self.0)
            .await
        })
        .await?;
        let mut answers: Vec<Vec<EventRow>> = questions.iter().map(|_| Vec::new()).collect();
        for (place, sequence, event_type, version, payload) in rows {
            let slot = usize::try_from(place)
                .ok()
                .and_then(|place| answers.get_mut(place.checked_sub(1)?));
            if let Some(slot) = slot {
                slot.push(EventRow {
                    sequence,
                    event_type,
                    version,
                    payload,
                });
            }
        }
        Ok(answers)
    }
}

/// The state at `base` brought up to the ledger's last event.
pub(super) async fn advance<A: LedgerAggregate>(
    reader: &Gathered<EventsAfter>,
    id: Uuid,
    base: (i64, Arc<A>),
) -> Result<Loaded<A>, LedgerError> {
    let (mut sequence, mut state) = base;
    let rows = reader
        .ask(Expectation {
            kind: A::KIND,
            id,
            sequence,
        })
        .await?;
    if rows.is_empty() {
        return Ok(Loaded { id, sequence, state });
    }
    let folded = Arc::make_mut(&mut state);
    for row in rows {
        folded.apply(A::Event::decode(&row.event_type, row.version, &row.payload)?);
        sequence = row.sequence;
    }
    Ok(Loaded { id, sequence, state })
}

/// An event as it stands in the ledger.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its place in the whole log.
    pub position: i64,
    /// The aggregate's type.
    pub aggregate_type: String,
    /// The aggregate's id.
    pub aggregate_id: Uuid,
    /// Its place in the aggregate.
    pub sequence: i64,
    /// Its name.
    pub event_type: String,
    /// The version of its payload.
    pub event_version: i16,
    /// Canonical JSON.
    pub payload: String,
    /// Canonical JSON.
    pub metadata: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// One event of an aggregate, by sequence.
pub async fn recorded_event<A: LedgerAggregate>(
    pool: &PgPool,
    id: Uuid,
    sequence: i64,
) -> Result<Option<A::Event>, LedgerError> {
    let query = format!(
        "SELECT event_type, event_version, payload::text FROM grantlog.ledger_{kind} \
         WHERE lane = $1 AND aggregate_type = '{kind}' AND aggregate_id = $2 AND sequence = $3",
        kind = A::TYPE
    );
    let row: Option<(String, i16, String)> = retrying(|| async {
        sqlx::query_as(&query)
            .bind(LANE)
            .bind(id)
            .bind(sequence)
            .fetch_optional(pool)
            .await
    })
    .await?;
    Ok(row
        .map(|(event_type, version, payload)| A::Event::decode(&event_type, version, &payload))
        .transpose()?)
}

/// Reads again while connections break, for as long as a database needs to come back from a crash.
pub(crate) async fn retrying<T, F, R>(read: F) -> Result<T, sqlx::Error>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, sqlx::Error>>,
{
    let mut pause = Duration::from_millis(2);
    loop {
        match read().await {
            Err(error) if is_passing(&error) && pause < Duration::from_secs(2) => {
                tracing::debug!(%error, "reading again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
}

/// Whether a read that failed so may succeed on another connection.
fn is_passing(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Database(error) = error {
        let code = error.code();
        return code.is_some_and(|code| ["08", "57P", "40"].iter().any(|class| code.starts_with(class)));
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::PoolTimedOut
    )
}
