//! Injected faults: a lost answer, a dead lock holder, a statement that times out. Nothing is replayed, lost
//! or doubled.

pub(crate) mod injected;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use grantlog::ledger::Priority;
use sqlx::{Connection, Executor, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::harness::TestServer;
use crate::ledger::{assert_gapless, command, wait_until_blocked};
use crate::token::{Party, text};

/// Between the server and Postgres; can swallow the answer to an append that was committed.
struct Proxy {
    directory: tempfile::TempDir,
    swallow: Arc<AtomicBool>,
    swallowed: Arc<AtomicU32>,
}

impl Proxy {
    fn start(upstream: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let (swallow, swallowed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let state = (Arc::clone(&swallow), Arc::clone(&swallowed));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&upstream).await.unwrap();
                tokio::spawn(forward(client, server, state.clone()));
            }
        });
        Self {
            directory,
            swallow,
            swallowed,
        }
    }

    /// The database's URL by way of this proxy.
    fn url(&self, url: &str) -> String {
        by_way_of(self.directory.path(), url)
    }
}

/// A database's URL by way of a socket in a directory.
pub(crate) fn by_way_of(directory: &Path, url: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.query_pairs_mut()
        .clear()
        .append_pair("host", directory.to_str().unwrap());
    url.into()
}

/// The socket behind a database URL.
pub(crate) fn socket(url: &str) -> PathBuf {
    let url = url::Url::parse(url).unwrap();
    let host = url
        .query_pairs()
        .find(|(name, _)| name == "host")
        .unwrap()
        .1
        .into_owned();
    Path::new(&host).join(".s.PGSQL.5432")
}

async fn forward(client: UnixStream, server: UnixStream, state: (Arc<AtomicBool>, Arc<AtomicU32>)) {
    let (swallow, swallowed) = state;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let appends = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&appends);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            if buffer[..read]
                .windows(15)
                .any(|window| window == b"grantlog.append")
            {
                seen.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 65536];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        // CommandComplete of the SELECT: in autocommit it is sent after the commit.
        let completed = buffer[..read].windows(7).any(|window| window == b"SELECT ");
        if appends.load(Ordering::SeqCst) && completed && swallow.swap(false, Ordering::SeqCst) {
            swallowed.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn count(server: &TestServer, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(&server.database.owner().await)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_after_the_commit_neither_replays_nor_doubles() {
    let mut proxy = None;
    let server = TestServer::start_with(|settings| {
        let started = Proxy::start(socket(&settings.database_url));
        settings.database_url = started.url(&settings.database_url);
        proxy = Some(started);
    })
    .await;
    let proxy = proxy.unwrap();
    let party = Party::on(server, serde_json::json!({"refresh_grace": 0})).await;
    let code = party.code("view-user").await;

    proxy.swallow.store(true, Ordering::SeqCst);
    let (status, tokens) = party.redeem(&code).await;
    assert_eq!(
        (status, proxy.swallowed.load(Ordering::SeqCst)),
        (200, 1),
        "{tokens}"
    );
    proxy.swallow.store(true, Ordering::SeqCst);
    let (status, tokens) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(
        (status, proxy.swallowed.load(Ordering::SeqCst)),
        (200, 2),
        "{tokens}"
    );
    let (status, tokens) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(party.is_active(text(&tokens, "refresh_token")).await);
    for (event, times) in [
        ("CodeRedeemed", 1),
        ("TokenIssued", 1),
        ("RefreshRotated", 2),
        ("RefreshReplayed", 0),
        ("CodeReplayed", 0),
    ] {
        assert_eq!(count(&party.server, event).await, times, "{event}");
    }
    assert_gapless(&party.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holder_that_dies_delays_appends_and_loses_nothing() {
    let server = TestServer::start().await;
    let mut holder = PgConnection::connect(&server.database.owner_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid() FROM grantlog.head FOR UPDATE")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    let ledger = server.app.ledger.clone();
    let waiting = tokio::spawn(async move { ledger.append(command(&ledger, 1), Priority::Normal).await });
    wait_until_blocked(&server).await;
    assert!(!waiting.is_finished());
    let killed: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1)")
        .bind(pid)
        .fetch_one(&server.database.owner().await)
        .await
        .unwrap();
    assert!(killed);
    let appended = waiting.await.unwrap().unwrap();
    assert!(!appended.repeated);
    assert_gapless(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_times_out_is_tried_again() {
    let server = TestServer::start().await;
    let mut holder = PgConnection::connect(&server.database.owner_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder
        .execute("SELECT * FROM grantlog.head FOR UPDATE")
        .await
        .unwrap();
    let ledger = server.app.ledger.clone();
    let waiting = tokio::spawn(async move { ledger.append(command(&ledger, 2), Priority::Normal).await });
    // Longer than the appender's lock timeout: its first statement fails and is rolled back.
    wait_until_blocked(&server).await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert!(!waiting.is_finished());
    holder.execute("ROLLBACK").await.unwrap();
    assert!(!waiting.await.unwrap().unwrap().repeated);
    assert_eq!(count(&server, "RefusalsSuppressed").await, 2);
    assert_gapless(&server).await;
}
