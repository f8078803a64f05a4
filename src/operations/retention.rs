//! Retention: how long events and addresses are kept, and which quarters of the ledger are over.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::address_retention::AddressMonth;
use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::retention::RetentionClass;
use crate::domain::trail::{Class, PartitionDetached, RetentionSet, Trail, TrailCommand};
use crate::domain::value::Digest;
use crate::evidence::store;
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError};

/// The least that may be set: what happened in a quarter is looked into after it, too.
pub const MIN_KEEP_DAYS: u32 = 30;
/// The most.
pub const MAX_KEEP_DAYS: u32 = 36_500;

/// A quarter of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Quarter {
    /// Its name, `grant_2024q1`.
    pub partition: String,
    /// Which events.
    pub class: Class,
    /// The least id in it.
    #[serde(skip)]
    pub lower: Uuid,
    /// The least id after it.
    #[serde(skip)]
    pub upper: Uuid,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Its size on disk.
    pub bytes: i64,
    /// From when on its events need not be kept; none where they are kept for good.
    pub due_at: Option<Timestamp>,
}

/// What a retention keeps no longer and that is there all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Quarters of the ledger.
    pub quarters: Vec<Quarter>,
    /// Months of which there are keys to addresses.
    pub months: Vec<AddressMonth>,
}

/// How long what is kept.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownRetention {
    /// What can be kept for a time.
    pub keep: Vec<Keeping>,
    /// Events that are kept for good, whatever is set.
    pub kept_for_good: Vec<KeptForGood>,
    /// Months of which there are keys to addresses.
    pub addresses: Vec<AddressMonth>,
    /// In the ledger.
    pub quarters: Vec<Quarter>,
    /// Taken out of it.
    pub detached: Vec<DetachedQuarter>,
}

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Keeping {
    /// What.
    pub class: RetentionClass,
    /// Days after the end of its quarter, or of its month; null where it is kept for good.
    pub keep_days: Option<u32>,
}

/// Events that never leave the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeptForGood {
    /// Of which type of aggregate.
    pub aggregate_type: String,
    /// Their size on disk.
    pub bytes: i64,
}

/// A quarter that was taken out of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DetachedQuarter {
    /// Its name, `grant_2024q1`.
    pub partition: String,
    /// How many events it has.
    pub events: i64,
}

/// What is in a quarter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// How many events.
    pub events: i64,
    /// The first one's position; 0 where there is none.
    pub first: i64,
    /// The last one's position; 0 where there is none.
    pub last: i64,
    /// When the last of its grants ends.
    pub live_until: Option<Timestamp>,
    /// The users in it whom a legal hold keeps.
    pub held: Vec<SubjectId>,
    /// Whether a signed checkpoint covers all of it.
    pub sealed: bool,
    /// Who follows the ledger and has not come past it, such as `stream:siem` or `policies`.
    pub unread: Vec<String>,
}

/// Why a quarter is not taken out of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDetached {
    /// Nobody said how long.
    #[error("its events are kept for good: see `grantlog retention set`")]
    KeptForGood,
    /// Its time has not come.
    #[error("its events are kept until {}", .0.format("%Y-%m-%d"))]
    KeptUntil(Timestamp),
    /// A grant in it may have tokens that are good.
    #[error("a grant in it lives until {}", .0.format("%Y-%m-%d"))]
    Alive(Timestamp),
    /// Somebody's data must be kept.
    #[error("a legal hold keeps {0}, who is in it")]
    Held(SubjectId),
    /// It is not in the evidence log yet.
    #[error("it is not sealed yet: start a server, which seals it")]
    Unsealed,
    /// A stream, or another reader, would never carry what is in it.
    #[error("{0} has not carried it yet: let it catch up, remove it, or say --despite {0}")]
    Unread(String),
}

/// A quarter as the database says.
type QuarterRow = (String, String, Uuid, Uuid, Timestamp, i64);

impl Quarter {
    /// Why it may not be taken out at a moment; none where it may. Readers in `despite` lose what they have not read.
    #[must_use]
    pub fn obstacle(&self, facts: &Facts, despite: &[String], now: Timestamp) -> Option<NotDetached> {
        let Some(due_at) = self.due_at else {
            return Some(NotDetached::KeptForGood);
        };
        if now < due_at {
            return Some(NotDetached::KeptUntil(due_at));
        }
        if let Some(until) = facts.live_until.filter(|until| now < *until) {
            return Some(NotDetached::Alive(until));
        }
        if let Some(subject) = facts.held.first() {
            return Some(NotDetached::Held(*subject));
        }
        if !facts.sealed {
            return Some(NotDetached::Unsealed);
        }
        let unread = facts.unread.iter().find(|reader| !despite.contains(reader));
        unread.map(|reader| NotDetached::Unread(reader.clone()))
    }

