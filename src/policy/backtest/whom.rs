//! Whom findings are about, and whether anything would be done about them, as the ledger says.

use std::collections::BTreeMap;

use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::alert::About;
use crate::domain::policy::Action;
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::LANE;
use crate::policy::PolicyError;
use crate::policy::rule::Finding;

/// Whose grant it is, where the event did not say.
pub(super) async fn complete(pool: &PgPool, mut about: About) -> Result<About, PolicyError> {
    let known = about.client.is_some() && about.subject.is_some();
    let Some(grant) = about.grant.filter(|_| !known) else {
        return Ok(about);
    };
    let (client, subject): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT max(payload->>'client'), max(payload->>'subject') FROM grantlog.ledger_grant \
         WHERE lane = $1 AND aggregate_type = 'grant' AND aggregate_id = $2",
    )
    .bind(LANE)
    .bind(grant.0)
    .fetch_one(pool)
    .await?;
    let id = |text: Option<String>| text.and_then(|text| Uuid::try_parse(&text).ok());
    about.client = about.client.or(id(client).map(ClientKey));
    about.subject = about.subject.or(id(subject).map(SubjectId));
    Ok(about)
}

/// The names of clients.
pub(super) async fn client_ids(
    pool: &PgPool,
    clients: &BTreeMap<ClientKey, u64>,
) -> Result<BTreeMap<ClientKey, String>, PolicyError> {
    let keys: Vec<Uuid> = clients.keys().map(|client| client.0).collect();
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT aggregate_id, payload->>'client_id' FROM grantlog.ledger_client \
         WHERE lane = $1 AND aggregate_id = ANY ($2) AND event_type = 'ClientRegistered'",
    )
    .bind(LANE)
    .bind(keys)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(key, name)| (ClientKey(key), name))
        .collect())
}

/// Whether an action changes anything: a grant that had ended, or ended in the very append that was found (as with every
/// replay), is not revoked.
pub(super) async fn would_act(pool: &PgPool, action: Action, finding: &Finding) -> Result<bool, PolicyError> {
    let (Action::RevokeGrant, Some(grant)) = (action, finding.about.grant) else {
        return Ok(true);
    };
    let over: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM grantlog.ledger_grant AS ended \
           WHERE ended.lane = $1 AND ended.aggregate_type = 'grant' AND ended.aggregate_id = $2 \
             AND (ended.event_type = 'TokenRevoked' AND ended.payload->>'target' = 'family' \
                  OR ended.event_type = 'GrantReplaced') \
             AND (ended.position <= $3 OR ended.command_id = (SELECT found.command_id FROM grantlog.ledger_grant AS found \
                  WHERE found.lane = $1 AND found.aggregate_type = 'grant' \
                    AND found.aggregate_id = $2 AND found.position = $3)))",
    )
    .bind(LANE)
    .bind(grant.0)
    .bind(finding.position)
    .fetch_one(pool)
    .await?;
    Ok(!over)
}
