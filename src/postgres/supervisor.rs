//! The task behind a [`Postgres`](super::Postgres) handle. It has a thread and a runtime of its own, so that the
//! server lives as long as the handle and not only as long as the runtime that happened to start it.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::error::PostgresError;
use super::home::Home;
use super::owner::Owner;
use super::pidfile::{self, Live};
use super::settings::PORT;
use super::{Options, Progress};

/// For how long another process may be busy with the data directory (it may be downloading).
const PATIENCE: Duration = Duration::from_mins(5);

/// The server as it is now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    pub(crate) pid: Option<u32>,
    pub(crate) adopted: bool,
}

/// Where the server is, for as long as the handle lives.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) cluster: PathBuf,
    pub(crate) socket_dir: PathBuf,
    pub(crate) port: u16,
}

/// The handle's connection to the task.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) started: oneshot::Receiver<Result<Address, PostgresError>>,
    pub(crate) status: watch::Receiver<Status>,
    /// To drop it stops the server.
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) stopped: oneshot::Receiver<Result<(), PostgresError>>,
}

/// Starts the task.
pub(crate) fn spawn(options: Options, progress: Progress) -> Result<Link, PostgresError> {
    let failed = |source| PostgresError::Spawn {
        program: "the PostgreSQL supervisor".to_owned(),
        source,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (tell_started, started) = oneshot::channel();
    let (tell_stopped, stopped) = oneshot::channel();
    let (stop, mut asked_to_stop) = oneshot::channel();
    let (publish, status) = watch::channel(Status::default());
    let task = async move {
        let begun = tokio::select! {
            begun = Supervisor::begin(options, progress, publish) => begun,
            // Nobody waits any longer. What has been started so far is dropped and thereby stopped.
            _ = &mut asked_to_stop => return,
        };
        match begun {
            Err(error) => drop(tell_started.send(Err(error))),
            Ok((supervisor, address)) => {
                let _ = tell_started.send(Ok(address));
                let _ = tell_stopped.send(supervisor.run(asked_to_stop).await);
            }
        }
    };
    let thread = std::thread::Builder::new().name("postgres-supervisor".to_owned());
    thread.spawn(move || runtime.block_on(task)).map_err(failed)?;
    Ok(Link {
        started,
        status,
        stop,
        stopped,
    })
}

/// What we are to the server.
#[derive(Debug)]
enum Role {
    Owner(Box<Owner>),
    /// Somebody else's server, by its process id.
    Guest(u32),
}

/// What a claim on a data directory has come to.
#[derive(Debug)]
enum Claim {
    Owner(File),
    Guest(Live),
}

#[derive(Debug)]
struct Supervisor {
    options: Options,
    progress: Progress,
    home: Home,
    role: Role,
    socket_dir: PathBuf,
    publish: watch::Sender<Status>,
}

impl Supervisor {
    async fn begin(
        options: Options,
        progress: Progress,
        publish: watch::Sender<Status>,
    ) -> Result<(Self, Address), PostgresError> {
        let account = Account::choose(None).await?;
        let home = Home::resolve(&options.data_dir, &account, &progress).await?;
        let (role, live) = match claim(&home).await? {
            Claim::Owner(lock) => {
                let (owner, live) = Owner::begin(&options, &home, lock, &progress).await?;
                (Role::Owner(Box::new(owner)), live)
            }
            Claim::Guest(live) => {
                progress.tell(&format!(
                    "using the PostgreSQL that already serves {}",
                    home.path().display()
                ));
                (Role::Guest(live.pid), live)
            }
        };
        let Live {
            pid,
            port,
            socket_dir,
        } = live;
        let address = Address {
            cluster: home.cluster(),
            socket_dir: socket_dir.clone(),
            port,
        };
        publish.send_replace(Status {
            pid: Some(pid),
            adopted: matches!(role, Role::Guest(_)),
        });
        Ok((
            Self {
                options,
                progress,
                home,
                role,
                socket_dir,
                publish,
            },
            address,
        ))
    }

    /// Keeps the server alive until the handle is gone.
    async fn run(mut self, mut asked_to_stop: oneshot::Receiver<()>) -> Result<(), PostgresError> {
        loop {
            tokio::select! {
                _ = &mut asked_to_stop => break,
                () = self.outlive_one_server() => {}
            }
        }
        match self.role {
            Role::Owner(owner) => owner.stop().await,
            Role::Guest(_) => Ok(()),
        }
    }

    /// Waits until the server has ended, and then for the next one.
    async fn outlive_one_server(&mut self) {
        match &mut self.role {
            Role::Owner(owner) => {
                owner.ended().await;
                self.publish.send_replace(Status::default());
                let live = owner.restart().await;
                self.publish.send_replace(Status {
                    pid: Some(live.pid),
                    adopted: false,
                });
            }
            Role::Guest(pid) => {
                while pidfile::serves(*pid, &self.home.cluster()).await {
                    sleep(Duration::from_millis(300)).await;
                }
                tracing::warn!(pid, "the PostgreSQL that we use but do not own has ended");
                self.publish.send_replace(Status {
                    pid: None,
                    adopted: true,
                });
                if let Err(error) = self.succeed().await {
                    tracing::error!(%error, "there is no PostgreSQL at present");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Finds the adopted server's successor, or becomes its owner. Whoever uses the handle has its address
    /// already, so the successor must be at the same one.
    async fn succeed(&mut self) -> Result<(), PostgresError> {
        let (role, live) = match claim(&self.home).await? {
            Claim::Guest(live) => (Role::Guest(live.pid), live),
            Claim::Owner(lock) => {
                let account = Account::choose(Some(&self.home.cluster())).await?;
                if self.home.socket_dir(&account)? != self.socket_dir {
                    return Err(PostgresError::NoSocket {
                        cluster: self.home.cluster(),
                    });
                }
                let (owner, live) = Owner::begin(&self.options, &self.home, lock, &self.progress).await?;
                (Role::Owner(Box::new(owner)), live)
            }
        };
        if live.socket_dir != self.socket_dir || live.port != PORT {
            return Err(PostgresError::NoSocket {
                cluster: self.home.cluster(),
            });
        }
        self.publish.send_replace(Status {
            pid: Some(live.pid),
            adopted: matches!(role, Role::Guest(_)),
        });
        self.role = role;
        Ok(())
    }
}

/// Becomes the owner of a data directory, or finds the server that its owner runs. Of any number that try at
/// once, one becomes the owner and the others wait for its server.
async fn claim(home: &Home) -> Result<Claim, PostgresError> {
    let began = Instant::now();
    let (lock, cluster) = (home.owner_lock()?, home.cluster());
    while began.elapsed() < PATIENCE {
        if locked(&lock, home)? {
            // A watchdog without an owner is about to stop the server: its use would be short.
            if locked(&home.watchdog_lock()?, home)? {
                if let Some(live) = pidfile::live(&cluster).await? {
                    return Ok(Claim::Guest(live));
                }
                if pidfile::server(&cluster).await.is_none() {
                    return Ok(Claim::Owner(lock));
                }
            }
            lock.unlock()
                .map_err(PostgresError::file("unlock", home.path()))?;
        } else if let Some(live) = pidfile::live(&cluster).await? {
            return Ok(Claim::Guest(live));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(PostgresError::Busy {
        home: home.path().to_owned(),
        waited: PATIENCE.as_secs(),
    })
}

/// Whether the lock is ours now. It is released when the file is closed, at the latest when we end.
fn locked(lock: &File, home: &Home) -> Result<bool, PostgresError> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(PostgresError::file("lock", home.path())(error)),
    }
}
