//! `--since` and `--until`.

use anyhow::{Context as _, bail, ensure};
use chrono::TimeDelta;

use crate::blast_radius::Window;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, recorded_at};
use crate::operations::Operations;
use crate::trail::as_of::AsOf;
use crate::trail::when::When;

/// The moments of `--since` and `--until`. A stretch in which nothing can have been recorded is a mistake, which must not
/// look like a stretch in which nothing was.
pub(super) fn stretch(
    (since, until): (Option<When>, Option<When>),
    now: Timestamp,
) -> anyhow::Result<(Option<Timestamp>, Option<Timestamp>)> {
    let (since, until) = (since.map(|since| since.at(now)), until.map(|until| until.at(now)));
    for (name, at) in [("--since", since), ("--until", until)] {
        if let Some(at) = at.filter(|at| *at > now) {
            bail!(
                "{name} {} is in the future: it is {} now",
                at.to_rfc3339(),
                now.to_rfc3339()
            );
        }
    }
    if let (Some(since), Some(until)) = (since, until)
        && until <= since
    {
        bail!(
            "--until {} is not after --since {}",
            until.to_rfc3339(),
            since.to_rfc3339()
        );
    }
    Ok((since, until))
}

/// The same where positions are taken, too: both are included.
pub(super) async fn window(
    operations: &Operations,
    (since, until): (Option<AsOf>, Option<AsOf>),
) -> anyhow::Result<Window> {
    let ledger = &operations.ledger;
    let moments = (since.and_then(AsOf::when), until.and_then(AsOf::when));
    let (from, to) = stretch(moments, ledger.clock().now())?;
    let mut window = Window::between(operations, from, to).await?;
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
    ensure!(
        window.stretch.after < window.stretch.upto || !(is_position(since) || is_position(until)),
        "there is no position from --since to --until"
    );
    Ok(window)
}

/// When a position was recorded; of one that was detached, when the next one was.
async fn time_of(ledger: &Ledger, position: i64) -> anyhow::Result<Timestamp> {
    let position = AsOf::Position(position).position(ledger).await?;
    let found = recorded_at(ledger.pool(), position).await?;
    found.with_context(|| format!("the ledger has nothing from position {position} on"))
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
            stretch((when(since), when(until)), now).map_err(|error| error.to_string())
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
