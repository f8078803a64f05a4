//! `grantlog grant`: a grant's whole life, found by its id or by any credential that came of it.

use anyhow::{Context as _, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use cqrs_es::Aggregate;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::arguments::{Confirmation, Connection, Json};
use super::as_of::AsOf;
use super::audit::operator;
use super::client_approval::who;
use super::session::Session;
use super::{grant_diff, output, prompt};
use crate::credential::{self, Kind, Presented};
use crate::crypto::master::AddressKey;
use crate::domain::LedgerEvent;
use crate::domain::grant::{Basis, DeviceStage, Grant, GrantEvent, Lineage, TokenRef};
use crate::domain::trail::LedgerRead;
use crate::domain::value::Digest;
use crate::ids::GrantId;
use crate::import::key;
use crate::import::token::{self, Content, OldToken};
use crate::ledger::{Metadata, StoredEvent, head_position};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show a grant's events and state
    Show {
        /// The grant's id, or an authorization code, device code, refresh token or access token of it, or the old refresh token
        /// that it was imported with; - reads it from standard input, where other processes do not see it
        grant: String,
        /// As it was then: a moment (RFC 3339), or a position
        #[arg(long, value_name = "TIME|POSITION")]
        at: Option<AsOf>,
        #[command(flatten)]
        output: Json,
    },
    /// Show what changed in a grant between two moments, and by which events
    Diff {
        /// As for show
        grant: String,
        /// The earlier moment (RFC 3339), or a position
        #[arg(long, value_name = "TIME|POSITION")]
        from: AsOf,
        /// The later one [default: now]
        #[arg(long, value_name = "TIME|POSITION")]
        to: Option<AsOf>,
        #[command(flatten)]
        output: Json,
    },
    /// End a grant and everything that came of it
    Revoke {
        /// As for show
        grant: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    match command {
        Command::Show { grant, at, output } => show(&session, grant, at, output).await?,
        Command::Diff {
            grant,
            from,
            to,
            output,
        } => grant_diff::run(&session, grant, (from, to), output).await?,
        Command::Revoke {
            grant,
            reason,
            confirmation,
            output,
        } => {
            let found = Found::find(&session, grant).await?;
            prompt::confirm(confirmation, "Revoke the grant and all its tokens?")?;
            let context = session.context_with("grant revoke", Some(&reason))?;
            session.operations.revoke_grant(&context, found.grant).await?;
            if output.json {
                output::json(&json!({"grant": found.grant, "state": "revoked"}))?;
            } else {
                output::line(&format!("grant {} is revoked", found.grant))?;
            }
        }
    }
    session.close().await;
    Ok(())
}

/// The grant that was named, and what was pasted. The text itself is gone.
pub(super) struct Found {
    pub(super) grant: GrantId,
    credential: Option<(Kind, Presented)>,
}

impl Found {
    pub(super) async fn find(session: &Session, text: String) -> anyhow::Result<Self> {
        let text = Zeroizing::new(if text == "-" { prompt::first_line()? } else { text });
        let text = text.trim();
        let named = Uuid::try_parse(text).ok();
        if let Some(grant) = named
            && !session.operations.grant_events(GrantId(grant)).await?.is_empty()
        {
            return Ok(Self::named(grant));
        }
        let parsed = parse_credential(session.ledger().vault().master().address_key(), text);
        let parsed = match parsed {
            None => old_token(session, text).await?,
            parsed => parsed,
        };
        match (parsed, named) {
            (Some((kind, presented)), _) => Ok(Self {
                grant: presented.address.grant,
                credential: Some((kind, presented)),
            }),
            (None, Some(grant)) => Ok(Self::named(grant)),
            // What was pasted is not repeated: it may be good.
            (None, None) => bail!(
                "this is neither a grant's id nor a credential of this server (an authorization code, refresh token \
                 or access token), nor an old refresh token that was imported (old access tokens never are)"
            ),
        }
    }

    fn named(grant: Uuid) -> Self {
        Self {
            grant: GrantId(grant),
            credential: None,
        }
    }

    /// The grant's events up to a position. That they were read is on the trail first.
    pub(super) async fn read(
        &self,
        session: &Session,
        command: &'static str,
        upto: i64,
    ) -> anyhow::Result<Vec<StoredEvent>> {
        let head = head_position(session.ledger().pool()).await?;
        let reading = LedgerRead {
            grant: Some(self.grant),
            after: 0,
            upto: upto.min(head),
            filters: Vec::new(),
            revealed: false,
        };
        let context = session.context(command)?;
        session.operations.record_reading(&context, reading).await?;
        let mut events = session.operations.grant_events(self.grant).await?;
        events.retain(|event| event.position <= upto);
        Ok(events)
    }

    /// What the pasted credential is, in words.
    fn describe(&self, events: &[StoredEvent], grant: &Grant) -> anyhow::Result<Option<Value>> {
        let Some((kind, presented)) = &self.credential else {
            return Ok(None);
        };
        let sequence = presented.address.sequence;
        let issuing = events.iter().find(|event| event.sequence == i64::from(sequence));
        let event = issuing.map(decode).transpose()?;
        let what = match kind {
            Kind::Code => "authorization code",
            Kind::Device => "device code",
            Kind::Refresh => "refresh token",
            Kind::Access | Kind::TokenId => "access token",
        };
        let authentic = event
            .and_then(|event| digest(*kind, &event))
            .is_some_and(|digest| digest.matches(&presented.digest));
        let live = authentic
            && match kind {
                Kind::Code => grant.family.as_ref().is_some_and(|family| {
                    family.revoked.is_none() && family.code.as_ref().is_some_and(|code| !code.redeemed)
                }),
                Kind::Device => grant.device().is_some_and(|(family, device)| {
                    let over = matches!(device.stage, DeviceStage::Denied | DeviceStage::Redeemed);
                    family.revoked.is_none() && !over
                }),
                Kind::Refresh => grant.family.as_ref().is_some_and(|family| {
                    let current = family.refresh.as_ref().map(|refresh| refresh.current.sequence);
                    family.revoked.is_none() && current == Some(sequence)
                }),
                Kind::Access | Kind::TokenId => grant.access_at(sequence).is_some(),
            };
        Ok(Some(json!({
            "kind": what, "issued_at_sequence": sequence, "authentic": authentic, "usable_unless_expired": live,
        })))
    }
}

/// A code, a refresh token, an opaque access token, or a JWT by its `jti`, whose signature is not asked for: the digest will tell.
fn parse_credential(key: &AddressKey, text: &str) -> Option<(Kind, Presented)> {
    for kind in [Kind::Code, Kind::Device, Kind::Refresh, Kind::Access] {
        if let Some(presented) = credential::parse(kind, key, text) {
            return Some((kind, presented));
        }
    }
    let claims = text.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let jti = claims.get("jti")?.as_str()?;
    Some((Kind::TokenId, credential::parse(Kind::TokenId, key, jti)?))
}

/// An imported refresh token of the server before.
async fn old_token(session: &Session, text: &str) -> anyhow::Result<Option<(Kind, Presented)>> {
    let digest = match OldToken::parse(text) {
        None => return Ok(None),
        Some(OldToken::Opaque(digest)) => digest,
        Some(OldToken::Encrypted(message)) => {
            let secret = key::load(session.ledger()).await?;
            let secret = secret.context(
                "this looks like a refresh token of Laravel Passport, but no Passport key is stored to open it with",
            )?;
            let opened = session
                .operations
                .hasher
                .run(move || Content::open(&secret, &message));
            let content = opened.await?;
            content
                .context("this looks like a refresh token of Laravel Passport, but not under the key that is stored")?
                .digest()
        }
    };
    let found = token::find(session.ledger(), digest).await?;
    Ok(found.map(|presented| (Kind::Refresh, presented)))
}

fn decode(event: &StoredEvent) -> anyhow::Result<GrantEvent> {
    Ok(GrantEvent::decode(
        &event.event_type,
        event.event_version,
        &event.payload,
    )?)
}

/// The digest of the credential of that kind that an event issued.
fn digest(kind: Kind, event: &GrantEvent) -> Option<Digest> {
    let (code, access, refresh) = match event {
        GrantEvent::CodeIssued(event) => (Some(event.digest), None, None),
        GrantEvent::DeviceAuthorizationRequested(event) => (Some(event.digest), None, None),
        GrantEvent::TokenIssued(event) => (None, Some(event.access), event.refresh),
        GrantEvent::GrantImported(event) => (None, None, Some(event.refresh)),
        GrantEvent::RefreshRotated(event) => (None, Some(event.access), Some(event.refresh)),
        GrantEvent::AccessTokenRefreshed(event) => (None, Some(event.access), None),
        GrantEvent::RefreshRetried(event) => (None, Some(event.access), Some(event.refresh)),
        GrantEvent::CodeRedeemed(_)
        | GrantEvent::TokenExchanged(_)
        | GrantEvent::AssertionAccepted(_)
        | GrantEvent::CodeReplayed(_)
        | GrantEvent::DeviceAuthorizationApproved(_)
        | GrantEvent::DeviceAuthorizationDenied(_)
        | GrantEvent::DeviceCodeRedeemed(_)
        | GrantEvent::DeviceCodeReplayed(_)
        | GrantEvent::RefreshReplayed(_)
        | GrantEvent::GrantReplaced(_)
        | GrantEvent::TokenRevoked(_) => (None, None, None),
    };
    match kind {
        Kind::Code | Kind::Device => code,
        Kind::Refresh => refresh.map(|token| token.digest),
        Kind::Access | Kind::TokenId => access.map(|token| token.digest),
    }
}

async fn show(session: &Session, grant: String, at: Option<AsOf>, output: Json) -> anyhow::Result<()> {
    let found = Found::find(session, grant).await?;
    let upto = match at {
        Some(at) => at.position(session.ledger()).await?,
        None => i64::MAX,
    };
    let events = found.read(session, "grant show", upto).await?;
    if events.is_empty() {
        bail!(
            "there is no grant {}{}",
            found.grant,
            if at.is_some() { " at that moment" } else { "" }
        );
    }
    let state = state(&events)?;
    let credential = found.describe(&events, &state)?;
    if output.json {
        let events: Vec<Value> = events.iter().map(event_json).collect::<anyhow::Result<_>>()?;
        return output::json(&json!({
            "grant": found.grant, "credential": credential, "state": state.family, "events": events,
        }));
    }
    output::line(&format!("grant {}", found.grant))?;
    print_state(&state, credential.as_ref())?;
    output::line("")?;
    table(session, &events).await
}

/// The grant's state after these events.
pub(super) fn state(events: &[StoredEvent]) -> anyhow::Result<Grant> {
    let mut state = Grant::default();
    for event in events {
        state.apply(decode(event)?);
    }
    Ok(state)
}

/// Prints a grant's events, a line each.
pub(super) async fn table(session: &Session, events: &[StoredEvent]) -> anyhow::Result<()> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        rows.push(row(session, event).await?);
    }
    output::table(
        ["POSITION", "RECORDED", "SEQ", "EVENT", "ACTOR", "REQUEST"],
        &rows,
    )
}

