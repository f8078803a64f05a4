//! Arguments that many commands have.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;
use clap::Args;

use super::dev_files::DevFiles;
use crate::config::{self, Override, Settings};
use crate::ledger::Operator;

/// Where a running `grantlog dev` keeps its files unless told otherwise.
pub(super) const DEFAULT_DATA_DIR: &str = ".grantlog";

/// Which Grantlog a command is about.
#[derive(Args, Clone, Debug, Default)]
pub struct Connection {
    /// The configuration file (TOML); GRANTLOG_* variables win over it
    #[arg(long, global = true, env = "GRANTLOG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory of `grantlog dev` [default: .grantlog]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Who administers: recorded with what is done, encrypted [default: the login name, under sudo that of who called it]
    #[arg(long, global = true, env = "GRANTLOG_OPERATOR", value_name = "NAME", value_parser = Operator::parse)]
    operator: Option<String>,
}

/// The login name: under sudo, of who called it. None where the system knows none for this process.
fn login_name() -> Option<String> {
    let asked = || {
        let output = Command::new("id")
            .arg("-un")
            .stderr(Stdio::null())
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let called = std::env::var("SUDO_USER").ok();
    called.or_else(asked).and_then(|name| Operator::parse(&name).ok())
}

impl Connection {
    /// Who administers.
    pub(super) fn operator(&self) -> Option<String> {
        self.operator.clone().or_else(login_name)
    }

    /// The data directory of `grantlog dev`.
    pub(super) fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR))
    }

    /// The settings of a file and the environment, for servers.
    pub(super) fn configured(&self, overrides: Vec<Override>) -> anyhow::Result<Settings> {
        Ok(config::load_with(
            self.config.as_deref(),
            std::env::vars(),
            overrides,
        )?)
    }

    /// The settings to administer with: those of the named data directory, else of the configuration where
    /// there is one, else of the usual data directory.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        if let Some(dir) = &self.data_dir {
            return DevFiles::new(dir).settings_of_running();
        }
        if self.config.is_some() || std::env::var_os(config::variable("database_url")).is_some() {
            return self.configured(Vec::new());
        }
        if Path::new(DEFAULT_DATA_DIR).is_dir() {
            return DevFiles::new(Path::new(DEFAULT_DATA_DIR)).settings_of_running();
        }
        bail!(
            "no Grantlog to connect to: give --config FILE or GRANTLOG_* variables, or --data-dir DIR of a \
             running `grantlog dev`"
        )
    }
}

/// `--json`.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A page of a list.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Page {
    /// Begin after this position of the ledger (a page's last one)
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    pub(super) after: i64,
    /// The most lines
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
}

/// `--yes`.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Confirmation {
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
}
