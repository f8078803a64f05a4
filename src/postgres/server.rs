//! Starting one server process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::Progress;
use super::account::Account;
use super::command::tail;
use super::error::PostgresError;
use super::home::Home;
use super::pidfile::{self, Live, socket_in};
use super::search::Binaries;
use super::settings::PORT;
use super::watchdog::Watchdog;

/// A log that has grown larger than this is put aside at the next start.
const LARGEST_LOG: u64 = 16 * 1024 * 1024;

/// Everything needed to start the server, any number of times.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) home: Home,
    pub(crate) account: Account,
    pub(crate) binaries: Binaries,
    pub(crate) socket_dir: PathBuf,
    pub(crate) settings: Vec<(String, String)>,
}

impl Plan {
    /// Starts the server under the watchdog's eyes and waits until it accepts connections.
    pub(crate) async fn start(
        &self,
        watchdog: &mut Watchdog,
        progress: &Progress,
    ) -> Result<(Child, Live), PostgresError> {
        pidfile::disarm(&self.home.cluster()).await?;
        self.remove_stale_socket();
        let mut log = self.open_log()?;
        let end = log
            .seek(SeekFrom::End(0))
            .map_err(PostgresError::file("read", &self.home.log()))?;
        let mut child = self.launch(watchdog, &log).await?;
        let live = self.ready(&mut child, progress).await;
        let live = live.map_err(|ending| {
            let mut text = String::new();
            let read = log
                .seek(SeekFrom::Start(end))
                .and_then(|_| log.read_to_string(&mut text));
            let said = read.map(|_| tail(&text, 12)).unwrap_or_default();
            PostgresError::Start {
                log: self.home.log(),
                detail: format!("{ending}\n{said}"),
            }
        })?;
        Ok((child, live))
    }

    /// The process waits for our word before it becomes the server, so that the watchdog knows it first: at no
    /// moment could we be killed and leave a server behind.
    async fn launch(&self, watchdog: &mut Watchdog, log: &File) -> Result<Child, PostgresError> {
        let spawn = |source| PostgresError::Spawn {
            program: self.binaries.to_string(),
            source,
        };
        let cluster = self.home.cluster();
        let mut command = self.account.command("/bin/sh");
        command.args(["-c", "read -r go && exec \"$@\" </dev/null", "sh"]);
        command
            .arg(self.binaries.postgres())
            .arg("-D")
            .arg(&cluster)
            .current_dir(&cluster);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // The list of directories is separated by commas, unless they are quoted.
        let socket_dir = self.socket_dir.to_string_lossy().replace('"', "\"\"");
        command
            .arg("-c")
            .arg(format!("unix_socket_directories=\"{socket_dir}\""));
        let duplicate = || {
            log.try_clone()
                .map_err(PostgresError::file("open", &self.home.log()))
        };
        command
            .stdin(Stdio::piped())
            .stdout(duplicate()?)
            .stderr(duplicate()?);
        let mut child = command.spawn().map_err(spawn)?;
        let pid = child
            .id()
            .ok_or_else(|| spawn(std::io::ErrorKind::NotFound.into()))?;
        watchdog.watch(pid).await?;
        let mut input = child
            .stdin
            .take()
            .ok_or_else(|| spawn(std::io::ErrorKind::BrokenPipe.into()))?;
        input.write_all(b"go\n").await.map_err(spawn)?;
        Ok(child)
    }

    /// Waits for as long as the server is alive: recovery after a crash takes the time it takes.
    async fn ready(&self, child: &mut Child, progress: &Progress) -> Result<Live, String> {
        const EVERY: Duration = Duration::from_secs(5);
        let pid = child.id();
        let began = Instant::now();
        let mut next = EVERY;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            let live = pidfile::live(&self.home.cluster())
                .await
                .map_err(|error| error.to_string())?;
            if let Some(live) = live.filter(|live| Some(live.pid) == pid) {
                return Ok(live);
            }
            if began.elapsed() >= next {
                progress.tell(&format!("PostgreSQL is still starting ({} s)", next.as_secs()));
                next += EVERY;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The directory is the server's alone and no server runs, so these are left over. A lock file whose process
    /// id another program has got would otherwise stop the server.
    fn remove_stale_socket(&self) {
        let socket = socket_in(&self.socket_dir, PORT);
        for stale in [socket.with_extension(format!("{PORT}.lock")), socket] {
            if std::fs::remove_file(&stale).is_ok() {
                tracing::debug!(path = %stale.display(), "removed a stale socket file");
            }
        }
    }

    fn open_log(&self) -> Result<File, PostgresError> {
        let path = self.home.log();
        if std::fs::metadata(&path).is_ok_and(|log| log.len() > LARGEST_LOG) {
            let old = self.home.path().join("postgres.log.old");
            std::fs::rename(&path, &old).map_err(PostgresError::file("rename", &path))?;
        }
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600);
        options.open(&path).map_err(PostgresError::file("open", &path))
    }
}

/// Whether a failed start may succeed in a moment: backends that have outlived a killed postmaster hold the
/// shared memory until they notice. The message is English, for the server has no other locale.
pub(crate) fn is_passing(error: &PostgresError) -> bool {
    matches!(error, PostgresError::Start { detail, .. } if detail.contains("shared memory block"))
}
