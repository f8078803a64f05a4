//! Where a cluster and what belongs to it lie.
//!
//! A data directory holds `cluster/` (what `PostgreSQL` calls the data directory), `socket/`, the server's log
//! and two lock files. If the user that `PostgreSQL` runs as cannot reach the directory that was asked for, all
//! this lies elsewhere, and the directory that was asked for holds a `location` file that names the place.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::Progress;
use super::account::Account;
use super::error::PostgresError;
use super::settings::PORT;

/// Where root keeps clusters whose own directory is out of reach.
const ELSEWHERE: [&str; 2] = ["/var/lib/grantlog", "/var/tmp/grantlog"];

/// The longest socket path that every system takes (macOS has 104 bytes with the terminator).
const LONGEST_SOCKET: usize = 103;

/// The directory of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// Makes the directory that was asked for, or finds the place that stands in for it.
    pub(crate) async fn resolve(
        wanted: &Path,
        account: &Account,
        progress: &Progress,
    ) -> Result<Self, PostgresError> {
        let wanted = std::path::absolute(wanted).map_err(PostgresError::file("resolve", wanted))?;
        make_directories(&wanted)?;
        let wanted = fs::canonicalize(&wanted).map_err(PostgresError::file("resolve", &wanted))?;
        let occupied = |problem| {
            Err(PostgresError::Occupied {
                directory: wanted.clone(),
                problem,
            })
        };
        if wanted.join("PG_VERSION").exists() {
            return occupied("is itself a PostgreSQL cluster");
        }
        if !account.dropped || account.can_enter(&wanted).await {
            return Ok(Self(wanted));
        }
        if wanted.join("cluster").exists() {
            return occupied("has a cluster, but the user PostgreSQL must run as cannot enter it");
        }
        // Two that start at once must not choose different places.
        let lock = open_lock(&wanted.join("location.lock"))?;
        lock.lock().map_err(PostgresError::file("lock", &wanted))?;
        let home = match recorded(&wanted) {
            Some(home) => home,
            None => Self::record_elsewhere(&wanted, account).await?,
        };
        make_directories(&home)?;
        let home = fs::canonicalize(&home).map_err(PostgresError::file("resolve", &home))?;
        let at = home.display();
        progress.tell(&format!(
            "the user {} cannot reach {}; its cluster lies in {at}",
            account.name,
            wanted.display()
        ));
        Ok(Self(home))
    }

    /// Chooses a place that holds no cluster yet, and notes it in the directory that was asked for.
    async fn record_elsewhere(wanted: &Path, account: &Account) -> Result<PathBuf, PostgresError> {
        let name = short_hash(wanted);
        for root in ELSEWHERE.map(Path::new) {
            let usable = make_directories(root).is_ok() && private_to_us(root, 0);
            if !usable || !account.can_enter(root).await {
                continue;
            }
            // A cluster that is there already belonged to a directory of the same name that has been deleted:
            // who deletes a data directory wants an empty one.
            let places = (1..).map(|attempt| {
                if attempt == 1 {
                    name.clone()
                } else {
                    format!("{name}-{attempt}")
                }
            });
            let free = places
                .map(|place| root.join(place))
                .find(|place| !place.join("cluster").exists());
            if let Some(home) = free {
                let note = format!("{}\n{}\n", home.display(), wanted.display());
                let file = wanted.join("location");
                fs::write(&file, note).map_err(PostgresError::file("write", &file))?;
                return Ok(home);
            }
        }
        Err(PostgresError::Unreachable {
            account: account.name.clone(),
            wanted: wanted.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What `PostgreSQL` itself calls the data directory.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.0.join("cluster")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("postgres.log")
    }

    /// Held by the process that starts, runs and stops the server.
    pub(crate) fn owner_lock(&self) -> Result<File, PostgresError> {
        open_lock(&self.0.join("owner.lock"))
    }

    /// Held by the watchdog for as long as there may be something for it to stop.
    pub(crate) fn watchdog_lock(&self) -> Result<File, PostgresError> {
        open_lock(&self.0.join("watchdog.lock"))
    }

    /// A directory for the Unix socket that only the server's user (and root) may enter: in the data directory,
    /// or, since the path of a socket must be short, at a shorter place.
    pub(crate) fn socket_dir(&self, account: &Account) -> Result<PathBuf, PostgresError> {
        let own = self.0.join("socket");
        let socket = super::pidfile::socket_in(&own, PORT);
        let fits = |text: &str| text.len() <= LONGEST_SOCKET && !text.contains(char::is_control);
        if socket.to_str().is_some_and(fits) {
            make_private(&own, account)?;
            return Ok(own);
        }
        let name = format!("grantlog-pg-{}-{}", account.uid, short_hash(&self.0));
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime =
            runtime.filter(|path| !account.dropped && path.is_absolute() && path.as_os_str().len() < 40);
        let roots = runtime
            .into_iter()
            .chain([PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]);
        let mut refused = None;
        for directory in roots.map(|root| root.join(&name)) {
            match make_private(&directory, account) {
                Ok(()) => return Ok(directory),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(PostgresError::Unreachable {
            account: account.name.clone(),
            wanted: own,
        }))
    }
}

/// The place that a `location` file names. A copy of a data directory does not share the original's cluster.
fn recorded(wanted: &Path) -> Option<PathBuf> {
    let note = fs::read_to_string(wanted.join("location")).ok()?;
    let (home, from) = note.trim_end().split_once('\n')?;
    let original = Path::new(from);
    let copied =
        original != wanted && fs::read_to_string(original.join("location")).is_ok_and(|it| it == note);
    (!copied && home.starts_with('/')).then(|| PathBuf::from(home))
}

/// Opens a lock file that only its owner may lock.
pub(crate) fn open_lock(path: &Path) -> Result<File, PostgresError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).map_err(PostgresError::file("open", path))
}

