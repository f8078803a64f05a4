//! The rebuild's benchmark: fills a scratch database with synthetic grants and rebuilds every projection.

mod synthetic;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::error::ProjectionError;
use super::rebuild::{Progress, Rebuilt, rebuild};
use super::{NAMES, Recorded};
use crate::clock::{Randomness, RandomnessUnavailable};
use crate::crypto::master::MasterKey;
use crate::crypto::vault::Vault;
use crate::domain::LedgerEvent;
use crate::domain::event::Event;
use crate::domain::value::Digest;
use crate::ledger::{LANE, head_position, migrate};
use synthetic::Source;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Events in the ledger.
    pub events: i64,
    /// How long the rebuild took and how far it came.
    pub rebuilt: Rebuilt,
    /// Events per second of the rebuild, from the first statement to the swap.
    pub events_per_second: f64,
    /// The most memory that this process held during the rebuild, in KiB, where the system tells.
    pub peak_rss_kib: Option<u64>,
}

/// Events per COPY.
const CHUNK: usize = 20_000;

impl From<RandomnessUnavailable> for ProjectionError {
    fn from(error: RandomnessUnavailable) -> Self {
        Self::Bench(error.to_string())
    }
}

/// Creates a scratch database on the server of `owner` (a role that may), fills it with about that many events,
/// rebuilds every projection as the application's role, and drops the database.
pub async fn rebuild_benchmark(
    owner: &PgConnectOptions,
    events: u64,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Figures, ProjectionError> {
    let name = format!("grantlog_bench_{}", Randomness::default().uuid()?.simple());
    let mut server = owner.connect().await?;
    super::install::execute(&mut server, &format!("CREATE DATABASE {name}")).await?;
    let figures = in_database(&owner.clone().database(&name), events, progress).await;
    super::install::execute(&mut server, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    server.close().await?;
    figures
}

async fn in_database(
    owner: &PgConnectOptions,
    events: u64,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Figures, ProjectionError> {
    migrate::run(owner.to_url_lossy().as_str())
        .await
        .map_err(|error| ProjectionError::Bench(error.to_string()))?;
    let mut connection = owner.connect().await?;
    let written = fill(&mut connection, events, Circumstances::Bare).await?;
    connection.close().await?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect_lazy_with(owner.clone().username("grantlog_app"));
    let random = Randomness::default();
    let vault = Vault::new(
        MasterKey::from_bytes(random.bytes()?).into(),
        random,
        pool.clone(),
    );
    reset_peak_rss();
    let rebuilt = rebuild(&pool, &vault, &NAMES, progress).await?;
    let peak_rss_kib = peak_rss_kib();
    pool.close().await;
    Ok(Figures {
        events: written,
        rebuilt,
        events_per_second: per_second(rebuilt.events, rebuilt.took),
        peak_rss_kib,
    })
}

fn per_second(events: u64, took: Duration) -> f64 {
    f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / took.as_secs_f64().max(f64::EPSILON)
}

/// Lets the high-water mark of this process's memory start anew, where the system can (Linux).
pub(crate) fn reset_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process held since, in KiB, where the system tells.
pub(crate) fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What the metadata of synthetic events says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circumstances {
    /// Who, where, and by which request.
    Bare,
    /// What a request over HTTP has besides: how the client authenticated, its network, and a sealed address.
    Full,
}

/// Writes synthetic events straight into the ledger, as its owner, and returns how many.
pub async fn fill(
    connection: &mut PgConnection,
    events: u64,
    circumstances: Circumstances,
) -> Result<i64, ProjectionError> {
    let head = head_position(&mut *connection).await?;
    let mut source = Source::new(head, events)?;
    let mut left = events;
    let mut chunk = source.births();
    while left > 0 {
        let count = left.min(u64::try_from(CHUNK).unwrap_or(left));
        for _ in 0..count {
            let event = source.next()?;
            chunk.push(event);
        }
        left -= count;
        copy(connection, &chunk, circumstances).await?;
        chunk.clear();
    }
    sqlx::query("UPDATE grantlog.head SET position = $2, recorded_at = $3 WHERE lane = $1")
        .bind(LANE)
        .bind(source.position)
        .bind(source.now())
        .execute(&mut *connection)
        .await?;
    super::install::execute(connection, "ANALYZE grantlog.ledger").await?;
    Ok(source.position - head)
}

async fn copy(
    connection: &mut PgConnection,
    events: &[Recorded],
    circumstances: Circumstances,
) -> Result<(), ProjectionError> {
    let mut text = String::with_capacity(events.len() * 900);
    for event in events {
        write_line(&mut text, event, circumstances)?;
    }
    let mut copy = connection
        .copy_in_raw(
            "COPY grantlog.ledger (lane, aggregate_type, aggregate_id, sequence, position, command_id, \
             event_type, event_version, payload, metadata, recorded_at) FROM STDIN",
        )
        .await?;
    copy.send(text.into_bytes()).await?;
    copy.finish().await?;
    Ok(())
}

/// Each event is of a request of its own; a grant stays in its network.
fn metadata(event: &Recorded, circumstances: Circumstances) -> String {
    let request = uuid::Uuid::from_u128(u128::from(event.position.unsigned_abs()));
    let actor = "client:00000000-0000-4000-8000-000000000000";
    if circumstances == Circumstances::Bare {
        return format!(r#"{{"actor":"{actor}","endpoint":"/oauth/token","request_id":"{request}"}}"#);
    }
    let network = Digest::of(event.aggregate_id.as_bytes().last_chunk::<1>().unwrap_or(&[0]));
    let sealed = "c3ludGhldGlj".repeat(10);
    format!(
        r#"{{"actor":"{actor}","agent":"go","authentication":{{"method":"client_secret_basic","secret":1}},"caller":"{sealed}","endpoint":"/oauth/token","network":"{network}","request_id":"{request}","trace_id":null}}"#
    )
}

fn write_line(
    text: &mut String,
    event: &Recorded,
    circumstances: Circumstances,
) -> Result<(), ProjectionError> {
    let (kind, name, version, payload) = match &event.event {
        Event::Client(inner) => ("client", inner.name(), inner.version(), inner.payload()),
        Event::User(inner) => ("user", inner.name(), inner.version(), inner.payload()),
        Event::Grant(inner) => ("grant", inner.name(), inner.version(), inner.payload()),
        Event::Scope(_)
        | Event::Session(_)
        | Event::Consent(_)
        | Event::Refusal(_)
        | Event::SigningKey(_)
        | Event::Trail(_)
        | Event::InitialAccessToken(_)
        | Event::TrustedIssuer(_)
        | Event::SsfStream(_)
        | Event::Policy(_)
        | Event::Network(_)
        | Event::TokenUse(_)
        | Event::Stream(_)
        | Event::Alert(_)
        | Event::AuthorizationDetailType(_) => {
            return Err(ProjectionError::Bench("no such synthetic event".to_owned()));
        }
    };
    let payload = payload.map_err(|error| ProjectionError::Bench(error.to_string()))?;
    let (id, sequence, position) = (event.aggregate_id, event.sequence, event.position);
    let line = [
        LANE.to_string(),
        kind.to_owned(),
        id.to_string(),
        sequence.to_string(),
        position.to_string(),
        id.to_string(),
        name.to_owned(),
        version.to_string(),
        payload.replace('\\', "\\\\"),
        metadata(event, circumstances),
        event.recorded_at.to_rfc3339(),
    ];
    text.push_str(&line.join("\t"));
    text.push('\n');
    Ok(())
}
