//! Moments and times as auditors write them.

use chrono::{DateTime, NaiveDate, TimeDelta};

use crate::clock::Timestamp;

/// A moment, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Then.
    At(Timestamp),
    /// So long before now.
    Ago(TimeDelta),
}

impl When {
    /// The moment, seen from now.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now - ago,
        }
    }
}

/// Reads a moment (RFC 3339), a day (its beginning in UTC) or a time before now.
pub fn moment(text: &str) -> Result<When, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(When::At(at.to_utc()));
    }
    let day = text
        .parse::<NaiveDate>()
        .ok()
        .and_then(|day| day.and_hms_opt(0, 0, 0));
    if let Some(day) = day {
        return Ok(When::At(day.and_utc()));
    }
    duration(text)
        .map(|seconds| When::Ago(TimeDelta::seconds(seconds.into())))
        .map_err(|_| {
            "it is not a moment (2026-11-05T14:02:07Z), a day (2026-11-05) or a time (14d)".to_owned()
        })
}

/// Reads a time such as `90s`, `10m`, `1h` or `14d`, in seconds.
pub fn duration(text: &str) -> Result<u32, String> {
    let wrong = || "it is not a time such as 90s, 10m, 1h or 14d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    count.checked_mul(seconds).ok_or_else(wrong)
}
