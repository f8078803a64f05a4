//! How many requests are under way at once: in all, and to one host, so that a dead host holds up nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// At once, in all.
const IN_ALL: usize = 64;
/// At once, to one host and port.
const PER_HOST: usize = 4;
/// From how many known hosts on those without a request are forgotten.
const KNOWN_HOSTS: usize = 1024;

/// Counts requests.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to make a request, until it is dropped.
pub(super) struct Turn {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(IN_ALL)),
            hosts: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn. The host's own queue comes first: who waits there takes no room from others.
    pub(super) async fn take(&self, host: &str) -> Option<Turn> {
        let of_host = self.of_host(host);
        let host = of_host.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _host: host,
            _all: all,
        })
    }

    fn of_host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= KNOWN_HOSTS {
            hosts.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let turns = hosts
            .entry(host.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(PER_HOST)));
        Arc::clone(turns)
    }
}
