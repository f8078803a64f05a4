//! The process that outlives us to stop the server when we are killed.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};

use super::account::Account;
use super::error::PostgresError;
use super::home::Home;

/// Part of the program, so that there is no file to lose.
const SCRIPT: &str = include_str!("watchdog.sh");

/// A running watchdog. It starts to work when this is dropped, and equally when our process ends, since only
/// we hold the write end of its standard input.
#[derive(Debug)]
pub(crate) struct Watchdog {
    process: Child,
    /// Every pipe that Rust opens is closed in other child processes.
    input: ChildStdin,
}

impl Watchdog {
    pub(crate) fn spawn(home: &Home, account: &Account) -> Result<Self, PostgresError> {
        let spawn = |source| PostgresError::Spawn {
            program: "/bin/sh".to_owned(),
            source,
        };
        // The lock stays held for as long as the watchdog has this as its standard output.
        let lock = home.watchdog_lock()?;
        lock.try_lock()
            .map_err(|error| PostgresError::file("lock", home.path())(error.into()))?;
        let mut command = account.command("/bin/sh");
        command
            .args(["-c", SCRIPT, "grantlog-postgres-watchdog"])
            .arg(home.cluster());
        command.stdin(Stdio::piped()).stdout(lock).stderr(Stdio::null());
        let mut process = command.spawn().map_err(spawn)?;
        let input = process
            .stdin
            .take()
            .ok_or_else(|| spawn(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { process, input })
    }

    /// Tells which process to stop. Once this has returned, our death can no longer be missed: what was
    /// written is read before the end of the input is seen.
    pub(crate) async fn watch(&mut self, pid: u32) -> Result<(), PostgresError> {
        let written = self.input.write_all(format!("{pid}\n").as_bytes()).await;
        written.map_err(|source| PostgresError::Spawn {
            program: "the watchdog".to_owned(),
            source,
        })
    }

    /// Returns when the watchdog has ended without being asked to.
    pub(crate) async fn lost(&mut self) {
        let _ = self.process.wait().await;
    }

    /// Whether it has ended.
    pub(crate) fn is_lost(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Lets it stop the server and returns when it has.
    pub(crate) async fn finish(self) {
        let Self { mut process, input } = self;
        drop(input);
        let _ = process.wait().await;
    }
}
