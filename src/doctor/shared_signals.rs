//! Shared signals: whether receivers take what they are to hear of.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Findings;
use crate::config::Settings;
use crate::ledger::LANE;
use crate::ssf::MAX_AGE_DAYS;

const NAME: &str = "shared signals";
/// From how many seconds on a delay of ours is worth a word.
const LATE: f64 = 300.0;
/// From how many seconds on tokens that nobody takes are.
const NEGLECTED: f64 = 24.0 * 3600.0;
/// The most receivers that are named one by one.
const MOST: usize = 20;

/// How a stream of a receiver stands.
struct Receiver {
    stream_id: Uuid,
    client_id: String,
    status: String,
    push: bool,
    attempts: i32,
    waiting: i64,
    oldest: f64,
}

/// How the reader of signals and the receivers stand.
pub(super) async fn check(
    connection: &mut PgConnection,
    settings: &Settings,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let receivers = receivers(connection).await?;
    let (lag, seconds) = lag(connection).await?;
    // Where the ledger is read, a server has them on, whatever the settings here say.
    if !settings.shared_signals && (receivers.is_empty() || seconds > LATE) {
        off(&receivers, findings);
        return Ok(());
    }
    if seconds > LATE {
        findings.warn(
            NAME,
            format!("{lag} events and {seconds:.0} seconds behind"),
            "is a server running with shared_signals on? Its log says what stops it",
        );
    }
    let waiting: i64 = receivers.iter().map(|receiver| receiver.waiting).sum();
    let of = |status: &str| receivers.iter().filter(|one| one.status == status).count();
    findings.ok(
        NAME,
        format!(
            "{} streams ({} paused, {} disabled); {waiting} tokens wait, {lag} events behind",
            receivers.len(),
            of("paused"),
            of("disabled")
        ),
    );
    let troubled = receivers.iter().filter(|one| one.trouble().is_some());
    for receiver in troubled.take(MOST) {
        receiver.warn(findings);
    }
    Ok(())
}

fn off(receivers: &[Receiver], findings: &mut Findings) {
    if receivers.is_empty() {
        findings.ok(NAME, "off");
    } else {
        findings.warn(
            NAME,
            format!("off, and {} streams are told nothing", receivers.len()),
            "set shared_signals alike on all nodes",
        );
    }
}

impl Receiver {
    /// What is wrong with it.
    fn trouble(&self) -> Option<String> {
        if self.status != "enabled" || self.waiting == 0 {
            return None;
        }
        if self.push && self.attempts > 0 {
            return Some(format!("sent {} times in vain", self.attempts));
        }
        (self.oldest > NEGLECTED).then(|| "nobody takes them".to_owned())
    }

    fn warn(&self, findings: &mut Findings) {
        let Some(trouble) = self.trouble() else {
            return;
        };
        let (stream, client, waiting) = (self.stream_id, &self.client_id, self.waiting);
        let hours = self.oldest / 3600.0;
        let found = format!(
            "{stream} of {client}: {waiting} tokens wait, the oldest for {hours:.1} of {} hours: {trouble}",
            MAX_AGE_DAYS * 24
        );
        let advice = "see that the client is active and approved for ssf.manage or ssf.read, and that its endpoint \
                      answers: when the time is over, its stream is disabled and what waits is dropped";
        findings.warn(NAME, found, advice);
    }
}

/// How many events the reader of signals is behind, and how old the first of them is, in seconds.
async fn lag(connection: &mut PgConnection) -> Result<(i64, f64), sqlx::Error> {
    sqlx::query_as(
        "SELECT greatest(h.position - c.position, 0), \
                greatest(coalesce(extract(epoch FROM clock_timestamp() - \
                    (SELECT l.recorded_at FROM grantlog.ledger AS l \
                     WHERE l.lane = $1 AND l.position > c.position ORDER BY l.position LIMIT 1)), 0), 0) \
                    ::double precision \
         FROM grantlog.ssf_cursor AS c, grantlog.head AS h WHERE h.lane = $1",
    )
    .bind(LANE)
    .fetch_one(connection)
    .await
}

async fn receivers(connection: &mut PgConnection) -> Result<Vec<Receiver>, sqlx::Error> {
    let rows: Vec<(Uuid, String, String, bool, i32, i64, f64)> = sqlx::query_as(
        "SELECT s.stream_id, coalesce(( \
                    SELECT l.payload->>'client_id' FROM grantlog.ledger AS l \
                    WHERE l.lane = $1 AND l.aggregate_type = 'client' AND l.aggregate_id = s.client \
                    AND l.sequence = 1), s.client::text), \
                s.status, s.push, s.attempts, count(t.number), \
                coalesce(extract(epoch FROM clock_timestamp() - min(t.waits_since)), 0)::double precision AS oldest \
         FROM grantlog.ssf_streams AS s LEFT JOIN grantlog.ssf_sets AS t USING (stream_id) \
         GROUP BY s.stream_id ORDER BY oldest DESC, s.stream_id",
    )
    .bind(LANE)
    .fetch_all(connection)
    .await?;
    let receiver = |(stream_id, client_id, status, push, attempts, waiting, oldest)| Receiver {
        stream_id,
        client_id,
        status,
        push,
        attempts,
        waiting,
        oldest,
    };
    Ok(rows.into_iter().map(receiver).collect())
}
