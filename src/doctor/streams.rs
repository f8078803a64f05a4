//! The streams: whether what should reach others does.

use sqlx::PgConnection;

use super::Findings;
use crate::domain::stream::Stream;
use crate::ledger::LANE;
use crate::stream::{self, StreamStatus};

/// From how many seconds on a delay is worth a word.
const LATE: f64 = 300.0;

/// How each stream stands.
pub(super) async fn streams(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let all = stream::status(&mut *connection).await?;
    if all.is_empty() {
        findings.ok("streams", "none");
        return Ok(());
    }
    for status in all {
        let paused = is_paused(connection, &status).await?;
        judge(&status, paused, findings);
    }
    Ok(())
}

/// Whether the last thing that was said of it is that it stands still.
async fn is_paused(connection: &mut PgConnection, status: &StreamStatus) -> Result<bool, sqlx::Error> {
    debug_assert_eq!(status.stream, Stream::id(&status.name));
    let last: Option<String> = sqlx::query_scalar(
        "SELECT event_type FROM grantlog.ledger_stream WHERE lane = $1 AND aggregate_type = 'stream' AND aggregate_id = $2 \
         AND event_type IN ('StreamDefined', 'StreamPaused', 'StreamResumed') ORDER BY sequence DESC LIMIT 1",
    )
    .bind(LANE)
    .bind(status.stream)
    .fetch_optional(connection)
    .await?;
    Ok(last.as_deref() == Some("StreamPaused"))
}

fn judge(status: &StreamStatus, paused: bool, findings: &mut Findings) {
    let name = &status.name;
    let found = format!(
        "{name}: {} events and {:.0} seconds behind",
        status.lag(),
        status.lag_seconds
    );
    if paused {
        findings.warn(
            "streams",
            format!("{found}; it is paused"),
            "let it go on with grantlog stream resume, or remove it",
        );
    } else if let Some(error) = &status.error {
        findings.warn(
            "streams",
            format!("{found}; failing since its attempt {}: {error}", status.attempts),
            "mend the receiver: nothing is lost, and the stream tries again by itself",
        );
    } else if status.lag_seconds > LATE {
        findings.warn(
            "streams",
            found,
            "is a server running, and is the receiver fast enough? A larger batch helps",
        );
    } else if status.dead_letters == 0 {
        findings.ok("streams", found);
    }
    if status.dead_letters > 0 {
        findings.warn(
            "streams",
            format!("{name}: {} events were given up on", status.dead_letters),
            "see grantlog stream dead-letters, then grantlog stream redeliver, or discard",
        );
    }
}
