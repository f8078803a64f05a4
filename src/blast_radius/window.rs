//! Between which moments or positions it is measured.

use chrono::TimeDelta;

use super::Window;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, positions_between, recorded_at};
use crate::operations::Operations;
use crate::trail::Stretch;
use crate::trail::as_of::AsOf;
use crate::trail::bounds::{BoundsError, Names, moments};

impl Window {
    /// The window between two moments or positions, which are both in it; from the beginning, and until now, where
    /// nothing is said.
    pub async fn asked(
        operations: &Operations,
        names: Names,
        (since, until): (Option<AsOf>, Option<AsOf>),
    ) -> Result<Self, BoundsError> {
        let ledger = &operations.ledger;
        let asked = (since.and_then(AsOf::when), until.and_then(AsOf::when));
        let now = ledger.clock().now();
        let (from, to) = moments(names, asked, now)?;
        let (after, upto) = positions_between(ledger.pool(), from, to).await?;
        let mut window = Self {
            since: from,
            until: to.unwrap_or(now),
            stretch: Stretch { after, upto },
        };
        if let Some(AsOf::Position(first)) = since {
            window.since = Some(time_of(ledger, first).await?);
            window.stretch.after = first - 1;
        }
        if let Some(AsOf::Position(last)) = until {
            // What was recorded at that moment is in it.
            window.until = time_of(ledger, last).await? + TimeDelta::microseconds(1);
            window.stretch.upto = last;
        }
        let is_position = |bound: Option<AsOf>| matches!(bound, Some(AsOf::Position(_)));
        if window.stretch.after >= window.stretch.upto && (is_position(since) || is_position(until)) {
            return Err(BoundsError::NoPosition(names));
        }
        Ok(window)
    }
}

/// When a position was recorded; of one that was detached, when the next one was.
async fn time_of(ledger: &Ledger, position: i64) -> Result<Timestamp, BoundsError> {
    let position = AsOf::Position(position).position(ledger).await?;
    let found = recorded_at(ledger.pool(), position).await?;
    found.ok_or(BoundsError::Gone(position))
}
