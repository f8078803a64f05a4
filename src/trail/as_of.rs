//! A moment or a position, as auditors name either.

use chrono::TimeDelta;

use super::when::{When, moment};
use crate::clock::Timestamp;
use crate::ledger::{Ledger, head_position, position_at, recorded_at};

/// Up to where the ledger is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Everything that was recorded by then.
    Time(When),
    /// Everything up to this position.
    Position(i64),
}

/// Why there is no such place in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum AsOfError {
    /// What will be recorded by then is not known.
    #[error("that moment has not come yet")]
    Future,
    /// What comes later would not be in it.
    #[error("the ledger ends at position {0}")]
    Beyond(i64),
    /// The database failed.
    #[error("the ledger could not be read")]
    Database(#[from] sqlx::Error),
}

impl std::str::FromStr for AsOf {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse() {
            return if position > 0 {
                Ok(Self::Position(position))
            } else {
                Err("positions begin with 1")
            };
        }
        moment(text).map(Self::Time).map_err(|_| {
            "it is neither a moment (2026-11-05T14:02:07Z), a day (2026-11-05), a time ago (14d) nor a position"
        })
    }
}

impl AsOf {
    /// The moment; none where it is a position.
    #[must_use]
    pub fn when(self) -> Option<When> {
        match self {
            Self::Time(when) => Some(when),
            Self::Position(_) => None,
        }
    }

    /// The moment, and of a position when that was recorded; of one that was detached, when the next one was.
    pub async fn moment(self, ledger: &Ledger) -> Result<Timestamp, AsOfError> {
        let now = ledger.clock().now();
        Ok(match self {
            Self::Time(when) => when.at(now),
            Self::Position(position) => recorded_at(ledger.pool(), position).await?.unwrap_or(now),
        })
    }

    /// The last position before it begins.
    pub async fn before(self, ledger: &Ledger) -> Result<i64, AsOfError> {
        Ok(match self {
            // A ledger's moments are microseconds.
            Self::Time(when) => {
                let at = when.at(ledger.clock().now()) - TimeDelta::microseconds(1);
                position_at(ledger.pool(), at).await?
            }
            Self::Position(position) => position - 1,
        })
    }

    /// The last position that it covers. A position that the ledger has not reached is refused: what comes later
    /// would not be in it.
    pub async fn position(self, ledger: &Ledger) -> Result<i64, AsOfError> {
        match self {
            Self::Time(when) => {
                let now = ledger.clock().now();
                let at = when.at(now);
                if at > now {
                    return Err(AsOfError::Future);
                }
                Ok(position_at(ledger.pool(), at).await?)
            }
            Self::Position(position) => {
                let head = head_position(ledger.pool()).await?;
                if position > head {
                    return Err(AsOfError::Beyond(head));
                }
                Ok(position)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_told_from_a_moment() {
        assert_eq!("17".parse(), Ok(AsOf::Position(17)));
        let at = |text: &str| AsOf::Time(When::At(text.parse().unwrap()));
        assert_eq!(
            "2026-11-05T15:02:07+01:00".parse(),
            Ok(at("2026-11-05T14:02:07Z"))
        );
        assert_eq!("2026-11-05".parse(), Ok(at("2026-11-05T00:00:00Z")));
        assert_eq!("2h".parse(), Ok(AsOf::Time(When::Ago(TimeDelta::hours(2)))));
        for bad in ["", "0", "-3", "yesterday", "2026-11", "2026-11-05T14:02:07", "2w"] {
            assert!(bad.parse::<AsOf>().is_err(), "{bad}");
        }
    }
}
