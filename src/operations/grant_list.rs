//! Lists of grants: by client and user from the index of the trail, otherwise from the ledger itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::grant::{Family, Grant, Reason};
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{LANE, LedgerError};
use crate::trail::{Key, Order, Query, Stretch, positions};

/// Positions that are looked at together.
const BATCH: usize = 500;
/// The most of them for one page: where few grants are of the state that is asked for, the page ends early.
const MOST_BATCHES: usize = 20;
/// The events that grants begin with, and the one by which a device's grant becomes a user's.
const BEGINNINGS: [&str; 7] = [
    "CodeIssued",
    "DeviceAuthorizationRequested",
    "DeviceAuthorizationApproved",
    "TokenIssued",
    "TokenExchanged",
    "AssertionAccepted",
    "GrantImported",
];

/// How a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// It has not ended.
    Live,
    /// Its time is over.
    Expired,
    /// It ended before its time.
    Revoked,
}

impl GrantState {
    fn of(family: &Family, now: Timestamp) -> Self {
        match family.revoked {
            Some(_) => Self::Revoked,
            None if family.expires_at <= now => Self::Expired,
            None => Self::Live,
        }
    }
}

/// Which grants are listed: those that every part takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantFilter {
    /// Of a client.
    pub client: Option<ClientKey>,
    /// Of a user.
    pub subject: Option<SubjectId>,
    /// That stand so now.
    pub state: Option<GrantState>,
}

/// A grant in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedGrant {
    /// The grant.
    pub grant: GrantId,
    /// The position that it is listed by: where it began, or where a user approved it.
    pub position: i64,
    /// When that was.
    pub begun_at: Timestamp,
    /// How it stands.
    pub state: GrantState,
    /// To whom.
    pub client: ClientKey,
    /// By whom; null where the client acts for itself.
    pub subject: Option<SubjectId>,
    /// How it began.
    pub flow: GrantType,
    /// The widest scope that its tokens may have.
    pub scope: String,
    /// The audience of its tokens.
    pub audience: Vec<String>,
    /// When all of it ends.
    pub expires_at: Timestamp,
    /// Why it ended before its time.
    pub revoked: Option<Reason>,
}

impl ListedGrant {
    fn new((grant, position, begun_at): (Uuid, i64, Timestamp), family: &Family, now: Timestamp) -> Self {
        Self {
            grant: GrantId(grant),
            position,
            begun_at,
            state: GrantState::of(family, now),
            client: family.client,
            subject: family.subject,
            flow: family.flow,
            scope: family.scope.to_string(),
            audience: family.audience.clone(),
            expires_at: family.expires_at,
            revoked: family.revoked,
        }
    }
}

impl Operations {
    /// Grants up to a position, the newest first, and after which position to go on, where there may be more.
    pub async fn list_grants(
        &self,
        filter: &GrantFilter,
        mut upto: i64,
        limit: u32,
    ) -> Result<(Vec<ListedGrant>, Option<i64>), LedgerError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let now = self.ledger.clock().now();
        let mut listed = Vec::new();
        for _ in 0..MOST_BATCHES {
            let found = self.beginnings(filter, upto).await?;
            for (grant, position, begun_at) in found.rows {
                let state = self.load::<Grant>(grant).await?;
                let Some(family) = state.family.as_deref() else {
                    continue;
                };
                let row = ListedGrant::new((grant, position, begun_at), family, now);
                let is_wanted = filter.client.is_none_or(|client| client == row.client)
                    && filter.subject.is_none_or(|subject| Some(subject) == row.subject)
                    && filter.state.is_none_or(|state| state == row.state);
                if is_wanted {
                    listed.push(row);
                }
                if listed.len() == limit {
                    return Ok((listed, Some(position)));
                }
            }
            match found.go_on {
                Some(last) => upto = last - 1,
                None => return Ok((listed, None)),
            }
        }
        Ok((listed, Some(upto + 1)))
    }

    async fn beginnings(&self, filter: &GrantFilter, upto: i64) -> Result<Beginnings, LedgerError> {
        let keys = [filter.client.map(Key::Client), filter.subject.map(Key::Subject)];
        let query = keys.iter().flatten().fold(Query::new(), Query::and);
        let query = query.and_any(BEGINNINGS.map(|name| Key::EventType(name.to_owned())));
        let mut connection = self.ledger.pool().acquire().await?;
        let stretch = Stretch { after: 0, upto };
        let order = (Order::NewestFirst, BATCH);
        let found = positions(&mut connection, &query, stretch, order)
            .await?
            .positions;
        let go_on = found.last().copied().filter(|_| found.len() == BATCH);
        let rows = sqlx::query_as(
            "SELECT aggregate_id, position, recorded_at FROM grantlog.ledger_grant \
             WHERE lane = $1 AND position = ANY ($2) \
               AND (sequence = 1 OR ($3 AND event_type = 'DeviceAuthorizationApproved')) ORDER BY position DESC",
        )
        .bind(LANE)
        .bind(&found)
        .bind(filter.subject.is_some())
        .fetch_all(&mut *connection)
        .await?;
        Ok(Beginnings { rows, go_on })
    }
}

/// Where grants began.
struct Beginnings {
    /// The grant, the position and the time.
    rows: Vec<(Uuid, i64, Timestamp)>,
    /// The last position that was looked at, where there may be more.
    go_on: Option<i64>,
}
