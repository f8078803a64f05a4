//! Back-tests: rules over history, in the ledger's time, with the code of the live engine and without any action.

mod whom;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::whom::{client_ids, complete, would_act};
use super::geoip::GeoIp;
use super::observed::{Kinds, Observed};
use super::rule::Finding;
use super::watch::{WIDE_WINDOW, WINDOW, Watching};
use super::{PolicyError, read};
use crate::clock::Timestamp;
use crate::domain::alert::{About, Severity};
use crate::domain::policy::{Action, PolicySettings};
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::Ledger;
use crate::trail;
use crate::trail::missing::{Missing, missing};

/// The most alerts that a report lists one by one.
pub const MAX_LISTED: usize = 1_000;
/// Windows that are read ahead while one is folded.
const AHEAD: usize = 2;
/// How many events a window is to have, about: what is held of history at once.
const FULL: i64 = 8_192;
/// The most bars of a histogram.
const MAX_BARS: i64 = 48;

/// A stretch of history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch {
    /// From when on; none means the beginning.
    pub since: Option<Timestamp>,
    /// Until when (that moment not included); none means now.
    pub until: Option<Timestamp>,
    /// The most positions that may be read, with those before it that the rules have to know; none means any number.
    pub most: Option<i64>,
}

/// How often a rule would have fired, on whom, and what it would have done. The same rule over the same positions gives
/// the same report.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "BacktestReport")]
pub struct Report {
    /// The rule.
    pub rule: String,
    /// Its version.
    pub rule_version: u32,
    /// SHA-256 of the rule and how it was set.
    pub rule_hash: Digest,
    /// What its policy would do.
    pub action: Action,
    /// The first position of the stretch.
    pub first_position: i64,
    /// The last one.
    pub last_position: i64,
    /// What of it could not be looked at: it has left the ledger.
    pub missing: Vec<Missing>,
    /// How many alerts there would have been.
    pub fired: u64,
    /// How grave.
    pub by_severity: BTreeMap<&'static str, u64>,
    /// About which clients, and how often.
    pub clients: BTreeMap<ClientKey, u64>,
    /// Their names (`client_id`).
    pub client_ids: BTreeMap<ClientKey, String>,
    /// About which users (`sub`).
    pub subjects: BTreeMap<SubjectId, u64>,
    /// About which networks, as digests keyed per month.
    pub networks: BTreeMap<Digest, u64>,
    /// What the policy's action would have been done to.
    pub would: Would,
    /// When.
    pub histogram: Histogram,
    /// The alerts, the first [`MAX_LISTED`].
    pub alerts: Vec<Listed>,
}

/// What an action would have been done to.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "BacktestEffect")]
pub struct Would {
    /// Grants that would have been revoked.
    pub revoke_grants: BTreeSet<GrantId>,
    /// Clients that would have been suspended.
    pub suspend_clients: BTreeSet<ClientKey>,
    /// Clients that would have been throttled.
    pub throttle_clients: BTreeSet<ClientKey>,
    /// Networks that would have been throttled, as digests keyed per month.
    pub throttle_networks: BTreeSet<Digest>,
    /// Users who would have had to log in again.
    pub fresh_logins: BTreeSet<SubjectId>,
}

/// How often it fired within equal stretches of time.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Histogram {
    /// How long each is, in seconds.
    pub bar_seconds: i64,
    /// When each begins, and how often the rule fired. Those without any are left out.
    pub bars: BTreeMap<Timestamp, u64>,
}

/// One alert that there would have been.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "BacktestAlert")]
pub struct Listed {
    /// The id that it has, or would have had.
    pub alert: Uuid,
    /// The position that it fired at.
    pub position: i64,
    /// When that was recorded.
    pub at: Timestamp,
    /// How grave.
    pub severity: Severity,
    /// Whom it is about.
    pub about: About,
    /// How much there was.
    pub count: u64,
    /// What was found.
    pub summary: String,
}

impl Report {
    fn new(watching: &Watching, (after, upto): (i64, i64)) -> Self {
        Self {
            rule: watching.definition.id.clone(),
            rule_version: watching.definition.version,
            rule_hash: watching.hash,
            action: watching.action,
            first_position: after + 1,
            last_position: upto,
            missing: Vec::new(),
            fired: 0,
            by_severity: BTreeMap::new(),
            clients: BTreeMap::new(),
            client_ids: BTreeMap::new(),
            subjects: BTreeMap::new(),
            networks: BTreeMap::new(),
            would: Would::default(),
            histogram: Histogram::default(),
            alerts: Vec::new(),
        }
    }

    /// Adds a finding about somebody. `acts`: whether the policy's action would have changed anything.
    fn add(
        &mut self,
        watching: &Watching,
        (finding, about, acts): (&Finding, About, bool),
        bar_seconds: i64,
    ) {
        let About {
            client,
            subject,
            network,
            ..
        } = about;
        let severity = finding.severity.unwrap_or(watching.definition.severity);
        self.fired += 1;
        *self.by_severity.entry(severity.name()).or_default() += 1;
        if let Some(client) = client {
            *self.clients.entry(client).or_default() += 1;
        }
        if let Some(subject) = subject {
            *self.subjects.entry(subject).or_default() += 1;
        }
        if let Some(network) = network {
            *self.networks.entry(network).or_default() += 1;
        }
        if acts {
            self.would.add(watching.action, about);
        }
        let begins = finding.at.timestamp().div_euclid(bar_seconds) * bar_seconds;
        if let Some(begins) = Timestamp::from_timestamp(begins, 0) {
            *self.histogram.bars.entry(begins).or_default() += 1;
        }
        if self.alerts.len() < MAX_LISTED {
            self.alerts.push(Listed {
                alert: finding.alert(&watching.definition),
                position: finding.position,
                at: finding.at,
                severity,
                about,
                count: finding.count,
                summary: finding.summary.clone(),
            });
        }
    }
}

