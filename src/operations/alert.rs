//! Alerts, as the table shows them.

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::ids::{ClientKey, GrantId, SubjectId};

/// An alert in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedAlert {
    /// The position of its first event; the next page begins after it.
    pub id: i64,
    /// The alert.
    pub alert: Uuid,
    /// The rule that fired; `containment` where an administrator took access away.
    pub rule: String,
    /// How grave it is; null where no rule led to it.
    pub severity: Option<String>,
    /// What the rule looks for, in a line.
    pub title: String,
    /// What was found, in a sentence.
    pub summary: String,
    /// The client that it is about.
    pub client: Option<ClientKey>,
    /// The user.
    pub subject: Option<SubjectId>,
    /// The grant.
    pub grant_id: Option<GrantId>,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// Of a replay: `retry`, `theft` or `unclear`.
    pub verdict: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// When somebody looked at it.
    pub acknowledged_at: Option<Timestamp>,
}

/// Which alerts are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertFilter<'a> {
    /// Those that nobody has acknowledged.
    pub open: bool,
    /// Those of this rule.
    pub rule: Option<&'a str>,
}

impl ListedAlert {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            alert: row.try_get("alert")?,
            rule: row.try_get("rule")?,
            severity: row.try_get("severity")?,
            title: row.try_get("title")?,
            summary: row.try_get("summary")?,
            client: row.try_get::<Option<Uuid>, _>("client")?.map(ClientKey),
            subject: row.try_get::<Option<Uuid>, _>("subject")?.map(SubjectId),
            grant_id: row.try_get::<Option<Uuid>, _>("grant_id")?.map(GrantId),
            raised_at: row.try_get("raised_at")?,
            verdict: row.try_get("verdict")?,
            action: row.try_get("action")?,
            acknowledged_at: row.try_get("acknowledged_at")?,
        })
    }
}

impl Operations {
    /// The alerts after a position, as far as the table has come. It is not there before a server has run.
    pub async fn alerts(
        &self,
        filter: AlertFilter<'_>,
        (after, limit): (i64, u32),
    ) -> Result<Vec<ListedAlert>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id, alert, rule, severity, title, summary, client, subject, grant_id, raised_at, verdict, action, \
                    acknowledged_at \
             FROM public.alerts WHERE id > $1 AND (NOT $2 OR acknowledged_at IS NULL) AND ($3::text IS NULL OR rule = $3) \
             ORDER BY id LIMIT $4",
        )
        .bind(after)
        .bind(filter.open)
        .bind(filter.rule)
        .bind(i64::from(limit))
        .fetch_all(self.ledger.pool())
        .await?;
        rows.iter().map(ListedAlert::read).collect()
    }
}
