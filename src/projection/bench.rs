//! The rebuild's benchmark: fills a scratch database with synthetic grants and rebuilds every projection.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use uuid::Uuid;

use super::error::ProjectionError;
use super::rebuild::{Progress, Rebuilt, rebuild};
use super::{NAMES, Recorded};
use crate::clock::{Randomness, RandomnessUnavailable, Timestamp, machine_now};
use crate::crypto::master::MasterKey;
use crate::crypto::vault::Vault;
use crate::domain::LedgerEvent;
use crate::domain::client::{
    AuthMethod, ClientEvent, ClientMetadata, ClientRegistered, GrantType, TokenAlgorithm,
};
use crate::domain::event::Event;
use crate::domain::grant::{
    AccessToken, CodeIssued, CodeRedeemed, GrantEvent, Reason, RefreshRotated, RefreshToken, Target,
    TokenIssued, TokenRevoked,
};
use crate::domain::pkce::{Challenge, Method};
use crate::domain::user::{UserEvent, UserRegistered};
use crate::domain::value::{Digest, ScopeSet, Sealed};
use crate::ids::{ClientKey, SessionId, SubjectId};
use crate::ledger::{LANE, migrate};

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

/// Grants that are under way at once, so that the events of each lie scattered as they do in life.
const OPEN: usize = 2_000;
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
    let written = fill(&mut connection, events).await?;
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
    // Linux: the high-water mark starts anew.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
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

fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Writes synthetic events straight into the ledger, as its owner, and returns how many.
pub async fn fill(connection: &mut PgConnection, events: u64) -> Result<i64, ProjectionError> {
    let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head WHERE lane = $1")
        .bind(LANE)
        .fetch_one(&mut *connection)
        .await?;
    let mut source = Source::new(head, events)?;
    let mut left = events;
    let mut chunk = source.births()?;
    while left > 0 {
        let count = left.min(u64::try_from(CHUNK).unwrap_or(left));
        for _ in 0..count {
            let event = source.next()?;
            chunk.push(event);
        }
        left -= count;
        copy(connection, &chunk).await?;
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

async fn copy(connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
    let mut text = String::with_capacity(events.len() * 900);
    for event in events {
        write_line(&mut text, event)?;
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

fn write_line(text: &mut String, event: &Recorded) -> Result<(), ProjectionError> {
    const METADATA: &str = r#"{"actor":"client:00000000-0000-4000-8000-000000000000","endpoint":"/oauth/token","request_id":"00000000-0000-4000-8000-000000000000"}"#;
    let (kind, name, version, payload) = match &event.event {
        Event::Client(inner) => ("client", inner.name(), inner.version(), inner.payload()),
        Event::User(inner) => ("user", inner.name(), inner.version(), inner.payload()),
        Event::Grant(inner) => ("grant", inner.name(), inner.version(), inner.payload()),
        Event::Scope(_)
        | Event::Session(_)
        | Event::Consent(_)
        | Event::Refusal(_)
        | Event::SigningKey(_) => {
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
        METADATA.to_owned(),
        event.recorded_at.to_rfc3339(),
    ];
    text.push_str(&line.join("\t"));
    text.push('\n');
    Ok(())
}

/// Makes up events.
struct Source {
    random: Randomness,
    start: Timestamp,
    position: i64,
    clients: Vec<ClientKey>,
    users: Vec<SubjectId>,
    open: Vec<OpenGrant>,
}

/// A grant under way.
struct OpenGrant {
    id: Uuid,
    sequence: i32,
    client: ClientKey,
    subject: Option<SubjectId>,
    /// What is still to come, last first.
    plan: Vec<Step>,
    generation: u32,
}

#[derive(Clone, Copy)]
enum Step {
    Code,
    Redeem,
    Issue,
    IssueAlone,
    Rotate,
    Revoke,
}

impl Source {
    fn new(position: i64, events: u64) -> Result<Self, ProjectionError> {
        let random = Randomness::default();
        let users = (events / 200).max(1);
        Ok(Self {
            start: machine_now(),
            position,
            clients: (0..20)
                .map(|_| random.uuid().map(ClientKey))
                .collect::<Result<_, _>>()?,
            users: (0..users)
                .map(|_| random.uuid().map(SubjectId))
                .collect::<Result<_, _>>()?,
            open: Vec::with_capacity(OPEN),
            random,
        })
    }

    fn now(&self) -> Timestamp {
        self.start + chrono::TimeDelta::microseconds(self.position * 100)
    }

    fn record(&mut self, aggregate_id: Uuid, sequence: i32, event: Event) -> Recorded {
        self.position += 1;
        Recorded {
            position: self.position,
            aggregate_id,
            sequence,
            recorded_at: self.now(),
            event,
        }
    }

    fn births(&mut self) -> Result<Vec<Recorded>, ProjectionError> {
        let mut events = Vec::new();
        for client in self.clients.clone() {
            let event = ClientEvent::from(ClientRegistered {
                client_id: client.to_string(),
                metadata: metadata(),
            });
            events.push(self.record(client.0, 1, Event::Client(event)));
        }
        for user in self.users.clone() {
            let event = UserEvent::from(UserRegistered {
                username: Sealed("c3ludGhldGlj".to_owned()),
                name: None,
                email: None,
                password: None,
            });
            events.push(self.record(user.0, 1, Event::User(event)));
        }
        Ok(events)
    }

    /// The next event of some grant.
    fn next(&mut self) -> Result<Recorded, ProjectionError> {
        let [choice, kind, rotations, end, ..] = self.random.bytes::<8>()?;
        let pick: [u8; 8] = self.random.bytes()?;
        let pick = usize::try_from(u64::from_be_bytes(pick) >> 8).unwrap_or_default();
        if self.open.len() < OPEN {
            let grant = self.begin(pick, kind, rotations, end)?;
            self.open.push(grant);
        }
        let place = (pick ^ usize::from(choice)) % self.open.len();
        let mut grant = self.open.swap_remove(place);
        let step = grant.plan.pop().unwrap_or(Step::Revoke);
        grant.sequence += 1;
        let event = self.event(&mut grant, step)?;
        let recorded = self.record(grant.id, grant.sequence, Event::Grant(event));
        if !grant.plan.is_empty() {
            self.open.push(grant);
        }
        Ok(recorded)
    }

    /// Two of five grants are one client-credentials token; the others have a code and 0 to 12 rotations, and
    /// one in ten of them is revoked.
    fn begin(&self, pick: usize, kind: u8, rotations: u8, end: u8) -> Result<OpenGrant, ProjectionError> {
        let missing = || ProjectionError::Bench("nobody to grant to".to_owned());
        let client = self
            .clients
            .get(pick % self.clients.len().max(1))
            .ok_or_else(missing)?;
        let user = self
            .users
            .get(pick % self.users.len().max(1))
            .ok_or_else(missing)?;
        let alone = kind < 102;
        let mut plan = Vec::new();
        if alone {
            plan.push(Step::IssueAlone);
        } else {
            if end < 26 {
                plan.push(Step::Revoke);
            }
            plan.extend(std::iter::repeat_n(Step::Rotate, usize::from(rotations % 13)));
            plan.extend([Step::Issue, Step::Redeem, Step::Code]);
        }
        Ok(OpenGrant {
            id: self.random.uuid_at(self.now())?,
            sequence: 0,
            client: *client,
            subject: (!alone).then_some(*user),
            plan,
            generation: 0,
        })
    }

    fn event(&self, grant: &mut OpenGrant, step: Step) -> Result<GrantEvent, ProjectionError> {
        let at = self.now();
        let hour = chrono::TimeDelta::hours(1);
        let access = AccessToken {
            digest: Digest(self.random.bytes()?),
            expires_at: at + hour,
        };
        grant.generation += u32::from(matches!(step, Step::Issue | Step::Rotate));
        let refresh = RefreshToken {
            digest: Digest(self.random.bytes()?),
            expires_at: at + hour * 720,
            generation: grant.generation,
        };
        let (client, subject) = (grant.client, grant.subject);
        let scope: ScopeSet = ["get_user_profile", "openid", "payments.read"]
            .into_iter()
            .collect();
        let audience = vec!["https://api.example.com".to_owned()];
        Ok(match step {
            Step::Code => self.code(grant, scope, audience)?.into(),
            Step::Redeem => CodeRedeemed { client, at }.into(),
            Step::Issue | Step::IssueAlone => TokenIssued {
                flow: subject.map_or(GrantType::ClientCredentials, |_| GrantType::AuthorizationCode),
                client,
                subject,
                scope,
                audience,
                access,
                refresh: subject.map(|_| refresh),
                password_generation: 0,
                issued_at: at,
                grant_expires_at: at + hour * 8760,
            }
            .into(),
            Step::Rotate => RefreshRotated {
                client,
                subject,
                scope,
                audience,
                access,
                refresh,
                issued_at: at,
            }
            .into(),
            Step::Revoke => TokenRevoked {
                target: Target::Family,
                reason: Reason::ClientRequest,
                at,
            }
            .into(),
        })
    }

    fn code(
        &self,
        grant: &OpenGrant,
        scope: ScopeSet,
        audience: Vec<String>,
    ) -> Result<CodeIssued, ProjectionError> {
        let at = self.now();
        let subject = grant.subject.unwrap_or(SubjectId(Uuid::nil()));
        Ok(CodeIssued {
            client: grant.client,
            subject,
            session: Some(SessionId(self.random.uuid()?)),
            auth_time: Some(at),
            scope,
            audience,
            digest: Digest(self.random.bytes()?),
            redirect_uri: "https://client.example.com/callback".to_owned(),
            redirect_uri_required: true,
            challenge: Some(Challenge {
                method: Method::S256,
                digest: Digest(self.random.bytes()?),
            }),
            password_generation: 0,
            consent_withdrawals: 0,
            issued_at: at,
            expires_at: at + chrono::TimeDelta::minutes(1),
            grant_expires_at: at + chrono::TimeDelta::days(365),
        })
    }
}

fn metadata() -> ClientMetadata {
    ClientMetadata {
        client_name: "Synthetic".to_owned(),
        redirect_uris: vec!["https://client.example.com/callback".to_owned()],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
        scope: ScopeSet::default(),
        default_scopes: ScopeSet::default(),
        audience: Vec::new(),
        introspects: Vec::new(),
        legacy: false,
        access_token_algorithm: TokenAlgorithm::ES256,
        access_token_lifetime: 3600,
        refresh_token_lifetime: 2_592_000,
        refresh_grace: None,
        allowed_origins: Vec::new(),
        home_page_url: None,
        logo_url: None,
        privacy_policy_url: None,
        is_live: true,
        owner: None,
    }
}
