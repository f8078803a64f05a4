//! Retention of addresses: the keys to what callers' requests came from, and to operators' names, are destroyed by months.

use chrono::{Months, NaiveDate, TimeDelta};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::domain::retention::{RetentionClass, first_kept};
use crate::domain::trail::{AddressesForgotten, Trail, TrailCommand};
use crate::ledger::{Context, LedgerError};

/// A month of which there are keys to addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AddressMonth {
    /// The month, `2026-11`.
    pub month: String,
    /// How many keys: one for each user who acted, and one for requests of which no user is known.
    pub keys: i64,
    /// From when on they need not be kept; none where they are kept for good.
    pub due_at: Option<Timestamp>,
}

impl Operations {
    /// Destroys the keys to addresses that are older than their retention keeps them, but for those of users whom a legal
    /// hold keeps. What was ever to be destroyed stays so, and is destroyed again where it came back from a backup. Returns
    /// how many keys there were.
    pub async fn forget_addresses(&self, context: &Context) -> Result<u64, OperationError> {
        let act = RetentionClass::Address.act();
        let state = self.load::<Trail>(act).await?;
        let due = state
            .keep_days
            .map(|days| first_kept(days, self.ledger.clock().now()));
        let Some(before) = due.max(state.forgotten_before.clone()) else {
            return Ok(0);
        };
        // The event comes first, so that a crash in between leaves what the next round does.
        let command = TrailCommand::ForgetAddresses(AddressesForgotten {
            before: before.clone(),
        });
        run!(self, context, Trail, act, &command).outcome?;
        let held = self.held_subjects().await?;
        let destroyed = self.ledger.vault().destroy_before(&before, &held).await;
        Ok(destroyed.map_err(LedgerError::from)?)
    }

    /// The months of which there are keys to addresses, where each is kept so many days after its end.
    pub async fn address_months(&self, keep_days: Option<u32>) -> Result<Vec<AddressMonth>, LedgerError> {
        Ok(due(self.ledger.vault().months(&[]).await?, keep_days))
    }

    /// The months that are over for longer than a day and of which there are keys to addresses of others than whom a legal
    /// hold keeps: no server destroys them.
    pub(super) async fn overdue_months(&self) -> Result<Vec<AddressMonth>, LedgerError> {
        let Some(keep_days) = self.retention(RetentionClass::Address).await? else {
            return Ok(Vec::new());
        };
        let held = self.held_subjects().await?;
        let mut months = due(self.ledger.vault().months(&held).await?, Some(keep_days));
        let yesterday = self.ledger.clock().now() - TimeDelta::days(1);
        months.retain(|month| month.due_at.is_some_and(|due_at| due_at <= yesterday));
        Ok(months)
    }

    /// The users with a legal hold that is in force.
    async fn held_subjects(&self) -> Result<Vec<Uuid>, LedgerError> {
        let held = sqlx::query_scalar("SELECT grantlog.held_subjects()");
        Ok(held.fetch_all(self.ledger.pool()).await?)
    }
}

fn due(months: Vec<(String, i64)>, keep_days: Option<u32>) -> Vec<AddressMonth> {
    months
        .into_iter()
        .map(|(month, keys)| {
            let due_at =
                keep_days.and_then(|days| end(&month)?.checked_add_signed(TimeDelta::days(days.into())));
            AddressMonth { month, keys, due_at }
        })
        .collect()
}

/// When a month ends.
fn end(month: &str) -> Option<Timestamp> {
    let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").ok()?;
    let next = first.checked_add_months(Months::new(1))?;
    Some(next.and_hms_opt(0, 0, 0)?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_where_the_next_begins_and_are_due_when_the_rule_says_so() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(end("2026-12"), Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(end("client"), None);
        let due = end("2026-02").unwrap() + TimeDelta::days(45);
        assert_eq!(first_kept(45, due), "2026-03");
        assert_eq!(first_kept(45, due - TimeDelta::seconds(1)), "2026-02");
    }
}