    /// The event by which it is taken out, whoever of `despite` has not read it.
    #[must_use]
    pub fn detachment(&self, facts: &Facts, despite: &[String], leaves: Digest) -> PartitionDetached {
        let left_behind = facts.unread.iter().filter(|reader| despite.contains(reader));
        let left_behind: Vec<String> = left_behind.cloned().collect();
        PartitionDetached {
            class: self.class,
            partition: self.partition.clone(),
            lower: self.lower,
            upper: self.upper,
            events: facts.events,
            first: facts.first,
            last: facts.last,
            leaves,
            despite: (!left_behind.is_empty()).then_some(left_behind),
        }
    }
}

impl Operations {
    /// Sets how many days after the end of its quarter, or month, something is kept; none: for good.
    pub async fn set_retention(
        &self,
        context: &Context,
        class: RetentionClass,
        keep_days: Option<u32>,
    ) -> Result<(), OperationError> {
        if keep_days.is_some_and(|days| !(MIN_KEEP_DAYS..=MAX_KEEP_DAYS).contains(&days)) {
            return Err(OperationError::invalid(
                "keep_days",
                format!("it is {MIN_KEEP_DAYS} to {MAX_KEEP_DAYS}, or null for good"),
            ));
        }
        let command = TrailCommand::SetRetention(RetentionSet { class, keep_days });
        Ok(run!(self, context, Trail, class.act(), &command).outcome?)
    }

    /// How many days something is kept; none: for good.
    pub async fn retention(&self, class: RetentionClass) -> Result<Option<u32>, LedgerError> {
        Ok(self.load::<Trail>(class.act()).await?.keep_days)
    }

    /// How long what is kept.
    pub async fn shown_retention(&self) -> Result<ShownRetention, LedgerError> {
        let quarters = self.quarters().await?;
        let detached: Vec<(String, i64)> = sqlx::query_as(
            "SELECT partition, events FROM grantlog.detached_partitions ORDER BY class, partition",
        )
        .fetch_all(self.ledger.pool())
        .await?;
        let detached = detached
            .into_iter()
            .map(|(partition, events)| DetachedQuarter { partition, events });
        let mut keep = Vec::new();
        for class in RetentionClass::ALL {
            let keep_days = self.retention(class).await?;
            keep.push(Keeping { class, keep_days });
        }
        let addresses = self.retention(RetentionClass::Address).await?;
        Ok(ShownRetention {
            keep,
            kept_for_good: self.kept_for_good().await?,
            addresses: self.address_months(addresses).await?,
            quarters,
            detached: detached.collect(),
        })
    }

