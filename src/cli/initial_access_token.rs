//! `grantlog client initial-access-token`: leave for others to register clients (RFC 7591 §1.2).

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::arguments::{Json, Page};
use super::output;
use super::session::Session;
use crate::domain::client::GrantType;
use crate::domain::initial_access_token::RegistrationPermit;
use crate::domain::value::ScopeSet;
use crate::operations::initial_access_token::NewInitialToken;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Issue one; the token is shown this once
    Create(NewToken),
    /// List them in the order of their creation
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Json,
    },
    /// Let nobody register with one any more; clients registered with it stay
    Revoke {
        /// Its id, as `list` shows it
        id: Uuid,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
}

/// What a new one is to be.
#[derive(Args)]
pub(super) struct NewToken {
    /// What it is for, in your words
    #[arg(long, default_value = "")]
    label: String,
    /// How many clients may be registered with it
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// Seconds that it is good for [a week unless given]
    #[arg(long, value_name = "SECONDS", default_value_t = 7 * 86_400)]
    expires_in: u32,
    /// The scopes that its clients may have, separated by spaces, in place of the setting `registration_scopes`
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// A grant type that its clients may use, in place of the setting `registration_grant_types` (repeat)
    #[arg(long = "grant-type", value_name = "TYPE")]
    grant_types: Vec<String>,
    /// A type of authorization details that its clients may ask for, in place of the setting
    /// `registration_authorization_details_types` (repeat)
    #[arg(long = "authorization-details-type", value_name = "TYPE")]
    authorization_details_types: Vec<String>,
    /// Its clients need a software statement
    #[arg(long)]
    software_statement: bool,
    /// Its confidential clients may leave PKCE out, as with the setting `registration_pkce_optional`
    #[arg(long)]
    pkce_optional: bool,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(new) => create(session, new).await,
        Command::List { page, output } => list(session, page, output).await,
        Command::Revoke { id, reason, output } => {
            let context = session.context("client initial-access-token revoke")?;
            session
                .operations
                .revoke_initial_token(&context, id, &reason)
                .await?;
            if output.json {
                return output::json(&json!({"id": id, "standing": "revoked"}));
            }
            output::line(&format!("{id} is revoked"))
        }
    }
}

async fn create(session: &Session, new: NewToken) -> anyhow::Result<()> {
    let grant_types: Vec<GrantType> = serde_json::from_value(json!(new.grant_types))
        .context("--grant-type is not one that this server knows")?;
    let scope = new.scope.as_deref().map(ScopeSet::parse).transpose();
    let permits = RegistrationPermit {
        scope: scope.context("--scope")?,
        grant_types: (!grant_types.is_empty()).then_some(grant_types),
        authorization_details_types: (!new.authorization_details_types.is_empty())
            .then_some(new.authorization_details_types),
        software_statement: new.software_statement,
        pkce_optional: new.pkce_optional,
    };
    let token = NewInitialToken {
        label: new.label,
        uses: new.uses,
        lifetime: new.expires_in,
        permits,
    };
    let context = session.context("client initial-access-token create")?;
    let (id, token) = session.operations.issue_initial_token(&context, token).await?;
    if new.output.json {
        return output::json(&json!({
            "id": id, "initial_access_token": token, "uses": new.uses, "expires_in": new.expires_in,
        }));
    }
    output::line(&format!(
        "id                    {id}\ninitial_access_token  {token}\n\nThe token is shown this once: only its digest is stored."
    ))
}

async fn list(session: &Session, page: Page, output: Json) -> anyhow::Result<()> {
    let shown = session
        .operations
        .shown_initial_tokens(page.after, page.limit)
        .await?;
    if output.json {
        return output::json(&shown);
    }
    let rows: Vec<_> = shown
        .into_iter()
        .map(|token| {
            [
                token.position.to_string(),
                token.standing.name().to_owned(),
                token.id.to_string(),
                token.uses_left.to_string(),
                output::moment(token.expires_at),
                token.label,
            ]
        })
        .collect();
    output::table(
        ["POSITION", "STANDING", "ID", "USES LEFT", "EXPIRES", "LABEL"],
        &rows,
    )
}
