//! Running other programs.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Progress;
use super::error::PostgresError;

/// A command with our own environment that ends when we lose interest in it.
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs to the end and returns standard output; a failure carries the end of both outputs.
pub(crate) async fn output(mut command: Command) -> Result<String, PostgresError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = match command.output().await {
        Ok(output) => output,
        Err(source) => return Err(PostgresError::Spawn { program, source }),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let detail = format!("{}: {}", output.status, tail(&format!("{stdout}\n{stderr}"), 12));
    Err(PostgresError::Tool { program, detail })
}

/// Runs to the end, tells every few seconds that it still runs, and returns standard output.
pub(crate) async fn output_with_ticks(
    command: Command,
    label: &str,
    progress: &Progress,
) -> Result<String, PostgresError> {
    const EVERY: Duration = Duration::from_secs(2);
    progress.tell(label);
    let began = Instant::now();
    let mut ticks = interval_at(began + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = output(command);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => progress.tell(&format!("{label} ({} s)", began.elapsed().as_secs())),
        }
    }
}

/// Whether a command succeeds; one that cannot be run does not.
pub(crate) async fn succeeds(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// The last lines of a text that say something.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let mut last: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(lines)
        .collect();
    last.reverse();
    last.join("\n")
}