    /// The events that never leave the ledger, by type of aggregate.
    async fn kept_for_good(&self) -> Result<Vec<KeptForGood>, LedgerError> {
        let can_leave = Class::ALL.map(Class::name);
        let kept = AggregateType::ALL.map(AggregateType::name).into_iter();
        let kept: Vec<&str> = kept.filter(|name| !can_leave.contains(name)).collect();
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT name, pg_total_relation_size(('grantlog.ledger_' || name)::regclass) \
             FROM unnest($1::text[]) AS name ORDER BY 2 DESC, 1",
        )
        .bind(kept)
        .fetch_all(self.ledger.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|(aggregate_type, bytes)| KeptForGood {
                aggregate_type,
                bytes,
            })
            .collect())
    }

    /// The quarters whose time has come and that are in the ledger all the same, and the months of which there are keys to
    /// addresses that are over for longer than a day: nothing, or nobody, takes them out.
    pub async fn overdue(&self) -> Result<Overdue, LedgerError> {
        let now = self.ledger.clock().now();
        let mut quarters = self.quarters().await?;
        quarters.retain(|quarter| quarter.due_at.is_some_and(|due_at| due_at <= now));
        let months = self.overdue_months().await?;
        Ok(Overdue { quarters, months })
    }

    /// The quarters that are in the ledger, in order of class and time.
    pub async fn quarters(&self) -> Result<Vec<Quarter>, LedgerError> {
        let rows: Vec<QuarterRow> =
            sqlx::query_as("SELECT partition, class, lower, upper, ends_at, bytes FROM grantlog.quarters()")
                .fetch_all(self.ledger.pool())
                .await?;
        let mut quarters = Vec::with_capacity(rows.len());
        for class in Class::ALL {
            let keep = self.retention(class.into()).await?;
            let of_class = rows.iter().filter(|(_, name, ..)| name == class.name());
            quarters.extend(
                of_class.map(|(partition, _, lower, upper, ends_at, bytes)| Quarter {
                    partition: partition.clone(),
                    class,
                    lower: *lower,
                    upper: *upper,
                    ends_at: *ends_at,
                    bytes: *bytes,
                    due_at: keep.map(|days| *ends_at + TimeDelta::days(days.into())),
                }),
            );
        }
        Ok(quarters)
    }

    /// What is in a quarter. All of it is read.
    pub async fn quarter_facts(&self, quarter: &Quarter) -> Result<Facts, LedgerError> {
        type Row = (i64, i64, i64, Option<Timestamp>, Vec<Uuid>, i64, Vec<String>);
        let (events, first, last, live_until, held, size, unread): Row = sqlx::query_as(
            "SELECT f.events, f.first, f.last, f.live_until, f.held, l.size, \
                    ARRAY(SELECT reader FROM grantlog.readers_before(f.last)) \
             FROM grantlog.quarter_facts($1) AS f CROSS JOIN grantlog.evidence_log AS l",
        )
        .bind(&quarter.partition)
        .fetch_one(self.ledger.pool())
        .await?;
        Ok(Facts {
            events,
            first,
            last,
            live_until,
            held: held.into_iter().map(SubjectId).collect(),
            sealed: last <= size,
            unread,
        })
    }

    /// Records that a quarter is taken out; the position of the event.
    pub async fn record_detachment(
        &self,
        context: &Context,
        event: PartitionDetached,
    ) -> Result<u64, OperationError> {
        let id = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let command = TrailCommand::Detach(event);
        let concluded = run!(self, context, Trail, id, &command);
        concluded.outcome?;
        let position = concluded.appended.map(|appended| appended.first_position);
        Ok(store::unsigned(position.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(day)
    }

    #[test]
    fn a_quarter_leaves_when_its_time_has_come_and_nothing_in_it_lives_is_held_or_unsealed() {
        let quarter = |due_at| Quarter {
            partition: "grant_1970q1".to_owned(),
            class: Class::Grant,
            lower: Uuid::nil(),
            upper: Uuid::max(),
            ends_at: at(90),
            bytes: 0,
            due_at,
        };
        let facts = Facts {
            events: 1,
            first: 1,
            last: 1,
            live_until: Some(at(200)),
            held: vec![],
            sealed: true,
            unread: vec![],
        };
        let held = SubjectId(Uuid::from_u128(7));
        let kept = quarter(Some(at(120)));
        assert_eq!(
            quarter(None).obstacle(&facts, &[], at(999)),
            Some(NotDetached::KeptForGood)
        );
        assert_eq!(
            kept.obstacle(&facts, &[], at(119)),
            Some(NotDetached::KeptUntil(at(120)))
        );
        assert_eq!(
            kept.obstacle(&facts, &[], at(199)),
            Some(NotDetached::Alive(at(200)))
        );
        assert_eq!(kept.obstacle(&facts, &[], at(200)), None);
        let of = |held, sealed| Facts {
            held,
            sealed,
            ..facts.clone()
        };
        assert_eq!(
            kept.obstacle(&of(vec![held], true), &[], at(200)),
            Some(NotDetached::Held(held))
        );
        assert_eq!(
            kept.obstacle(&of(vec![], false), &[], at(200)),
            Some(NotDetached::Unsealed)
        );
        let behind = ["policies", "stream:siem"].map(str::to_owned);
        let facts = Facts {
            unread: behind.to_vec(),
            ..facts
        };
        let policies = Some(NotDetached::Unread(behind[0].clone()));
        assert_eq!(kept.obstacle(&facts, &behind[1..], at(200)), policies);
        assert_eq!(kept.obstacle(&facts, &behind, at(200)), None);
        let event = kept.detachment(&facts, &behind[1..], Digest::of(b""));
        assert_eq!(event.despite.unwrap(), behind[1..]);
    }
}
