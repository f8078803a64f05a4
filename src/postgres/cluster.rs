//! Making a cluster, completely or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Progress;
use super::account::Account;
use super::command::output;
use super::error::PostgresError;
use super::home::{Home, make_private, scratch_name};
use super::search::Binaries;

/// What a cluster directory holds.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Absent,
    Empty,
    /// `initdb` was interrupted, or essential files have been lost.
    Incomplete,
    /// Made by this major version.
    Complete(u32),
}

fn state(cluster: &Path) -> State {
    if fs::symlink_metadata(cluster).is_err() {
        return State::Absent;
    }
    if fs::read_dir(cluster).is_ok_and(|mut entries| entries.next().is_none()) {
        return State::Empty;
    }
    let version = fs::read_to_string(cluster.join("PG_VERSION")).unwrap_or_default();
    match version.trim().parse() {
        Ok(major) if cluster.join("global/pg_control").exists() => State::Complete(major),
        _ => State::Incomplete,
    }
}

/// The major version that made a cluster, if it is complete.
pub(crate) fn made_by(cluster: &Path) -> Option<u32> {
    match state(cluster) {
        State::Complete(major) => Some(major),
        State::Absent | State::Empty | State::Incomplete => None,
    }
}

/// Makes sure that there is a complete cluster. The caller holds the owner's lock and has seen no server.
pub(crate) async fn ensure(
    home: &Home,
    account: &Account,
    binaries: &Binaries,
    progress: &Progress,
) -> Result<(), PostgresError> {
    let cluster = home.cluster();
    match state(&cluster) {
        State::Complete(_) => return Ok(()),
        State::Absent => {}
        State::Empty => fs::remove_dir(&cluster).map_err(PostgresError::file("remove", &cluster))?,
        State::Incomplete => set_aside(home, progress)?,
    }
    progress.tell(&format!(
        "making a new PostgreSQL {} cluster in {}",
        binaries.version,
        cluster.display()
    ));
    let scratch = scratch_name(home.path(), "cluster.new");
    make_private(&scratch, account)?;
    // Not every system has the locale C.UTF-8; initdb finds out before it writes anything.
    if let Err(error) = initdb(&scratch, account, binaries, "C.UTF-8").await {
        tracing::debug!(%error, "no locale C.UTF-8, falling back to C");
        fs::remove_dir_all(&scratch).map_err(PostgresError::file("remove", &scratch))?;
        make_private(&scratch, account)?;
        initdb(&scratch, account, binaries, "C").await?;
    }
    fs::rename(&scratch, &cluster).map_err(PostgresError::file("rename", &scratch))?;
    let parent = File::open(home.path()).and_then(|directory| directory.sync_all());
    parent.map_err(PostgresError::file("sync", home.path()))
}

/// Everything that is written is synced before `initdb` ends.
async fn initdb(
    directory: &Path,
    account: &Account,
    binaries: &Binaries,
    locale: &str,
) -> Result<(), PostgresError> {
    let mut command = account.command(binaries.initdb());
    command.args([
        "--username=postgres",
        "--encoding=UTF8",
        "--data-checksums",
        "--no-instructions",
    ]);
    command
        .args(["--auth-local=trust", "--auth-host=reject"])
        .arg(format!("--locale={locale}"));
    command.arg("--pgdata").arg(directory).kill_on_drop(true);
    output(command).await.map(drop)
}

/// Moves an unusable cluster out of the way. It is kept, for it may be all that is left of somebody's data.
fn set_aside(home: &Home, progress: &Progress) -> Result<(), PostgresError> {
    let cluster = home.cluster();
    let names = (1..).map(|number| home.path().join(format!("cluster.incomplete-{number}")));
    let Some(aside) = names.into_iter().find(|name: &PathBuf| !name.exists()) else {
        return Ok(());
    };
    progress.tell(&format!(
        "{} is incomplete; it is kept as {}",
        cluster.display(),
        aside.display()
    ));
    fs::rename(&cluster, &aside).map_err(PostgresError::file("rename", &cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_complete_once_it_has_a_version_and_a_control_file() {
        let root = tempfile::tempdir().unwrap();
        let cluster = root.path().join("cluster");
        assert_eq!(state(&cluster), State::Absent);
        fs::create_dir_all(cluster.join("global")).unwrap();
        fs::write(cluster.join("PG_VERSION"), "17\n").unwrap();
        assert_eq!(state(&cluster), State::Incomplete);
        fs::write(cluster.join("global/pg_control"), "").unwrap();
        assert_eq!(state(&cluster), State::Complete(17));
    }
}
