//! Asking: for a password without showing it, for a yes before what cannot be undone.

use std::io::{BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::arguments::Confirmation;

/// A password: typed twice at a terminal, else the first line of standard input. Never from the arguments, which
/// every process can see.
pub(super) fn password(from_stdin: bool) -> anyhow::Result<String> {
    if from_stdin || !std::io::stdin().is_terminal() {
        return first_line().context("no password came from standard input");
    }
    let first = hidden("Password: ")?;
    let second = hidden("Again: ")?;
    ensure!(first == second, "the two are not the same");
    Ok(first)
}

/// Asks before something that cannot be undone, where there is somebody to ask.
pub(super) fn confirm(confirmation: Confirmation, what: &str) -> anyhow::Result<()> {
    if confirmation.yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    ask(&format!("{what} [y/N] "))?;
    let answer = first_line().unwrap_or_default();
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    bail!("nothing was done")
}

/// The first line of standard input, without its end.
pub(super) fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    ensure!(!line.is_empty(), "standard input is empty");
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn ask(question: &str) -> anyhow::Result<()> {
    let mut out = std::io::stderr().lock();
    write!(out, "{question}")?;
    Ok(out.flush()?)
}

/// A line typed while the terminal does not show it.
fn hidden(question: &str) -> anyhow::Result<String> {
    ask(question)?;
    let echo = |switch: &str| {
        Command::new("stty")
            .arg(switch)
            .stdin(Stdio::inherit())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    ensure!(
        echo("-echo"),
        "this terminal cannot hide what is typed: use --password-stdin"
    );
    let line = first_line();
    echo("echo");
    ask("\n")?;
    line
}