fn print_state(state: &Grant, credential: Option<&Value>) -> anyhow::Result<()> {
    let Some(family) = state.family.as_deref() else {
        return Ok(());
    };
    let standing = match family.revoked {
        Some(reason) => format!("revoked ({})", reason.name()),
        None => format!("stands until {}", output::moment(family.expires_at)),
    };
    let subject = family
        .subject
        .map_or_else(|| "none".to_owned(), |subject| subject.to_string());
    for (name, value) in [
        ("state", standing),
        ("client", family.client.to_string()),
        ("user", subject),
        ("flow", family.flow.name().to_owned()),
        ("scope", family.scope.to_string()),
    ] {
        output::line(&format!("{name:<10} {value}"))?;
    }
    if let Some(device) = &family.device {
        output::line(&format!("{:<10} {}", "device", device.stage.name()))?;
    }
    if let Some(by) = family.replaced_by {
        output::line(&format!("{:<10} by {by}, under the same grant_id", "replaced"))?;
    }

    for line in family.basis.as_deref().map(rests_on).unwrap_or_default() {
        output::line(&format!("{:<10} {line}", "rests on"))?;
    }
    if let Some(refresh) = &family.refresh {
        output::line(&format!(
            "{:<10} generation {}",
            "refresh", refresh.current.number
        ))?;
    }
    let Some(credential) = credential else {
        return Ok(());
    };
    let is = |name: &str| credential.get(name) == Some(&Value::Bool(true));
    let words = match (is("authentic"), is("usable_unless_expired")) {
        (false, _) => "NOT authentic: this grant never issued it",
        (true, true) => "authentic, usable unless it has expired",
        (true, false) => "authentic, no longer usable",
    };
    let kind = credential.get("kind").and_then(Value::as_str).unwrap_or_default();
    output::line(&format!("{:<10} {kind}: {words}", "pasted"))
}