/// Makes a directory and its parents; whatever our umask is, others may pass through the new ones.
pub(crate) fn make_directories(path: &Path) -> Result<(), PostgresError> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|directory| !directory.exists())
        .collect();
    fs::create_dir_all(path).map_err(PostgresError::file("create", path))?;
    for directory in missing {
        fs::set_permissions(directory, Permissions::from_mode(0o755))
            .map_err(PostgresError::file("change the mode of", directory))?;
    }
    Ok(())
}

/// A name for work in progress that no other process uses, not even one that a killed predecessor has left
/// running. What such predecessors have left behind is removed where it can be. The caller holds a lock.
pub(crate) fn scratch_name(parent: &Path, prefix: &str) -> PathBuf {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove what an interrupted start left");
        }
    }
    parent.join(format!("{prefix}-{}", std::process::id()))
}

/// Makes a directory that only `account` may enter, or accepts one that is just that.
pub(crate) fn make_private(path: &Path, account: &Account) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.give(path),
        Err(_) if private_to_us(path, account.uid) => Ok(()),
        Err(_) if path.exists() => {
            let problem = "is not a directory that belongs to the server's user alone";
            Err(PostgresError::Occupied {
                directory: path.to_owned(),
                problem,
            })
        }
        Err(source) => Err(PostgresError::File {
            action: "create",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether this is a real directory (no link) of this user in which nobody else can write.
pub(crate) fn private_to_us(path: &Path, uid: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_dir() && it.uid() == uid && it.mode() & 0o022 == 0)
}

/// A name for a path that is short and stays the same.
fn short_hash(path: &Path) -> String {
    let hash = digest(&SHA256, path.as_os_str().as_encoded_bytes());
    let first = hash.as_ref().iter().take(8);
    format!(
        "{:016x}",
        first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_location_is_not_followed_but_a_moved_one_is() {
        let root = tempfile::tempdir().unwrap();
        let (original, copy) = (root.path().join("original"), root.path().join("copy"));
        fs::create_dir(&original).unwrap();
        fs::create_dir(&copy).unwrap();
        let note = format!("/elsewhere/1\n{}\n", original.display());
        fs::write(original.join("location"), &note).unwrap();
        fs::write(copy.join("location"), &note).unwrap();
        assert_eq!(recorded(&original), Some("/elsewhere/1".into()));
        assert_eq!(recorded(&copy), None);
        fs::remove_dir_all(&original).unwrap();
        assert_eq!(recorded(&copy), Some("/elsewhere/1".into()));
    }
}
