//! Since when and until when something is looked at.

use super::as_of::AsOfError;
use super::when::When;
use crate::clock::Timestamp;

/// How whoever asks calls the two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Since when.
    pub since: &'static str,
    /// Until when.
    pub until: &'static str,
}

impl Names {
    /// Options of a command.
    pub const OPTIONS: Self = Self {
        since: "--since",
        until: "--until",
    };
    /// Members of a call.
    pub const MEMBERS: Self = Self {
        since: "since",
        until: "until",
    };
}

/// Why there is nothing between two bounds. Where nothing can have been recorded it is a mistake to ask, which must not
/// look like a stretch in which nothing was.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// A moment has not come yet.
    #[error("{name} {} is in the future: it is {} now", .at.to_rfc3339(), .now.to_rfc3339())]
    Future {
        /// Which bound.
        name: &'static str,
        /// That moment.
        at: Timestamp,
        /// The moment of asking.
        now: Timestamp,
    },
    /// The end does not come after the beginning.
    #[error("{} {} is not after {} {}", .names.until, .until.to_rfc3339(), .names.since, .since.to_rfc3339())]
    Empty {
        /// What the bounds are called.
        names: Names,
        /// The beginning.
        since: Timestamp,
        /// The end.
        until: Timestamp,
    },
    /// The same of positions.
    #[error("there is no position from {} to {}", .0.since, .0.until)]
    NoPosition(Names),
    /// Nothing is left from a position on.
    #[error("the ledger has nothing from position {0} on")]
    Gone(i64),
    /// There is no such place in the ledger.
    #[error(transparent)]
    Place(#[from] AsOfError),
    /// The database failed.
    #[error("the ledger could not be read")]
    Database(#[from] sqlx::Error),
}

/// The moments of two bounds.
pub fn moments(
    names: Names,
    (since, until): (Option<When>, Option<When>),
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), BoundsError> {
    let (since, until) = (since.map(|since| since.at(now)), until.map(|until| until.at(now)));
    for (name, at) in [(names.since, since), (names.until, until)] {
        if let Some(at) = at.filter(|at| *at > now) {
            return Err(BoundsError::Future { name, at, now });
        }
    }
    match (since, until) {
        (Some(since), Some(until)) if until <= since => Err(BoundsError::Empty { names, since, until }),
        bounds => Ok(bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::when::moment;

    #[test]
    fn a_stretch_that_nothing_can_lie_in_is_refused_with_the_reason() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let asked = |since: Option<&str>, until: Option<&str>| {
            let when = |text: Option<&str>| text.map(|text| moment(text).unwrap());
            moments(Names::OPTIONS, (when(since), when(until)), now).map_err(|error| error.to_string())
        };
        assert_eq!(asked(None, None), Ok((None, None)));
        assert!(asked(Some("2h"), Some("1h")).is_ok());
        assert!(asked(None, Some("2026-11-22T12:00:00Z")).is_ok());
        for (since, until, why) in [
            (Some("1h"), Some("2h"), "is not after --since"),
            (Some("2026-11-01"), Some("2026-11-01"), "is not after --since"),
            (
                Some("2026-11-23"),
                None,
                "--since 2026-11-23T00:00:00+00:00 is in the future",
            ),
            (
                Some("1h"),
                Some("2027-01-01"),
                "--until 2027-01-01T00:00:00+00:00 is in the future",
            ),
        ] {
            let refused = asked(since, until).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
