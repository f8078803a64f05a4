//! `PostgreSQL` from Debian's and Ubuntu's package, without the cluster and the service that come with it.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Progress;
use super::account::Account;
use super::command::{output_with_ticks, tool};
use super::error::PostgresError;
use super::home::make_directories;

/// Settings for clusters that the package makes; it reads every file in it, whether it was there before the
/// package or not.
const DROP_INS: &str = "/etc/postgresql-common/createcluster.d";
const LISTS: &str = "/var/lib/apt/lists";

/// Whether this is root on a system that has apt.
pub(crate) fn applies(account: &Account) -> bool {
    account.dropped && Path::new("/usr/bin/apt-get").exists() && Path::new("/etc/debian_version").exists()
}

/// Installs the server's programs, which then are in `/usr/lib/postgresql`.
pub(crate) async fn install(progress: &Progress) -> Result<(), PostgresError> {
    let _no_cluster = NoCluster::declare(Path::new(DROP_INS))?;
    if !has_lists(Path::new(LISTS)) {
        output_with_ticks(update(), "fetching the lists of packages with apt-get", progress).await?;
    }
    let label = "installing PostgreSQL with apt-get";
    if let Err(error) = output_with_ticks(installation(), label, progress).await {
        tracing::info!(%error, "apt-get failed; its lists may be out of date");
        output_with_ticks(
            update(),
            "fetching newer lists of packages with apt-get",
            progress,
        )
        .await?;
        output_with_ticks(installation(), label, progress).await?;
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = tool("/usr/bin/apt-get");
    // To interrupt dpkg half way would leave work for the administrator.
    command
        .kill_on_drop(false)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=120"]);
    command
}

fn update() -> Command {
    let mut command = apt_get();
    command.args(["update", "--quiet"]);
    command
}

fn installation() -> Command {
    let mut command = apt_get();
    command.args([
        "install",
        "-y",
        "--quiet",
        "--no-install-recommends",
        "postgresql",
    ]);
    command
}

fn has_lists(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// Says, for as long as it lives, that the package shall not make (and so not start) a cluster of its own.
/// What the administrator has configured stays as it is: this is a file of ours among theirs.
#[derive(Debug)]
struct NoCluster {
    file: PathBuf,
    /// The directories that we have made, the innermost first.
    made: Vec<PathBuf>,
}

impl NoCluster {
    fn declare(drop_ins: &Path) -> Result<Self, PostgresError> {
        let missing = drop_ins.ancestors().take_while(|directory| !directory.exists());
        let made = missing.map(Path::to_owned).collect();
        make_directories(drop_ins)?;
        let file = drop_ins.join("grantlog.conf");
        fs::write(&file, "create_main_cluster = false\n").map_err(PostgresError::file("write", &file))?;
        Ok(Self { file, made })
    }
}

impl Drop for NoCluster {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(path = %self.file.display(), %error, "could not remove our configuration");
        }
        for directory in &self.made {
            // Fails, as it should, where the package has put files of its own.
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let command = command.as_std();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn apt_is_asked_for_the_server_without_questions() {
        let expected = "/usr/bin/apt-get -o DPkg::Lock::Timeout=120 install -y --quiet --no-install-recommends postgresql";
        assert_eq!(words(&installation()), expected);
        assert!(
            installation()
                .as_std()
                .get_envs()
                .any(|(name, _)| name == "DEBIAN_FRONTEND")
        );
    }

    #[test]
    fn the_administrators_configuration_is_left_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let drop_ins = root.path().join("common/createcluster.d");
        let declared = NoCluster::declare(&drop_ins).unwrap();
        let text = fs::read_to_string(drop_ins.join("grantlog.conf")).unwrap();
        assert_eq!(text, "create_main_cluster = false\n");
        drop(declared);
        assert!(!root.path().join("common").exists());

        fs::create_dir_all(&drop_ins).unwrap();
        fs::write(drop_ins.join("theirs.conf"), "ssl = off\n").unwrap();
        drop(NoCluster::declare(&drop_ins).unwrap());
        assert_eq!(
            fs::read_to_string(drop_ins.join("theirs.conf")).unwrap(),
            "ssl = off\n"
        );
        assert!(!drop_ins.join("grantlog.conf").exists());
    }

    #[test]
    fn lists_of_packages_are_recognised() {
        let lists = tempfile::tempdir().unwrap();
        assert!(!has_lists(lists.path()));
        fs::write(
            lists
                .path()
                .join("mirror_dists_stable_main_binary-amd64_Packages.lz4"),
            "",
        )
        .unwrap();
        assert!(has_lists(lists.path()));
    }
}
