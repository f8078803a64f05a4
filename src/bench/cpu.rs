//! CPU time and memory of other processes, from Linux's `/proc`. Elsewhere nothing is reported.

use std::fs;

/// Kernel ticks per second: 100 on every Linux that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds that a process and its children (those that were waited for included) have used so far.
pub(super) fn seconds(root: u32) -> Option<f64> {
    let mut total = 0.0;
    let mut found = false;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Some(fields) = stat(pid) else { continue };
        // After the name: state ppid … utime is the 12th, stime the 13th, then those of waited-for children.
        let number = |index: usize| {
            fields
                .get(index)
                .and_then(|field| field.parse::<f64>().ok())
                .unwrap_or_default()
        };
        let parent = fields.get(1).and_then(|field| field.parse::<u32>().ok());
        if pid == root || parent == Some(root) {
            found = true;
            let waited_for = if pid == root { number(13) + number(14) } else { 0.0 };
            total += number(11) + number(12) + waited_for;
        }
    }
    found.then_some(total / TICKS_PER_SECOND)
}

fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Resident memory of a process in MiB.
pub(super) fn resident_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmRSS:")
}

/// The most memory that a process had resident so far, in MiB.
pub(super) fn peak_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, field: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
