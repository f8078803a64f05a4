//! Acting: the alert, and what is done about it, in one append. An alert's id follows from what was found, so a finding
//! that is made again, after a crash or on another node, acts once.

use chrono::TimeDelta;
use uuid::Uuid;

use super::PolicyError;
use super::dossier;
use super::rule::{Definition, Finding};
use crate::domain::alert::{Alert, AlertCommand, AlertRaised, Cause, ContainmentApplied};
use crate::domain::client::{Client, ClientCommand};
use crate::domain::grant::{Grant, Reason, Revoke, Target};
use crate::domain::network::{Network, NetworkCommand, NetworkThrottled};
use crate::domain::policy::Action;
use crate::domain::session::{Session, SessionCommand, SessionEndRevokes};
use crate::domain::user::{User, UserCommand};
use crate::domain::value::Digest;
use crate::ledger::{Actor, Context, LedgerError, UnitOfWork};
use crate::operations::Operations;

/// Requests that a throttled client or network is answered within a minute.
pub const THROTTLED_PER_MINUTE: u32 = 5;
/// For how long a client or a network is throttled.
pub const THROTTLED_FOR: TimeDelta = TimeDelta::hours(1);
/// The metadata's endpoint of what policies do.
const ENDPOINT: &str = "policy";

/// Raises the alert of a finding and does what its policy says. False: that was done before.
pub(super) async fn raise(
    operations: &Operations,
    (definition, action): (&Definition, Action),
    finding: &Finding,
) -> Result<bool, PolicyError> {
    let id = finding.alert(definition);
    let mut context = Context::local(
        operations.ledger.random().uuid().map_err(LedgerError::from)?,
        Actor::Policy,
        ENDPOINT,
    );
    let why = format!(
        "alert {id}, rule {} version {}",
        definition.id, definition.version
    );
    context.note = Some(why.clone());
    let action = if finding.acts { action } else { Action::Alert };
    let mut alert = alert_of(definition, finding);
    if let Some(grant) = finding.about.grant {
        let events = operations.grant_events(grant).await?;
        alert.dossier = dossier::compile(&events, finding.position)?;
    }
    let mut unit = operations.ledger.unit_of_work(&context);
    loop {
        let known = unit.load::<Alert>(id).await?;
        if known.exists() {
            if unit.confirm().await? {
                return Ok(false);
            }
            continue;
        }
        let mut alert = alert.clone();
        complete(&mut unit, &mut alert).await?;
        let containment = contain(&mut unit, &alert, (action, &why)).await?;
        let command = AlertCommand::Raise {
            alert: Box::new(alert),
            containment,
        };
        let decision = known.decide(&command);
        if unit.conclude(&known, decision).await?.is_some() {
            return Ok(true);
        }
    }
}

fn alert_of(definition: &Definition, finding: &Finding) -> AlertRaised {
    let position = |position: i64| u64::try_from(position).unwrap_or_default();
    AlertRaised {
        rule: definition.id.clone(),
        rule_version: definition.version,
        rule_hash: definition.hash(),
        title: definition.title.clone(),
        severity: finding.severity.unwrap_or(definition.severity),
        technique: definition.technique.clone(),
        about: finding.about,
        position: position(finding.position),
        at: finding.at,
        evidence: finding.evidence.iter().copied().map(position).collect(),
        count: finding.count,
        summary: finding.summary.clone(),
        dossier: None,
    }
}

/// Whose grant it is, where the event did not say.
async fn complete(unit: &mut UnitOfWork<'_>, alert: &mut AlertRaised) -> Result<(), LedgerError> {
    let Some(grant) = alert.about.grant else {
        return Ok(());
    };
    let grant = unit.load::<Grant>(grant.0).await?;
    if let Some(family) = &grant.family {
        alert.about.client = alert.about.client.or(Some(family.client));
        alert.about.subject = alert.about.subject.or(family.subject);
    }
    Ok(())
}

