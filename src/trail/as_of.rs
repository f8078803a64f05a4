//! A moment or a position, as auditors name either.

use chrono::{DateTime, TimeDelta};

use crate::clock::Timestamp;
use crate::ledger::{Ledger, head_position, position_at};

/// Up to where the ledger is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Everything that was recorded by then.
    Time(Timestamp),
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
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self::Time(at.to_utc()))
            .map_err(|_| "it is neither a moment such as 2026-11-05T14:02:07Z nor a position")
    }
}

impl AsOf {
    /// The last position before it begins.
    pub async fn before(self, ledger: &Ledger) -> Result<i64, AsOfError> {
        Ok(match self {
            // A ledger's moments are microseconds.
            Self::Time(at) => position_at(ledger.pool(), at - TimeDelta::microseconds(1)).await?,
            Self::Position(position) => position - 1,
        })
    }

    /// The last position that it covers. A position that the ledger has not reached is refused: what comes later
    /// would not be in it.
    pub async fn position(self, ledger: &Ledger) -> Result<i64, AsOfError> {
        match self {
            Self::Time(at) if at > ledger.clock().now() => Err(AsOfError::Future),
            Self::Time(at) => Ok(position_at(ledger.pool(), at).await?),
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
        let at = DateTime::parse_from_rfc3339("2026-11-05T14:02:07Z")
            .unwrap()
            .to_utc();
        assert_eq!("2026-11-05T15:02:07+01:00".parse(), Ok(AsOf::Time(at)));
        for bad in ["", "0", "-3", "yesterday", "2026-11-05", "2026-11-05T14:02:07"] {
            assert!(bad.parse::<AsOf>().is_err(), "{bad}");
        }
    }
}
