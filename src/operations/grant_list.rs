//! Lists of grants: by client and user from the index of the trail, otherwise from the ledger itself.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::grant::{Family, Grant, Reason};
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Actor, Context, LANE, LedgerError};
use crate::standing::{FailedCheck, GrantStanding, GrantState};
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

impl GrantFilter {
    fn takes(&self, row: &ListedGrant) -> bool {
        self.client.is_none_or(|client| client == row.client)
            && self.subject.is_none_or(|subject| Some(subject) == row.subject)
            && self.state.is_none_or(|state| state == row.state)
    }
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
    /// What its tokens fail at, where it is not live.
    pub failed: Option<FailedCheck>,
    /// To whom.
    pub client: ClientKey,
    /// By whom; null where the client acts for itself.
    pub subject: Option<SubjectId>,
    /// How it began.
    pub flow: GrantType,
    /// The widest scope that its tokens may have.
    pub scope: String,
    /// Scopes of it that its tokens no longer have, where it is live.
    pub lapsed: Vec<String>,
    /// The same of the claims that were consented to one by one.
    pub lapsed_claims: Vec<String>,
    /// The audience of its tokens.
    pub audience: Vec<String>,
    /// When all of it ends.
    pub expires_at: Timestamp,
    /// Why it ended before its time.
    pub revoked: Option<Reason>,
}

impl ListedGrant {
    fn new(
        (grant, position, begun_at): (Uuid, i64, Timestamp),
        family: &Family,
        standing: GrantStanding,
    ) -> Self {
        Self {
            grant: GrantId(grant),
            position,
            begun_at,
            state: standing.state,
            failed: standing.failed,
            client: family.client,
            subject: family.subject,
            flow: family.flow,
            scope: family.scope.to_string(),
            lapsed: standing.lapsed,
            lapsed_claims: standing.lapsed_claims,
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
        let mut listed = Vec::new();
        for _ in 0..MOST_BATCHES {
            let found = self.beginnings(filter, upto).await?;
            for (grant, position, begun_at) in found.rows {
                let row = self.listed((grant, position, begun_at)).await?;
                listed.extend(row.filter(|row| filter.takes(row)));
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

    /// A grant as it stands now, with all that it rests on.
    async fn listed(&self, place: (Uuid, i64, Timestamp)) -> Result<Option<ListedGrant>, LedgerError> {
        let context = Context::local(Uuid::nil(), Actor::System, "list");
        let mut unit = self.ledger.unit_of_work(&context);
        loop {
            let grant = unit.load::<Grant>(place.0).await?;
            let row = match grant.family.as_deref() {
                None => None,
                Some(family) => {
                    let standing = GrantStanding::of(&mut unit, family).await?;
                    Some(ListedGrant::new(place, family, standing))
                }
            };
            if unit.confirm().await? {
                return Ok(row);
            }
        }
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
