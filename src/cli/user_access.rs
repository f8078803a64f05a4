//! `grantlog user sessions`, `end-session`, `consents` and `withdraw-consent`.

use anyhow::{bail, ensure};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::user::find;
use super::{client, output, prompt};
use crate::ids::SessionId;
use crate::operations::account::EndedBy;

/// Whose logins.
#[derive(Args)]
pub(super) struct Sessions {
    /// The login name or the subject's id
    user: String,
    /// Decrypt the callers' addresses and user agents
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Json,
}

impl Sessions {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let subject = find(session, &self.user).await?;
        session
            .record_reading("user sessions", |reading| {
                reading.subject = Some(subject);
                reading.revealed = self.reveal;
            })
            .await?;
        let logins = session.operations.shown_logins(subject, self.reveal).await?;
        if self.output.json {
            return output::json(&logins);
        }
        let rows: Vec<_> = logins
            .iter()
            .map(|login| {
                let caller = login.caller.as_ref();
                let address = caller.and_then(|caller| caller.address);
                let agent = caller.and_then(|caller| caller.agent.as_deref());
                [
                    login.session.to_string(),
                    output::moment(login.authenticated_at),
                    output::moment(login.expires_at),
                    login.amr.join(" "),
                    address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
                    output::visible(agent.unwrap_or("-")),
                ]
            })
            .collect();
        output::table(
            ["SESSION", "AUTHENTICATED", "EXPIRES", "AMR", "ADDRESS", "AGENT"],
            &rows,
        )
    }
}

/// Which logins end.
#[derive(Args)]
pub(super) struct EndSession {
    /// The login name or the subject's id
    user: String,
    /// The login's id, as `user sessions` lists it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    session: Option<Uuid>,
    /// Every login of the user
    #[arg(long)]
    all: bool,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

impl EndSession {
    pub(super) async fn run(self, session: &Session, connection: &Connection) -> anyhow::Result<()> {
        let subject = find(session, &self.user).await?;
        let context = session.context_with("user end-session", Some(&self.reason))?;
        let how = (connection.settings()?.session_end_revokes, EndedBy::Administrator);
        let operations = &session.operations;
        let ended = match self.session.map(SessionId) {
            None => operations.end_sessions(&context, (subject, None), how).await?,
            Some(id) => {
                let ended = operations.end_session(&context, subject, id, how).await?;
                ensure!(ended, "the user has no such login, or it is over");
                vec![id]
            }
        };
        if self.output.json {
            return output::json(&json!({ "sessions": ended }));
        }
        output::line(&format!("{} logins are over", ended.len()))
    }
}

/// Whose consents.
#[derive(Args)]
pub(super) struct Consents {
    /// The login name or the subject's id
    user: String,
    #[command(flatten)]
    output: Json,
}

impl Consents {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let subject = find(session, &self.user).await?;
        session
            .record_reading("user consents", |reading| reading.subject = Some(subject))
            .await?;
        let consents = session.operations.shown_consents(subject).await?;
        if self.output.json {
            return output::json(&consents);
        }
        let rows: Vec<_> = consents
            .iter()
            .map(|consent| {
                [
                    consent.client_id.clone(),
                    consent.client_name.clone(),
                    output::moment(consent.since),
                    consent.last_used.map_or_else(|| "-".to_owned(), output::moment),
                    consent.scope.join(" "),
                    consent.claims.join(" "),
                ]
            })
            .collect();
        output::table(
            ["CLIENT ID", "NAME", "SINCE", "LAST USED", "SCOPE", "CLAIMS"],
            &rows,
        )
    }
}

/// What a user allows no more.
#[derive(Args)]
pub(super) struct WithdrawConsent {
    /// The login name or the subject's id
    user: String,
    /// The client's id
    client: String,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

impl WithdrawConsent {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        if self.reason.trim().is_empty() {
            bail!("--reason: say why");
        }
        let subject = find(session, &self.user).await?;
        let key = client::find(session, &self.client).await?;
        let name = output::visible(&self.client);
        let question = format!("Take back all that the user allowed {name}? Its grants of the user end.");
        prompt::confirm(self.confirmation, &question)?;
        let context = session.context_with("user withdraw-consent", Some(&self.reason))?;
        let ended = session
            .operations
            .end_application(&context, (subject, key), EndedBy::Administrator)
            .await?;
        ensure!(ended, "the user allows {name} nothing");
        if self.output.json {
            return output::json(&json!({"sub": subject, "client_id": self.client}));
        }
        output::line(&format!("{name} has no access to the user's account any more"))
    }
}
