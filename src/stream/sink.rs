//! What a way to deliver is.

use std::pin::Pin;
use std::time::Duration;

use super::envelope::{Checkpoint, Envelope};

/// The longest that one call of a [`Sink`] may take: its stream is leased for longer than that.
pub const LONGEST: Duration = Duration::from_secs(20);

/// How long a sink takes over what, so that it can always say how far it has come before its stream's lease is over.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest wait for one answer.
    pub request: Duration,
    /// After how long a delivery of many requests makes no further one.
    pub turn: Duration,
}

impl Limits {
    /// Those of a lease: 10 and 5 seconds unless it is short. Together they are less than half of it.
    #[must_use]
    pub fn of(lease: Duration) -> Self {
        Self {
            request: Duration::from_secs(10).min(lease / 4),
            turn: Duration::from_secs(5).min(lease / 8),
        }
    }
}

/// A delivery under way.
pub type Delivering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to deliver events to one receiver.
///
/// It is called by one worker at a time, in order of positions. What it says is acknowledged is never handed to it
/// again, unless the node dies before that is written down; all the rest is. It returns within [`LONGEST`], if need be
/// with a part acknowledged and no failure: it is called again at once for the others. Dropped in the middle, it has
/// acknowledged nothing.
pub trait Sink: Send {
    /// Delivers events, in order; never called without any.
    fn deliver<'a>(&'a mut self, events: &'a [Envelope]) -> Delivering<'a, Delivery>;

    /// Delivers a checkpoint. It covers events that were delivered before; one that is not taken is tried again, or
    /// replaced by a newer one.
    fn checkpoint<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> Delivering<'a, Result<(), Failure>>;
}

/// How far a delivery came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How many of the events, from the first on, the receiver has for good.
    pub acknowledged: usize,
    /// What happened to the next one; none where nothing did.
    pub failure: Option<Failure>,
}

impl Delivery {
    /// So many were acknowledged, and nothing failed.
    #[must_use]
    pub fn of(acknowledged: usize) -> Self {
        Self {
            acknowledged,
            failure: None,
        }
    }

    /// So many were acknowledged, and the next was not.
    #[must_use]
    pub fn failed(acknowledged: usize, failure: Failure) -> Self {
        Self {
            acknowledged,
            failure: Some(failure),
        }
    }
}

/// Why a delivery was not acknowledged. It quotes nothing of what the receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A word for administrators and metrics, such as `status_503` or `timeout`.
    pub code: String,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the receiver wants nothing any more: the stream is paused.
    pub gone: bool,
}

impl Failure {
    /// It did not work, and may the next time.
    pub fn new(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            retry_after: None,
            gone: false,
        }
    }
}
