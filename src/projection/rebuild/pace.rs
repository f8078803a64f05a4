//! Giving way: a rebuild works as fast as it can while nobody appends, and rests between pages while somebody
//! does, so that token requests keep most of the machine.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use crate::ledger::head_position;

/// How long to rest, in times of the work since the last rest.
const REST: u32 = 2;
/// The longest rest.
const LONGEST: Duration = Duration::from_secs(2);
/// Fewer appended events per second than this are not worth resting for.
const BUSY: u64 = 20;

/// Watches the ledger's head between pieces of work.
pub(super) struct Pace {
    head: i64,
    since: Instant,
}

impl Pace {
    pub(super) async fn start(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        Ok(Self {
            head: head_position(&mut *connection).await?,
            since: Instant::now(),
        })
    }

    /// Whether events were appended since the last look, more than now and then.
    pub(super) async fn is_busy(&mut self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let (now, took) = (head_position(&mut *connection).await?, self.since.elapsed());
        let appended = u128::from(now.abs_diff(self.head));
        self.head = now;
        self.since = Instant::now();
        Ok(appended * 1000 > u128::from(BUSY) * took.as_millis().max(1))
    }

    /// Rests after a piece of work, where somebody appended meanwhile.
    pub(super) async fn rest(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let took = self.since.elapsed();
        if self.is_busy(connection).await? {
            tokio::time::sleep((took * REST).min(LONGEST)).await;
            self.since = Instant::now();
        }
        Ok(())
    }
}
