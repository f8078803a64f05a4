//! A `PostgreSQL` server of our own, for `grantlog dev` and for the tests.
//!
//! [`Postgres::start`] finds the server's programs (or obtains them), makes a cluster in the data directory
//! unless there is one, and starts it, reachable through a Unix socket alone. The server is restarted when it
//! dies and stopped when the handle is dropped or when the process ends, however it ends. It never runs without
//! `fsync`. Two processes may use one data directory: the first one owns the server, the other adopts it.
//!
//! From the inside out: `account` (as whom), `search` and `obtain` (which programs), `home` (where), `cluster`
//! (`initdb`), `server` (one start), `watchdog` (the end), `owner` (one server after another), `supervisor`
//! (owner or guest).

mod account;
mod apt;
mod cluster;
mod command;
mod error;
mod home;
mod npm;
mod obtain;
mod owner;
mod pidfile;
mod pip;
mod search;
mod server;
mod settings;
mod supervisor;
mod unpack;
mod watchdog;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

pub use error::PostgresError;
pub use search::{Search, Source};
use supervisor::{Address, Status};

/// Takes one line for the user at a time.
#[derive(Clone)]
pub(crate) struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the cluster and what belongs to it lie. Made if it does not exist.
    pub data_dir: PathBuf,
    /// Whether to do without a network: nothing is downloaded.
    pub offline: bool,
    /// Settings as in `postgresql.conf`, except those that durability and the supervisor depend on.
    pub settings: Vec<(String, String)>,
    /// Where to look for the programs, and how to obtain them.
    pub search: Search,
}

impl Options {
    /// With the environment's programs and default settings.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            data_dir,
            offline: false,
            settings: Vec::new(),
            search: Search::from_env(),
        }
    }
}

/// A running server. To drop the handle stops the server (in the background), unless it was adopted.
#[derive(Debug)]
pub struct Postgres {
    address: Address,
    status: watch::Receiver<Status>,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<Result<(), PostgresError>>,
}

impl Postgres {
    /// Starts the server, or adopts the one that already serves this data directory, and returns once it
    /// accepts connections. `progress` gets a line for whatever may take more than a moment.
    pub async fn start(
        options: Options,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, PostgresError> {
        let link = supervisor::spawn(options, Progress(Arc::new(progress)))?;
        let address = link.started.await.map_err(|_| PostgresError::SupervisorEnded)??;
        Ok(Self {
            address,
            status: link.status,
            stop: link.stop,
            stopped: link.stopped,
        })
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.address.socket_dir
    }

    /// The port, which is part of the socket's name. Nothing listens on TCP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port
    }

    /// A URL for clients. The superuser is called `postgres`, and so is the database that is always there.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        // The host in the authority only satisfies parsers that do not allow a user without one.
        format!(
            "postgres://{}@localhost/{}?host={}&port={}",
            percent_encoded(user.as_bytes()),
            percent_encoded(database.as_bytes()),
            percent_encoded(self.address.socket_dir.as_os_str().as_encoded_bytes()),
            self.address.port,
        )
    }

    /// What `PostgreSQL` itself calls the data directory: where `postmaster.pid` is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.address.cluster
    }

    /// The postmaster's process id; none while the server is being restarted.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.status.borrow().pid
    }

    /// Whether another process owns the server. Becomes false if that ends and we take over.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.status.borrow().adopted
    }

    /// Stops the server unless it is adopted, and returns once it has ended.
    pub async fn stop(self) -> Result<(), PostgresError> {
        drop(self.stop);
        self.stopped.await.map_err(|_| PostgresError::SupervisorEnded)?
    }
}

/// Everything but what RFC 3986 calls unreserved is encoded.
fn percent_encoded(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                encoded.push(char::from(*byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
            encoded
        })
}

impl Progress {
    fn tell(&self, line: &str) {
        (self.0)(line);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}