impl Would {
    fn add(&mut self, action: Action, about: About) {
        let About {
            client,
            subject,
            grant,
            network,
        } = about;
        match action {
            Action::Alert => {}
            Action::Throttle => self.throttle_clients.extend(client),
            Action::ThrottleNetwork => self.throttle_networks.extend(network),
            Action::RequireFreshLogin => self.fresh_logins.extend(subject),
            Action::RevokeGrant => self.revoke_grants.extend(grant),
            Action::SuspendClient => self.suspend_clients.extend(client),
        }
    }
}

/// Runs rules over a stretch of history. `progress` is told how many positions were read, and of how many.
pub async fn run(
    ledger: &Ledger,
    rules: &[(String, PolicySettings)],
    (stretch, places): (Stretch, Option<Arc<GeoIp>>),
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<Vec<Report>, PolicyError> {
    let pool = ledger.pool();
    let mut connection = pool.acquire().await?;
    let head = read::head(&mut connection).await?;
    let after = match stretch.since {
        Some(since) => read::before(&mut connection, since, head).await?,
        None => 0,
    };
    let upto = match stretch.until {
        Some(until) => read::before(&mut connection, until, head).await?,
        None => head,
    };
    let upto = upto.max(after);
    let mut running = Vec::new();
    let mut positions = upto - after;
    for (rule, settings) in rules {
        let watching = Watching::checked(rule, settings)?;
        positions += after - watching.learns_after(&mut connection, after).await?;
        running.push((Report::new(&watching, (after, upto)), watching));
    }
    if let Some(most) = stretch.most.filter(|most| positions > *most) {
        return Err(PolicyError::TooMuch { positions, most });
    }
    for (_, watching) in &mut running {
        watching.learn(&mut connection, after).await?;
    }
    let bar_seconds = bar_seconds(&mut connection, (after, upto)).await?;
    drop(connection);
    let wants = running.iter().fold(Kinds::default(), |kinds, (_, watching)| {
        kinds.with(watching.rule.wants())
    });
    let wants_places = running.iter().any(|(_, watching)| watching.rule.wants_places());
    let mut windows = Windows::new(pool.clone(), (after, upto), wants);
    while let Some((end, events)) = windows.next().await? {
        for mut event in events {
            if let (true, Some(places)) = (wants_places, &places) {
                event.place = places.locate(ledger, &event).await?;
            }
            for (report, watching) in &mut running {
                for finding in watching.observe(&event) {
                    let about = complete(pool, finding.about).await?;
                    let acts = finding.acts && would_act(pool, watching.action, &finding).await?;
                    report.add(watching, (&finding, about, acts), bar_seconds);
                }
            }
        }
        let read = |position: i64| u64::try_from(position - after).unwrap_or_default();
        progress(read(end), read(upto));
    }
    let missing = missing(pool, trail::Stretch { after, upto }).await?;
    let mut reports = Vec::new();
    for (mut report, _) in running {
        report.client_ids = client_ids(pool, &report.clients).await?;
        report.missing.clone_from(&missing);
        report.histogram.bar_seconds = bar_seconds;
        reports.push(report);
    }
    Ok(reports)
}

/// How long a bar is, so that there are not too many: an hour, a day, or more.
async fn bar_seconds(
    connection: &mut sqlx::PgConnection,
    (after, upto): (i64, i64),
) -> Result<i64, PolicyError> {
    let first = read::recorded_at(connection, after + 1).await?;
    let last = read::recorded_at(connection, upto).await?;
    let length = match (first, last) {
        (Some(first), Some(last)) => (last - first).num_seconds(),
        (None, _) | (_, None) => 0,
    };
    let usual = [60, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400];
    let fits = usual.into_iter().find(|seconds| length / seconds < MAX_BARS);
    Ok(fits.unwrap_or(365 * 86_400))
}

type Reading = JoinHandle<Result<Vec<Observed>, PolicyError>>;

/// Windows of the ledger, read ahead, in order.
struct Windows {
    pool: PgPool,
    asked: i64,
    upto: i64,
    wants: Kinds,
    /// Positions that are asked for at once.
    width: i64,
    ahead: VecDeque<((i64, i64), Reading)>,
}

impl Windows {
    fn new(pool: PgPool, (after, upto): (i64, i64), wants: Kinds) -> Self {
        Self {
            pool,
            asked: after,
            upto,
            wants,
            width: WINDOW,
            ahead: VecDeque::new(),
        }
    }

    /// The next window's last position and events; none after the last.
    async fn next(&mut self) -> Result<Option<(i64, Vec<Observed>)>, PolicyError> {
        while self.ahead.len() < AHEAD && self.asked < self.upto {
            let range = (self.asked, self.upto.min(self.asked + self.width));
            let (pool, wants) = (self.pool.clone(), self.wants);
            let reading = tokio::spawn(async move {
                let mut connection = pool.acquire().await?;
                read::between(&mut connection, range, wants).await
            });
            self.asked = range.1;
            self.ahead.push_back((range, reading));
        }
        let Some(((after, end), reading)) = self.ahead.pop_front() else {
            return Ok(None);
        };
        let events = reading.await.map_err(|_| PolicyError::Reader)??;
        // As wide as the last one shows that it has to be.
        let found = i64::try_from(events.len()).unwrap_or(i64::MAX).max(1);
        self.width = ((end - after) * FULL / found).clamp(WINDOW, WIDE_WINDOW);
        Ok(Some((end, events)))
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        for (_, reading) in &self.ahead {
            reading.abort();
        }
    }
}
