//! The `grantlog` program as its users run it.

mod administration;
mod approvals;
mod claims;
mod dev;
mod doctor;
mod exchange;
mod profiles;
mod registration;
mod replay;
mod serving;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::harness::TestDatabase;

/// The master key of test servers, 32 times 42.
const MASTER_KEY: &str = "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a";

/// The program without the variables of whoever runs the tests.
pub(crate) fn grantlog() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantlog"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRANTLOG_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// The program, about a test's database.
pub(crate) fn grantlog_on(database: &TestDatabase) -> Command {
    let mut command = grantlog();
    command
        .env("GRANTLOG_ISSUER", "http://127.0.0.1:8480")
        .env("GRANTLOG_DATABASE_URL", &database.app_url)
        .env("GRANTLOG_MASTER_KEY", MASTER_KEY);
    command
}

/// Runs it to its end.
pub(crate) async fn finish(mut command: Command, stdin: Option<&str>) -> Output {
    let stdin = stdin.map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).unwrap();
        }
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a successful run printed.
pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

fn terminate(pid: u32) {
    let told = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status()
        .unwrap();
    assert!(told.success());
}

/// Polls until there is something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "it did not come true in time that {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The ledger's last position.
pub(crate) async fn head(server: &crate::harness::TestServer) -> i64 {
    let head = grantlog::ledger::head_position(server.app.ledger.pool()).await;
    head.unwrap()
}

/// A child process that is killed when the test fails.
struct Running(std::process::Child);

impl Running {
    fn spawn(mut command: Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let spawned = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        Self(spawned.unwrap())
    }

    /// The exit code, once it has ended by itself.
    async fn ended(&mut self) -> Option<i32> {
        eventually("the program ends", || {
            let ended = self.0.try_wait().unwrap();
            async move { ended }
        })
        .await
        .code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn wrong_arguments_end_with_2_and_failures_with_1() {
    let mut wrong = grantlog();
    wrong.args(["client", "frobnicate"]);
    assert_eq!(finish(wrong, None).await.status.code(), Some(2));
    let empty = tempfile::tempdir().unwrap();
    let mut nowhere = grantlog();
    nowhere.args(["client", "list"]).current_dir(empty.path());
    let failed = finish(nowhere, None).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        stderr(&failed).contains("no Grantlog to connect to"),
        "{}",
        stderr(&failed)
    );
}

#[tokio::test]
async fn every_command_explains_itself() {
    for command in [
        "dev",
        "serve",
        "migrate",
        "doctor",
        "client",
        "user",
        "key",
        "grant",
        "scope",
        "trust",
        "audit",
        "projection",
        "policy",
        "alert",
        "contain",
        "retention",
    ] {
        let mut help = grantlog();
        help.args([command, "--help"]);
        let text = stdout(&finish(help, None).await);
        assert!(text.contains("Usage: grantlog"), "{text}");
    }
}
