//! `grantlog stream dead-letters`, `redeliver` and `discard`: what a stream gave up on.

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::arguments::{Confirmation, Json, Page};
use super::session::Session;
use super::{output, prompt};
use crate::domain::stream::Stream;
use crate::stream::store;

/// The events that a stream gave up on.
pub(super) async fn dead_letters(
    session: &Session,
    (name, page): (&str, Page),
    output: Json,
) -> anyhow::Result<()> {
    session.operations.stream(name).await?;
    let pool = session.ledger().pool();
    let letters = store::dead_letters(pool, Stream::id(name), (page.after, page.limit)).await?;
    if output.json {
        return output::json(&letters);
    }
    let rows: Vec<_> = letters
        .iter()
        .map(|letter| {
            [
                letter.position.to_string(),
                output::moment(letter.failed_at),
                letter.attempts.to_string(),
                letter.error.clone(),
                if letter.requested { "requested" } else { "" }.to_owned(),
            ]
        })
        .collect();
    output::table(["POSITION", "FAILED", "ATTEMPTS", "ERROR", ""], &rows)
}

/// Which dead letters.
#[derive(Args)]
pub(super) struct Letters {
    /// The stream's name
    name: String,
    /// Their positions
    #[arg(
        value_name = "POSITION",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    positions: Vec<i64>,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Letters {
    /// Their positions; none where all are meant.
    fn positions(&self) -> Option<&[i64]> {
        (!self.all).then_some(self.positions.as_slice())
    }

    /// That of those that were named there was one.
    fn found(&self, count: i64) -> anyhow::Result<()> {
        ensure!(
            count > 0 || self.all,
            "none of these positions is a dead letter of {}",
            output::visible(&self.name)
        );
        Ok(())
    }
}

/// Which to deliver once more.
#[derive(Args)]
pub(super) struct Redeliver {
    #[command(flatten)]
    letters: Letters,
    #[command(flatten)]
    output: Json,
}

impl Redeliver {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let name = &self.letters.name;
        let context = session.context("stream redeliver")?;
        let operations = &session.operations;
        let count = operations
            .redeliver(&context, name, self.letters.positions())
            .await?;
        self.letters.found(count)?;
        if self.output.json {
            return output::json(&json!({"stream": name, "requested": count}));
        }
        output::line(&format!("{count} dead letters are delivered once more"))
    }
}

/// Which to forget, and why.
#[derive(Args)]
pub(super) struct Discard {
    #[command(flatten)]
    letters: Letters,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

impl Discard {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let name = self.letters.name.as_str();
        let question = format!("Forget dead letters of {}?", output::visible(name));
        prompt::confirm(self.confirmation, &question)?;
        let context = session.context("stream discard")?;
        let operations = &session.operations;
        let count = operations
            .discard(&context, (name, self.letters.positions()), &self.reason)
            .await?;
        self.letters.found(count)?;
        if self.output.json {
            return output::json(&json!({"stream": name, "discarded": count}));
        }
        output::line(&format!("{count} dead letters are forgotten"))
    }
}
