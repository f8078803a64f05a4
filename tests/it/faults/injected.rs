//! Faults at random points between a server and a Postgres of its own.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantlog::config::Settings;
use grantlog::postgres::{Options, Postgres};
use proptest::prelude::*;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{by_way_of, socket};
use crate::harness::TestServer;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut before a message reaches Postgres.
    CutBefore,
    /// It is cut when Postgres has answered: what was committed is committed, and the server does not know.
    CutAfter,
    /// A statement that waits for a lock is cancelled, as a timeout does it.
    Cancel,
    /// Postgres ends every connection of the server.
    Terminate,
    /// What runs ends where it is, and another one begins: the test does that.
    Crash,
    /// SIGKILL of Postgres.
    KillPostgres,
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

/// A Postgres of the test's own, and what breaks on the way to it.
pub(crate) struct Injected {
    plan: SharedPlan,
    struck: tokio::sync::Mutex<UnboundedReceiver<Fault>>,
    pub(crate) postgres: Postgres,
    _directories: [TempDir; 2],
}

impl Injected {
    /// Starts it, and a server on it.
    pub(crate) async fn start(change: impl FnOnce(&mut Settings)) -> (Self, TestServer) {
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
        let url = |user: &str, database: &str| {
            let direct = postgres.url(user, database);
            if user == "grantlog_app" {
                by_way_of(directories[1].path(), &direct)
            } else {
                direct
            }
        };
        let server = TestServer::start_on(url, change).await;
        let injected = Self {
            plan,
            struck: tokio::sync::Mutex::new(struck),
            postgres,
            _directories: directories,
        };
        (injected, server)
    }

    /// Lets these strike, each so many messages after the one before.
    pub(crate) fn plan(&self, faults: Vec<(u32, Fault)>) {
        *self.plan.0.lock().unwrap() = Plan {
            sent: 0,
            faults: faults.into(),
        };
    }

    /// Waits for the next one, and does what it is beyond a cut connection. `locks` are tables that what runs locks.
    pub(crate) async fn strike(&self, server: &TestServer, locks: &str) -> Fault {
        let mut struck = self.struck.lock().await;
        let strikes = tokio::time::timeout(Duration::from_mins(1), struck.recv()).await;
        let fault = strikes.expect("what runs goes on sending").unwrap();
        match fault {
            Fault::CutBefore | Fault::CutAfter | Fault::Crash => {}
            Fault::Cancel => cancel(server, locks).await,
            Fault::Terminate => terminate(server).await,
            Fault::KillPostgres => self.kill_postgres().await,
        }
        fault
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
}

/// A connection past the faults, as soon as Postgres takes one.
pub(crate) async fn owner(server: &TestServer) -> PgConnection {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        match PgConnection::connect(&server.database.owner_url).await {
            Ok(connection) => return connection,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Cancels whatever comes to wait for these tables' rows.
async fn cancel(server: &TestServer, locks: &str) {
    let (mut holder, mut other) = (owner(server).await, owner(server).await);
    holder.execute("BEGIN").await.unwrap();
    holder
        .execute(format!("SELECT FROM {locks} FOR UPDATE").as_str())
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

async fn terminate(server: &TestServer) {
    owner(server)
        .await
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = 'grantlog_app'",
        )
        .await
        .unwrap();
}

/// Lets the pool find out which of its connections are dead.
pub(crate) async fn refresh_pool(server: &TestServer) {
    let pool = server.app.ledger.pool();
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

/// Any fault.
pub(crate) fn fault() -> impl Strategy<Value = Fault> {
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
pub(crate) fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(4)
}
