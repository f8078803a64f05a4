//! Faults at random points of the engine's way: whatever breaks when, each finding has its one effect.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantlog::domain::policy::{Action, PolicySettings};
use grantlog::policy::backtest::{self, Stretch};
use grantlog::policy::{PolicyEngine, rules};
use grantlog::postgres::{Options, Postgres};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

use super::{act, events, refresh_as};
use crate::faults::{by_way_of, socket};
use crate::harness::TestServer;
use crate::ledger::assert_gapless;
use crate::token::{Party, text};

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection is cut before a message reaches Postgres.
    CutBefore,
    /// It is cut when Postgres has answered: what was committed is committed, and the engine does not know.
    CutAfter,
    /// A statement that waits for a lock is cancelled, as a timeout does it.
    Cancel,
    /// Postgres ends every connection of the server.
    Terminate,
    /// The engine ends where it is, and another one begins.
    Crash,
    /// SIGKILL of Postgres.
    KillPostgres,
}

/// What somebody does with a grant.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Two kinds of programs use it: a policy revokes it.
    Shared,
    /// A refresh token is used twice: the grant ends itself, and an alert tells.
    Replayed,
    Honest,
}

/// Faults that are still to strike, each so many messages after the one before.
#[derive(Default)]
struct Plan {
    sent: u32,
    faults: VecDeque<(u32, Fault)>,
}

type SharedPlan = Arc<(Mutex<Plan>, UnboundedSender<Fault>)>;

/// The fault that strikes at the next message, if one does.
fn next(plan: &SharedPlan) -> Option<Fault> {
    let mut due = plan.0.lock().unwrap();
    let (at, fault) = *due.faults.front()?;
    due.sent += 1;
    if due.sent < at {
        return None;
    }
    due.faults.pop_front();
    due.sent = 0;
    plan.1.send(fault).unwrap();
    Some(fault)
}

/// Between the server and Postgres.
async fn forward(mut client: UnixStream, mut server: UnixStream, plan: SharedPlan) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                match next(&plan) {
                    Some(Fault::CutBefore) => return,
                    Some(Fault::CutAfter) => cut = true,
                    Some(Fault::Cancel | Fault::Terminate | Fault::Crash | Fault::KillPostgres) | None => {}
                }
                if server.write_all(&asked[..read]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if cut || client.write_all(&answered[..read]).await.is_err() { return }
            }
        }
    }
}

fn listen(listener: UnixListener, upstream: PathBuf, plan: SharedPlan) {
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // Postgres may be on its way up.
            if let Ok(server) = UnixStream::connect(&upstream).await {
                tokio::spawn(forward(client, server, Arc::clone(&plan)));
            }
        }
    });
}

struct World {
    party: Party,
    plan: SharedPlan,
    struck: tokio::sync::Mutex<UnboundedReceiver<Fault>>,
    postgres: Postgres,
    _directories: [TempDir; 2],
}

impl World {
    async fn new() -> Self {
        let directories = [(); 2].map(|()| {
            let directory = tempfile::Builder::new()
                .prefix("grantlog-faults-")
                .tempdir_in("/tmp")
                .unwrap();
            // Reachable for the user that Postgres runs as.
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(directory.path(), open).unwrap();
            directory
        });
        let postgres = Postgres::start(Options::new(directories[0].path().join("pg")), |_| {})
            .await
            .unwrap();
        let listener = UnixListener::bind(directories[1].path().join(".s.PGSQL.5432")).unwrap();
        let (sender, struck) = unbounded_channel();
        let plan: SharedPlan = Arc::new((Mutex::default(), sender));
        listen(
            listener,
            socket(&postgres.url("grantlog_app", "postgres")),
            Arc::clone(&plan),
        );
        let server = TestServer::start_on(|user, database| {
            let direct = postgres.url(user, database);
            if user == "grantlog_app" {
                by_way_of(directories[1].path(), &direct)
            } else {
                direct
            }
        })
        .await;
        let party = Party::on(server, json!({"refresh_grace": 0})).await;
        act(&party.server, "grant-new-agents", Action::RevokeGrant).await;
        Self {
            party,
            plan,
            struck: tokio::sync::Mutex::new(struck),
            postgres,
            _directories: directories,
        }
    }

