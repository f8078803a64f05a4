//! What follows from a delivery: pure, so that every fault can be tried.

use std::time::Duration;

use super::sink::{Delivery, Failure};
use crate::domain::stream::{OnFailure, StreamDefinition};

/// The pause after a first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two attempts, unless the receiver asks for more.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The longest pause that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here is dealt with.
    pub position: i64,
    /// Failures in a row since it came here.
    pub attempts: u32,
}

/// What comes next: the positions of the events that pass the filter, and up to where the ledger was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// In order; all are after the stream's position.
    pub positions: Vec<i64>,
    /// No event up to here that passes the filter is missing.
    pub upto: i64,
}

/// What is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is well, up to here.
    Advance {
        /// The new position.
        to: i64,
    },
    /// Up to here it is; the next was not acknowledged and is tried again.
    Retry {
        /// The new position.
        to: i64,
        /// Failures in a row there.
        attempts: u32,
        /// When to try again.
        pause: Duration,
        /// What happened.
        failure: Failure,
    },
    /// The stream gives up on one event and goes on after it.
    GiveUp {
        /// Its position, which is the stream's new one.
        position: i64,
        /// How often it was tried.
        attempts: u32,
        /// What happened at last.
        failure: Failure,
    },
    /// The receiver wants nothing any more.
    Pause {
        /// The new position.
        to: i64,
        /// What it said.
        failure: Failure,
    },
}

/// How many events the next delivery has at most. One that failed is tried again with half of them, so that a receiver
/// that chokes on one event gets all before it; the last attempt has one event, and gives up on no other.
#[must_use]
pub fn batch_size(progress: Progress, definition: &StreamDefinition) -> u32 {
    if progress.attempts + 1 >= definition.attempts {
        return 1;
    }
    definition
        .batch
        .checked_shr(progress.attempts)
        .unwrap_or(0)
        .max(1)
}

/// What follows from a delivery. `jitter` is random, from 0 to 1.
#[must_use]
pub fn settle(
    progress: Progress,
    window: &Window,
    delivery: Delivery,
    definition: &StreamDefinition,
    jitter: f64,
) -> Step {
    let reached = match window.positions.get(..delivery.acknowledged) {
        Some(part) if part.len() < window.positions.len() => part.last().copied(),
        // All of them, so that nothing up to the end of the window is missing.
        Some(_) | None => Some(window.upto),
    };
    let reached = reached.unwrap_or(progress.position);
    let nothing = delivery.acknowledged == 0 && !window.positions.is_empty();
    let silent = nothing.then(|| Failure::new("not_acknowledged"));
    let Some(failure) = delivery.failure.or(silent) else {
        return Step::Advance { to: reached };
    };
    if failure.gone {
        return Step::Pause { to: reached, failure };
    }
    let attempts = if reached > progress.position {
        1
    } else {
        progress.attempts.saturating_add(1)
    };
    let exhausted = attempts >= definition.attempts && delivery.acknowledged == 0;
    let gives_up = definition.on_failure == OnFailure::DeadLetter && exhausted;
    match window.positions.as_slice() {
        [only] if gives_up => Step::GiveUp {
            position: *only,
            attempts,
            failure,
        },
        _ => Step::Retry {
            to: reached,
            attempts,
            pause: pause(attempts, failure.retry_after, jitter),
            failure,
        },
    }
}

/// 1 second, 2, 4 … 5 minutes, each less up to a half at random, so that streams that failed together do not come back
/// together; longer where the receiver asks for it.
fn pause(attempts: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let whole = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let own = whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests;
