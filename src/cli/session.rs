//! What administration works with: a connection to the ledger, for the time of one command.

use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::arguments::Connection;
use crate::app::open_operations;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::trail::LedgerRead;
use crate::ledger::{Actor, Context, Ledger};
use crate::operations::Operations;
use crate::server;

/// An opened ledger.
pub(super) struct Session {
    pub(super) operations: Operations,
    operator: Option<String>,
}

impl Session {
    /// Connects, once the schema and the master key are found to be right: under another master key names would
    /// be claimed twice and data sealed that nobody can open.
    pub(super) async fn open(connection: &Connection) -> anyhow::Result<Self> {
        let mut settings = connection.settings()?;
        settings.database_connections = 4;
        // This process serves nothing: its warnings belong to whoever typed the command.
        let _ = tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_env_filter("warn")
            .try_init();
        let mut session = Self::of(&settings).await?;
        session.operator = connection.operator();
        Ok(session)
    }

    /// As [`Self::open`], for settings at hand.
    pub(super) async fn of(settings: &Settings) -> anyhow::Result<Self> {
        server::check_database(&settings.database_url).await?;
        let master = settings.master_key().map_err(anyhow::Error::msg)?;
        let operations = open_operations(settings, Arc::new(master), Clock::default())
            .await
            .context("the ledger could not be opened")?;
        let keys = operations.signing_keys().await?;
        ensure!(
            keys.iter().all(|key| key.retired_at.is_some()) || keys.iter().any(|key| key.opens),
            "the master key is not the one that this database's keys were wrapped with"
        );
        Ok(Self {
            operations,
            operator: None,
        })
    }

    /// The ledger.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.operations.ledger
    }

    /// The context of this command's events.
    pub(super) fn context(&self, command: &'static str) -> anyhow::Result<Context> {
        let request = self.ledger().random().uuid()?;
        Ok(Context {
            operator: self.operator.clone(),
            ..Context::local(request, Actor::CommandLine, command)
        })
    }

    /// As [`Self::context`], with the administrator's reason.
    pub(super) fn context_with(
        &self,
        command: &'static str,
        reason: Option<&str>,
    ) -> anyhow::Result<Context> {
        let mut context = self.context(command)?;
        context.note = reason.map(str::to_owned);
        Ok(context)
    }

    /// Records that this command is about to show what the ledger says now, and of what.
    pub(super) async fn record_reading(
        &self,
        command: &'static str,
        narrow: impl FnOnce(&mut LedgerRead),
    ) -> anyhow::Result<()> {
        let mut reading = self.operations.reading_now().await?;
        narrow(&mut reading);
        let context = self.context(command)?;
        Ok(self.operations.record_reading(&context, reading).await?)
    }

    /// Waits for what was appended.
    pub(super) async fn close(self) {
        self.operations.ledger.close().await;
    }
}