/// What a grant without a login of its own rests on, a line each.
fn rests_on(basis: &Basis) -> Vec<String> {
    let token = |what: &str, token: &TokenRef| {
        let TokenRef {
            grant,
            sequence,
            client,
            key: _,
        } = token;
        format!("{what} of grant {grant}, sequence {sequence}, client {client}")
    };
    match basis {
        Basis::Trust(issuer) => vec![format!("the trust in issuer {issuer}")],
        Basis::Tokens(Lineage { subjects, actors, .. }) => {
            let subjects = subjects.iter().map(|one| token("the token", one));
            subjects
                .chain(actors.iter().map(|one| token("the actor's token", one)))
                .collect()
        }
    }
}

fn metadata(event: &StoredEvent) -> anyhow::Result<Metadata> {
    serde_json::from_str(&event.metadata).context("an event's metadata cannot be read")
}

async fn row(session: &Session, event: &StoredEvent) -> anyhow::Result<[String; 6]> {
    let metadata = metadata(event)?;
    let operator = operator(session.ledger(), event, &metadata).await?;
    Ok([
        event.position.to_string(),
        output::moment(event.recorded_at),
        event.sequence.to_string(),
        event.event_type.clone(),
        who(&metadata.who(), operator.as_ref()),
        metadata.request_id.to_string(),
    ])
}

/// An event as JSON: payload and metadata as they stand in the ledger.
pub(super) fn event_json(event: &StoredEvent) -> anyhow::Result<Value> {
    let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text);
    let mut document = json!({
        "position": event.position, "recorded_at": event.recorded_at,
        "aggregate_type": event.aggregate_type, "aggregate_id": event.aggregate_id, "sequence": event.sequence,
        "event_type": event.event_type, "event_version": event.event_version,
        "payload": raw(&event.payload)?, "metadata": raw(&event.metadata)?,
    });
    // What checks a chosen secret can be tried against guesses: it stays in the ledger.
    if let Some(verifier) = document
        .pointer_mut("/payload/verifier")
        .and_then(Value::as_object_mut)
    {
        verifier.values_mut().for_each(|value| *value = json!("withheld"));
    }
    Ok(document)
}