    async fn happens(&self, deed: Deed) {
        let party = &self.party;
        let (_, tokens) = party.redeem(&party.code("view-user").await).await;
        let first = text(&tokens, "refresh_token").to_owned();
        let (status, tokens) = refresh_as(party, &first, "okhttp/4.12").await;
        assert_eq!(status, 200, "{tokens}");
        let (token, agent, expected) = match deed {
            Deed::Shared => (text(&tokens, "refresh_token"), "curl/8", 200),
            Deed::Replayed => (first.as_str(), "okhttp/4.12", 400),
            Deed::Honest => (text(&tokens, "refresh_token"), "okhttp/4.12", 200),
        };
        assert_eq!(refresh_as(party, token, agent).await.0, expected);
    }

    /// Lets the engine deal with what was done while faults strike, and then compares.
    async fn follow(&self, faults: Vec<(u32, Fault)>) {
        let (server, left) = (&self.party.server, faults.len());
        *self.plan.0.lock().unwrap() = Plan {
            sent: 0,
            faults: faults.into(),
        };
        let start = || Engine(Some(PolicyEngine::start(&server.app.operations, None)));
        let mut engine = start();
        for _ in 0..left {
            let mut struck = self.struck.lock().await;
            let strikes = tokio::time::timeout(Duration::from_mins(1), struck.recv()).await;
            match strikes.expect("the engine goes on sending").unwrap() {
                Fault::CutBefore | Fault::CutAfter => {}
                Fault::Cancel => self.cancel().await,
                Fault::Terminate => self.terminate().await,
                Fault::Crash => {
                    drop(engine);
                    engine = start();
                }
                Fault::KillPostgres => self.kill_postgres().await,
            }
        }
        self.until_reached(&engine).await;
        engine.0.take().unwrap().stop().await;
        self.compare().await;
        // Another node finds everything done.
        engine = start();
        self.until_reached(&engine).await;
        engine.0.take().unwrap().stop().await;
        self.compare().await;
    }

    /// Waits until the engine has dealt with what is on the ledger now.
    async fn until_reached(&self, engine: &Engine) {
        let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head")
            .fetch_one(&mut self.owner().await)
            .await
            .unwrap();
        let reached = engine.0.as_ref().unwrap().wait_for(head);
        tokio::time::timeout(Duration::from_mins(1), reached)
            .await
            .unwrap();
    }

