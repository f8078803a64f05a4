//! The files of `grantlog dev`: the master key, what it remembers of its demo clients, and `dev.json`, which says
//! to others that it serves and how.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::Randomness;
use crate::config::{self, Override, Settings};
use crate::crypto::master::MasterKey;

/// What is a run's own, and comes from nowhere else: demo clients must not end up in a database that some variable happens
/// to name.
const OWN: [&str; 7] = [
    "issuer",
    "listen",
    "database_url",
    "migration_database_url",
    "keys_database_url",
    "master_key",
    "master_key_file",
];
/// The settings that name files.
const PATHS: [&str; 6] = [
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "geoip_database",
    "evidence_checkpoint_file",
    "outbound_ca",
];

/// What the environment sets for a run. Commands beside it may be called from another directory.
pub(super) fn tuned() -> BTreeMap<String, String> {
    let set = |field: &&str| std::env::var(config::variable(field)).ok();
    let fields = config::field_names().iter().filter(|field| !OWN.contains(field));
    let found = fields.filter_map(|field| Some((*field, set(field).filter(|text| !text.is_empty())?)));
    found
        .map(|(field, text)| {
            let path = std::path::absolute(&text).ok().filter(|_| PATHS.contains(&field));
            let path = path.and_then(|path| path.to_str().map(str::to_owned));
            (field.to_owned(), path.unwrap_or(text))
        })
        .collect()
}

/// A data directory's files.
pub(super) struct DevFiles {
    dir: PathBuf,
}

/// What other programs need to know of a running `grantlog dev`. Scripts rely on its shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DevJson {
    pub(super) issuer: String,
    /// Where it listens, `ADDR:PORT`.
    #[serde(default)]
    pub(super) listen: Option<String>,
    pub(super) database_url: String,
    pub(super) clients: DevClients,
    pub(super) users: Vec<DevUser>,
    pub(super) admin: DevAdmin,
    /// What the environment set for it, by field.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
}

/// The demo clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DevClients {
    pub(super) confidential: DevClient,
    pub(super) public: DevClient,
    pub(super) machine: DevClient,
}

/// A demo client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DevClient {
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) scopes: Vec<String>,
}

/// A demo user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DevUser {
    pub(super) username: String,
    pub(super) password: String,
}

/// The client that may administer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DevAdmin {
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
}

/// Secrets that the next start needs again: by client id, and passwords by user name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Remembered {
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) passwords: BTreeMap<String, String>,
}

impl DevFiles {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes the directory, and gives up the `dev.json` of an earlier run: whoever waits for it waits for this one.
    /// Held for as long as `grantlog dev` runs: a second one would take the first one's files away.
    pub(super) fn lock(&self) -> anyhow::Result<fs::File> {
        let path = self.dir.join("dev.lock");
        let file = fs::File::create(&path).with_context(|| format!("{}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                anyhow::bail!("another `grantlog dev` runs in {}", self.dir.display())
            }
            Err(fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.dir).with_context(|| format!("{} cannot be made", self.dir.display()))?;
        self.withdraw(None)
    }

    /// The directory of the embedded Postgres.
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    fn master_key(&self) -> PathBuf {
        self.dir.join("master.key")
    }

    fn dev_json(&self) -> PathBuf {
        self.dir.join("dev.json")
    }

    fn remembered_path(&self) -> PathBuf {
        self.dir.join("secrets.json")
    }

    /// Makes the master key where there is none.
    pub(super) fn ensure_master_key(&self) -> anyhow::Result<()> {
        let path = self.master_key();
        if path.exists() {
            return Ok(());
        }
        let key: [u8; MasterKey::LEN] = Randomness::default().bytes()?;
        write_private(&path, &format!("{}\n", URL_SAFE_NO_PAD.encode(key)))
    }

    /// What an earlier run remembered; nothing where the file is lost.
    pub(super) fn remembered(&self) -> anyhow::Result<Remembered> {
        match fs::read_to_string(self.remembered_path()) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged: delete it", self.remembered_path().display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Remembered::default()),
            Err(error) => Err(error).context("the remembered secrets cannot be read"),
        }
    }

    /// Remembers for the next run.
    pub(super) fn remember(&self, remembered: &Remembered) -> anyhow::Result<()> {
        write_private(
            &self.remembered_path(),
            &serde_json::to_string_pretty(remembered)?,
        )
    }

    /// Says that this run serves.
    pub(super) fn announce(&self, running: &DevJson) -> anyhow::Result<()> {
        write_private(&self.dev_json(), &serde_json::to_string_pretty(running)?)
    }

    /// Removes `dev.json`; where an issuer is given, only if it is that one's.
    pub(super) fn withdraw(&self, issuer: Option<&str>) -> anyhow::Result<()> {
        let is_ours = || {
            self.running()
                .is_ok_and(|running| Some(running.issuer.as_str()) == issuer)
        };
        if issuer.is_some() && !is_ours() {
            return Ok(());
        }
        match fs::remove_file(self.dev_json()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be removed", self.dev_json().display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn running(&self) -> anyhow::Result<DevJson> {
        let path = self.dev_json();
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "no `grantlog dev` runs in {} ({} cannot be read)",
                self.dir.display(),
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// The settings of the run that `dev.json` tells of.
    pub(super) fn settings_of_running(&self) -> anyhow::Result<Settings> {
        let running = self.running()?;
        let listen = running.listen.map(|address| ("listen", "--listen", address));
        self.settings(
            (&running.issuer, &running.database_url),
            &running.settings,
            listen.into_iter().collect(),
        )
    }

    /// The settings of a run, which the environment may tune, and beside it those that it was tuned with.
    pub(super) fn settings(
        &self,
        (issuer, database_url): (&str, &str),
        tuned: &BTreeMap<String, String>,
        further: Vec<Override>,
    ) -> anyhow::Result<Settings> {
        let is_own = |name: &str| OWN.iter().any(|field| config::variable(field) == name);
        // Clients in development live on this machine; whoever sets the variable wants something else.
        let allow = (
            config::variable("outbound_allow"),
            "localhost,127.0.0.0/8,::1".to_owned(),
        );
        let tuned = tuned
            .iter()
            .map(|(field, text)| (config::variable(field), text.clone()));
        let environment = std::iter::once(allow)
            .chain(tuned)
            .chain(std::env::vars())
            .filter(|(name, _)| !is_own(name));
        let key_file = self.master_key();
        let key_file = key_file.to_str().map(str::to_owned);
        ensure!(key_file.is_some(), "the data directory's path is not UTF-8");
        let mut overrides = vec![
            ("issuer", "--issuer", issuer.to_owned()),
            ("database_url", "--database-url", database_url.to_owned()),
            ("master_key_file", "--data-dir", key_file.unwrap_or_default()),
        ];
        overrides.extend(further);
        Ok(config::load_with(None, environment, overrides)?)
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
