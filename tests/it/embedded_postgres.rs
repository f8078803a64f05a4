//! The embedded `PostgreSQL` keeps its promises: durable, self-healing, and never left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod obtaining;
mod processes;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use grantlog::postgres::{Options, Postgres, PostgresError, Search};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::Instant;

/// A directory that every user can enter, so that tests as root do not need another place.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

fn options(data_dir: &Path) -> Options {
    let mut options = Options::new(data_dir);
    options.settings = vec![("shared_buffers".to_owned(), "16MB".to_owned())];
    options
}

async fn start(data_dir: &Path) -> Postgres {
    Postgres::start(options(data_dir), |line| println!("{line}"))
        .await
        .unwrap()
}

async fn connect(postgres: &Postgres) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect(&postgres.url("postgres", "postgres")).await
}

async fn ask(postgres: &Postgres, question: &str) -> Result<String, sqlx::Error> {
    let mut connection = connect(postgres).await?;
    sqlx::query_scalar(question).fetch_one(&mut connection).await
}

async fn tell(postgres: &Postgres, statement: &str) {
    let mut connection = connect(postgres).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}

/// Polls until the condition holds; fails when it does not come true in time.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(
            Instant::now() < deadline,
            "it did not come true in time that {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process runs; one that is defunct does not.
fn runs(pid: u32) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}