    /// A connection past the faults, as soon as Postgres takes one.
    async fn owner(&self) -> PgConnection {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            match PgConnection::connect(&self.party.server.database.owner_url).await {
                Ok(connection) => return connection,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Cancels whatever comes to wait for the ledger's head or the engine's cursor.
    async fn cancel(&self) {
        let (mut holder, mut other) = (self.owner().await, self.owner().await);
        holder.execute("BEGIN").await.unwrap();
        holder
            .execute("SELECT FROM grantlog.head, grantlog.policy_cursor FOR UPDATE")
            .await
            .unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_millis(2_500);
        while tokio::time::Instant::now() < deadline {
            let cancelled: Vec<bool> = sqlx::query_scalar(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND usename = 'grantlog_app' AND wait_event_type = 'Lock'",
            )
            .fetch_all(&mut other)
            .await
            .unwrap();
            if !cancelled.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        holder.execute("ROLLBACK").await.unwrap();
    }

    async fn terminate(&self) {
        self.owner()
            .await
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND usename = 'grantlog_app'",
            )
            .await
            .unwrap();
    }

    async fn kill_postgres(&self) {
        let pid = self.postgres.pid().unwrap();
        // The test's own Postgres, by its id.
        let killed = Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        while self.postgres.pid() == Some(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets the pool find out which of its connections are dead.
    async fn refresh_pool(&self) {
        let pool = self.party.server.app.ledger.pool();
        let mut held = Vec::new();
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        let most = usize::try_from(pool.options().get_max_connections()).unwrap();
        while held.len() < most && pool.num_idle() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "the pool recovers");
            let Ok(mut connection) = pool.acquire().await else {
                continue;
            };
            // One that fails is closed.
            if connection.execute("SELECT 1").await.is_ok() {
                held.push(connection);
            }
        }
    }

    /// What was done is what the same rules find in the whole ledger: each alert once, each effect once.
    async fn compare(&self) {
        let server = &self.party.server;
        let all: Vec<(String, PolicySettings)> = rules::ALL
            .iter()
            .map(|rule| (rule.definition().id, PolicySettings::default()))
            .collect();
        self.refresh_pool().await;
        let reports = backtest::run(&server.app.ledger, &all, (Stretch::default(), None), &|_, _| {})
            .await
            .unwrap();
        let found = |of: &str| -> BTreeSet<Uuid> {
            let reports = reports.iter().filter(|report| of.is_empty() || report.rule == of);
            reports
                .flat_map(|report| report.alerts.iter().map(|alert| alert.alert))
                .collect()
        };
        once(
            "AlertRaised",
            &ids(events(server, "AlertRaised").await),
            &found(""),
        );
        let contained = ids(events(server, "ContainmentApplied").await);
        once("ContainmentApplied", &contained, &found("grant-new-agents"));
        let mut revoked = events(server, "TokenRevoked").await;
        revoked.retain(|(_, event)| event["reason"] == "policy");
        let shared = events(server, "AlertRaised").await;
        let shared = shared
            .iter()
            .filter(|(_, alert)| alert["rule"] == "grant-new-agents");
        let shared = shared.map(|(_, alert)| text(&alert["about"], "grant").parse().unwrap());
        once("TokenRevoked", &ids(revoked), &shared.collect());
        assert_gapless(server).await;
    }
}

/// An engine that ends where it is, unless it was stopped.
struct Engine(Option<PolicyEngine>);

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take() {
            engine.abort();
        }
    }
}

fn ids<T>(events: Vec<(Uuid, T)>) -> Vec<Uuid> {
    events.into_iter().map(|(id, _)| id).collect()
}

fn once(what: &str, happened: &[Uuid], expected: &BTreeSet<Uuid>) {
    let different: BTreeSet<Uuid> = happened.iter().copied().collect();
    assert_eq!(&different, expected, "{what}: one was skipped, or should not be");
    assert_eq!(happened.len(), different.len(), "{what}: one was repeated");
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![3 => Just(Deed::Shared), 1 => Just(Deed::Replayed), 1 => Just(Deed::Honest)]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::CutBefore),
        4 => Just(Fault::CutAfter),
        2 => Just(Fault::Cancel),
        2 => Just(Fault::Terminate),
        2 => Just(Fault::Crash),
        1 => Just(Fault::KillPostgres),
    ]
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_when_each_finding_has_its_one_effect() {
    let world = World::new().await;
    let deeds = prop::collection::vec(deed(), 1..4);
    // The engine's way over a few findings is some hundred messages long; each fault makes it longer.
    let faults = prop::collection::vec((1_u32..120, fault()), 1..5);
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 10,
        ..Config::default()
    });
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&(deeds, faults), |(deeds, faults)| {
            runtime.block_on(async {
                for deed in deeds {
                    world.happens(deed).await;
                }
                world.follow(faults).await;
            });
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let revoked = events(&world.party.server, "ContainmentApplied").await.len();
    assert!(revoked > 0, "something was to be done");
    world.postgres.stop().await.unwrap();
}
