//! Time and randomness, the two inputs that decisions take as arguments.
//!
//! Time is the ledger's: the database's clock, followed by an offset to this machine's, so that every node
//! compares expiry and grace periods on one clock. This module alone reads the machine's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

/// A moment, in UTC, to the microsecond (what Postgres stores).
pub type Timestamp = DateTime<Utc>;

/// The ledger's clock as this node sees it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
    shift_micros: Arc<AtomicI64>,
}

impl Clock {
    /// Now, on the ledger's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let micros = self.offset_micros.load(Ordering::Relaxed) + self.shift_micros.load(Ordering::Relaxed);
        (machine_now() + TimeDelta::microseconds(micros)).trunc_subsecs(6)
    }

    /// Follows the database: `recorded` is its clock somewhere between `before` and now.
    pub fn follow(&self, before: Timestamp, recorded: Timestamp) {
        let after = machine_now();
        let middle = before + (after - before) / 2;
        if let Some(micros) = (recorded - middle).num_microseconds() {
            self.offset_micros.store(micros, Ordering::Relaxed);
        }
    }

    /// Moves this clock forward, for tests that must not wait for an expiry.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.shift_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// This machine's clock, for measuring the database's offset.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's clock"
)]
pub fn machine_now() -> Timestamp {
    Utc::now().trunc_subsecs(6)
}

/// A monotonic reading, for durations only.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's clock"
)]
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// The system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source failed")]
pub struct RandomnessUnavailable;

/// A source of unpredictable bytes.
#[derive(Clone, Debug, Default)]
pub struct Randomness(Arc<SystemRandom>);

impl Randomness {
    /// `N` fresh random bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], RandomnessUnavailable> {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes).map_err(|_| RandomnessUnavailable)?;
        Ok(bytes)
    }

    /// A random UUID (version 4).
    pub fn uuid(&self) -> Result<Uuid, RandomnessUnavailable> {
        Ok(uuid::Builder::from_random_bytes(self.bytes()?).into_uuid())
    }

    /// A UUID whose first 48 bits are `at` in milliseconds (version 7), which places it in a partition.
    pub fn uuid_at(&self, at: Timestamp) -> Result<Uuid, RandomnessUnavailable> {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()?).into_uuid())
    }
}