fn sigkill(pid: u32) {
    let killed = Command::new("/bin/sh")
        .args(["-c", "kill -9 \"$1\"", "sh", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn fsync_and_checksums_are_on() {
    let directory = directory();
    let began = Instant::now();
    let postgres = start(directory.path()).await;
    println!("cold start: {:?}", began.elapsed());
    for (name, expected) in [
        ("fsync", "on"),
        ("data_checksums", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
        ("is_superuser", "on"),
        ("shared_buffers", "16MB"),
    ] {
        let found = ask(&postgres, &format!("select current_setting('{name}')"))
            .await
            .unwrap();
        assert_eq!(found, expected, "{name}");
    }
    let socket_dir = fs::metadata(postgres.socket_dir()).unwrap();
    assert_eq!(socket_dir.mode() & 0o777, 0o700);
    assert_eq!(socket_dir.uid(), fs::metadata(postgres.data_dir()).unwrap().uid());

    tell(&postgres, "create table kept (value text)").await;
    postgres.stop().await.unwrap();
    let began = Instant::now();
    let postgres = start(directory.path()).await;
    println!("warm start: {:?}", began.elapsed());
    assert_eq!(
        ask(&postgres, "select count(*)::text from kept").await.unwrap(),
        "0"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn settings_cannot_weaken_durability() {
    let directory = directory();
    let mut options = options(directory.path());
    options.settings.push(("fsync".to_owned(), "off".to_owned()));
    let refused = Postgres::start(options, |_| {}).await.unwrap_err();
    assert!(matches!(refused, PostgresError::Setting { .. }), "{refused}");
    assert!(refused.to_string().contains("fsync"));
}

#[tokio::test]
async fn a_wrong_setting_is_reported_in_the_servers_words() {
    let directory = directory();
    let mut options = options(directory.path());
    options
        .settings
        .push(("max_connections".to_owned(), "many".to_owned()));
    let refused = Postgres::start(options, |_| {}).await.unwrap_err().to_string();
    assert!(
        refused.contains("invalid value for parameter \"max_connections\""),
        "{refused}"
    );
}

#[tokio::test]
async fn a_stopped_or_dropped_handle_leaves_no_server() {
    let directory = directory();
    let postgres = start(directory.path()).await;
    let pid = postgres.pid().unwrap();
    postgres.stop().await.unwrap();
    assert!(!runs(pid));

    let postgres = start(directory.path()).await;
    let pid = postgres.pid().unwrap();
    drop(postgres);
    eventually("the server of a dropped handle ends", || async { !runs(pid) }).await;
}

#[tokio::test]
async fn a_live_server_is_adopted() {
    let directory = directory();
    let owner = start(directory.path()).await;
    // Who adopts does not need any programs.
    let mut guest = options(directory.path());
    guest.search = Search::only_cache(directory.path().join("none"), &[]);
    let guest = Postgres::start(guest, |_| {}).await.unwrap();
    assert!(guest.adopted() && !owner.adopted());
    assert_eq!(guest.pid(), owner.pid());
    assert_eq!(guest.url("a", "b"), owner.url("a", "b"));
    assert_eq!(ask(&guest, "select 'here'").await.unwrap(), "here");
    guest.stop().await.unwrap();
    assert_eq!(ask(&owner, "select 'still here'").await.unwrap(), "still here");
    owner.stop().await.unwrap();
}

/// A pid file as a server that was killed leaves it.
fn leave_pid_file(cluster: &Path, socket_dir: &Path, pid: u32) {
    let file = cluster.join("postmaster.pid");
    let (at, sockets) = (cluster.display(), socket_dir.display());
    fs::write(
        &file,
        format!("{pid}\n{at}\n1700000000\n5432\n{sockets}\n\n  1234567 98765\nready   \n"),
    )
    .unwrap();
    let lock = socket_dir.join(".s.PGSQL.5432.lock");
    fs::write(&lock, format!("{pid}\n{at}\n1700000000\n5432\n{sockets}\n")).unwrap();
    let owner = fs::metadata(cluster).unwrap();
    for path in [file, lock] {
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn a_stale_pid_file_does_not_prevent_a_start() {
    let directory = directory();
    let postgres = start(directory.path()).await;
    let (cluster, socket_dir) = (postgres.data_dir().to_owned(), postgres.socket_dir().to_owned());
    postgres.stop().await.unwrap();

    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    leave_pid_file(&cluster, &socket_dir, dead.id());
    start(directory.path()).await.stop().await.unwrap();

    // Another program of the same user has got the number: what PostgreSQL alone would not get over.
    let user = fs::metadata(&cluster).unwrap();
    let mut other = Command::new("sleep");
    other.arg("600");
    if fs::metadata(directory.path()).unwrap().uid() == 0 {
        other.uid(user.uid()).gid(user.gid());
    }
    let mut other = other.spawn().unwrap();
    leave_pid_file(&cluster, &socket_dir, other.id());
    let postgres = start(directory.path()).await;
    assert_eq!(ask(&postgres, "select 'here'").await.unwrap(), "here");
    postgres.stop().await.unwrap();
    assert!(
        other.try_wait().unwrap().is_none(),
        "the other program has been left alone"
    );
    other.kill().unwrap();
    other.wait().unwrap();

    fs::write(cluster.join("postmaster.pid"), "").unwrap();
    start(directory.path()).await.stop().await.unwrap();
}

#[tokio::test]
async fn a_half_initialised_directory_is_replaced() {
    let directory = directory();
    let cluster = directory.path().join("cluster");
    fs::create_dir_all(cluster.join("base")).unwrap();
    fs::write(cluster.join("PG_VERSION"), "15\n").unwrap();
    fs::create_dir_all(directory.path().join("cluster.new/global")).unwrap();
    let postgres = start(directory.path()).await;
    assert_eq!(ask(&postgres, "select 'here'").await.unwrap(), "here");
    postgres.stop().await.unwrap();
    assert!(
        directory.path().join("cluster.incomplete-1/PG_VERSION").exists(),
        "nothing is thrown away"
    );
    assert!(!directory.path().join("cluster.new").exists());
}

#[tokio::test]
async fn a_killed_postmaster_is_restarted() {
    let directory = directory();
    let postgres = start(directory.path()).await;
    tell(
        &postgres,
        "create table kept as select 'committed'::text as value",
    )
    .await;
    let mut busy = connect(&postgres).await.unwrap();
    // Its backend outlives the postmaster for a while and holds the shared memory.
    let busy = tokio::spawn(async move { sqlx::query("select pg_sleep(600)").execute(&mut busy).await });
    let before = postgres.pid().unwrap();
    let began = Instant::now();
    sigkill(before);
    eventually("another postmaster serves", || async {
        postgres.pid().is_some_and(|pid| pid != before)
    })
    .await;
    println!("restarted after {:?}", began.elapsed());
    assert_eq!(
        ask(&postgres, "select value from kept").await.unwrap(),
        "committed"
    );
    assert!(busy.await.unwrap().is_err());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_backend_is_recovered_from() {
    let directory = directory();
    let postgres = start(directory.path()).await;
    let mut connection = connect(&postgres).await.unwrap();
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    sigkill(backend.try_into().unwrap());
    eventually("queries are answered again", || async {
        ask(&postgres, "select 'here'").await.is_ok()
    })
    .await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let directory = directory();
    let long = directory
        .path()
        .join("long ".repeat(20))
        .join("name, quoted \" and \u{e4}");
    let postgres = start(&long).await;
    assert!(postgres.data_dir().starts_with(directory.path()));
    assert!(!postgres.socket_dir().starts_with(directory.path()));
    assert_eq!(ask(&postgres, "select 'here'").await.unwrap(), "here");
    let socket_dir = postgres.socket_dir().to_owned();
    postgres.stop().await.unwrap();
    fs::remove_dir_all(socket_dir).unwrap();

    let odd = directory.path().join("a, \" \u{e4}%2F");
    let postgres = start(&odd).await;
    assert!(postgres.socket_dir().starts_with(&odd));
    assert_eq!(ask(&postgres, "select 'here'").await.unwrap(), "here");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_directory_gets_its_cluster_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    if fs::metadata(directory.path()).unwrap().uid() != 0 {
        println!("skipped: only root runs PostgreSQL as somebody else");
        return;
    }
    let wanted = directory.path().join("data");
    let postgres = start(&wanted).await;
    let cluster = postgres.data_dir().to_owned();
    assert!(!cluster.starts_with(&wanted));
    tell(
        &postgres,
        "create table kept as select 'committed'::text as value",
    )
    .await;
    postgres.stop().await.unwrap();
    // The directory knows its cluster even under another name.
    let moved = directory.path().join("moved");
    fs::rename(&wanted, &moved).unwrap();
    let postgres = start(&moved).await;
    assert_eq!(postgres.data_dir(), cluster);
    assert_eq!(
        ask(&postgres, "select value from kept").await.unwrap(),
        "committed"
    );
    postgres.stop().await.unwrap();
    fs::remove_dir_all(cluster.parent().unwrap()).unwrap();
}