/// Adds what the action does to the append. None where there is nothing to be done, or nobody to do it to.
async fn contain(
    unit: &mut UnitOfWork<'_>,
    alert: &AlertRaised,
    (action, why): (Action, &str),
) -> Result<Option<ContainmentApplied>, LedgerError> {
    let mut applied = ContainmentApplied {
        action,
        cause: Cause::Policy {
            rule: alert.rule.clone(),
            rule_version: alert.rule_version,
            position: alert.position,
        },
        grants: Vec::new(),
        clients: Vec::new(),
        subjects: Vec::new(),
        sessions: None,
        networks: None,
    };
    let at = unit.at();
    let about = alert.about;
    if let (Action::ThrottleNetwork, Some(network)) = (action, about.network) {
        applied.networks = Some(vec![network]);
        return Ok(throttle_network(unit, network, why).await?.then_some(applied));
    }
    let done = match (action, about.grant, about.client, about.subject) {
        (Action::RevokeGrant, Some(grant), _, _) => {
            applied.grants.push(grant);
            revoke_grant(unit, grant.0, Reason::Policy).await?
        }
        (Action::SuspendClient, _, Some(client), _) => {
            applied.clients.push(client);
            let reason = why.to_owned();
            command_client(unit, client.0, &ClientCommand::Suspend { reason }).await?
        }
        (Action::Throttle, _, Some(client), _) => {
            applied.clients.push(client);
            let command = ClientCommand::Throttle {
                per_minute: THROTTLED_PER_MINUTE,
                until: at + THROTTLED_FOR,
                reason: why.to_owned(),
            };
            command_client(unit, client.0, &command).await?
        }
        (Action::RequireFreshLogin, _, _, Some(subject)) => {
            applied.subjects.push(subject);
            require_fresh_login(unit, subject.0, why).await?
        }
        _ => false,
    };
    Ok(done.then_some(applied))
}

/// Adds the end of a grant to the append. False: it had ended, or there is none.
pub(crate) async fn revoke_grant(
    unit: &mut UnitOfWork<'_>,
    id: Uuid,
    reason: Reason,
) -> Result<bool, LedgerError> {
    let grant = unit.load::<Grant>(id).await?;
    let command = Revoke {
        client: None,
        target: Target::Family,
        reason,
        at: unit.at(),
    };
    let events = grant.revoke(&command).events;
    unit.also(&grant, &events)?;
    Ok(!events.is_empty())
}

/// Adds a command on a client to the append. False: it changes nothing.
pub(crate) async fn command_client(
    unit: &mut UnitOfWork<'_>,
    id: Uuid,
    command: &ClientCommand,
) -> Result<bool, LedgerError> {
    let client = unit.load::<Client>(id).await?;
    let events = client.decide(command).events;
    unit.also(&client, &events)?;
    Ok(!events.is_empty())
}

/// Adds the throttling of a network to the append. False: it is throttled for as long already.
async fn throttle_network(unit: &mut UnitOfWork<'_>, digest: Digest, why: &str) -> Result<bool, LedgerError> {
    let network = unit.load::<Network>(Network::id(&digest)).await?;
    let command = NetworkCommand::Throttle(NetworkThrottled {
        network: digest,
        per_minute: THROTTLED_PER_MINUTE,
        until: unit.at() + THROTTLED_FOR,
        reason: why.to_owned(),
    });
    let events = network.decide(&command).events;
    unit.also(&network, &events)?;
    Ok(!events.is_empty())
}

/// Adds the end of a user's logins to the append. False: the user is erased, or there is none.
pub(crate) async fn require_fresh_login(
    unit: &mut UnitOfWork<'_>,
    id: Uuid,
    why: &str,
) -> Result<bool, LedgerError> {
    let user = unit.load::<User>(id).await?;
    let command = UserCommand::RequireFreshLogin {
        since: unit.at(),
        reason: why.to_owned(),
    };
    let events = user.decide(&command).events;
    unit.also(&user, &events)?;
    Ok(!events.is_empty())
}

/// Adds the end of a browser login, and of all that was given in it, to the append. False: it was over.
pub(crate) async fn end_session(unit: &mut UnitOfWork<'_>, id: Uuid) -> Result<bool, LedgerError> {
    let session = unit.load::<Session>(id).await?;
    let command = SessionCommand::End {
        reason: "contained".to_owned(),
        revokes: SessionEndRevokes::All,
    };
    let events = session.decide(&command).events;
    unit.also(&session, &events)?;
    Ok(!events.is_empty())
}
