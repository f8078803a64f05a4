//! Printing. A reader that went away (`| head`) ends the program quietly.

use std::io::Write;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::credential;
use crate::domain::value::steers;

/// Prints a line.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context(Gone)
}

/// Prints a line for the person, never for a machine: to standard error.
pub(super) fn note(text: &str) {
    // Nothing can be done about a standard error that is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a JSON document.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value).context("this cannot be printed as JSON")?)
}

/// Prints one JSON document on one line.
pub(super) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value).context("this cannot be printed as JSON")?)
}

/// Standard output is closed.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub struct Gone;

/// Prints rows under their headings.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    let headings = headings.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&headings).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{}{}", visible(cell), " ".repeat(width - cell.chars().count())))
            .collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Text that others chose must not steer the terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// What somebody named, for a message; a credential that was pasted in the wrong place is not repeated.
pub(super) fn unless_secret(text: &str) -> String {
    if credential::resembles(text) {
        "of that name, which looks like a token or secret".to_owned()
    } else {
        visible(text)
    }
}

/// A moment, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A bar for work whose size is known; shown on a terminal only.
pub(super) fn bar(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// A sign of life for work whose size is not known; shown on a terminal only.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
    spinner
}
