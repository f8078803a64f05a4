//! Which events concern something: positions, from the index as far as it has come and from the ledger beyond.

use std::collections::HashSet;

use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::concerns::Columns;
use super::key::{Key, Tag};
use super::origins::{Indexed, OriginReader};
use crate::domain::AggregateType;
use crate::ledger::{LANE, head_position};
use crate::projection::postings_cursor;

/// Events of the ledger that are looked through at once, where the index has not come yet.
const CHUNK: i64 = 2_000;
/// Events of the index, from where an answer begins, that are looked through before the posting lists are: what is asked
/// for often occurs often, and then the next page is near.
const NEAR: i64 = 20_000;
/// A stretch of no more events is looked through in order, too: the lists are of the whole ledger.
const NARROW: i64 = 100_000;

/// What events are asked for: those that concern, for each of its clauses, one of the clause's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    clauses: Vec<Vec<Tag>>,
}

impl Query {
    /// Every event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The events that concern something.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self::new().and(key)
    }

    /// Those that concern this, too.
    #[must_use]
    pub fn and(self, key: &Key) -> Self {
        self.and_any([key.clone()])
    }

    /// Those that concern one of these, too. Of none: no event.
    #[must_use]
    pub fn and_any(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.clauses.push(keys.into_iter().map(|key| key.tag()).collect());
        self
    }

    /// Whether an event with these tags (sorted) is asked for.
    fn takes(&self, tags: &[Tag]) -> bool {
        let mut clauses = self.clauses.iter();
        clauses.all(|clause| clause.iter().any(|tag| tags.binary_search(tag).is_ok()))
    }

    fn bind<'q, T>(
        &'q self,
        asked: QueryScalar<'q, Postgres, T, PgArguments>,
        (stretch, limit): (Stretch, usize),
    ) -> QueryScalar<'q, Postgres, T, PgArguments> {
        let asked = asked
            .bind(stretch.after)
            .bind(stretch.upto)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.clauses.iter().fold(asked, QueryScalar::bind)
    }

    /// The conditions on the column `keys`, from parameter `$4` on.
    fn conditions(&self) -> String {
        let mut conditions = String::new();
        for (number, clause) in (4..).zip(&self.clauses) {
            // One key of one: what the planner's statistics of elements are for.
            let operator = if clause.len() == 1 { "@>" } else { "&&" };
            conditions.extend([" AND keys ", operator, " $", &number.to_string()]);
        }
        conditions
    }
}

/// A stretch of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// It begins after this position.
    pub after: i64,
    /// It ends with this one.
    pub upto: i64,
}

impl Stretch {
    /// The whole ledger.
    pub const ALL: Self = Self {
        after: 0,
        upto: i64::MAX,
    };

    fn within(self, after: i64, upto: i64) -> Self {
        Self {
            after: self.after.max(after),
            upto: self.upto.min(upto),
        }
    }

    fn is_empty(self) -> bool {
        self.after >= self.upto
    }
}

/// In which order positions are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they happened.
    OldestFirst,
    /// The last one first.
    NewestFirst,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The positions, in the order that was asked for.
    pub positions: Vec<i64>,
    /// How far the index had come: later positions were read from the ledger itself.
    pub indexed_upto: i64,
    /// Where the ledger ended when it was asked.
    pub head: i64,
}

/// The positions of the events that a query asks for, at most `limit`. Nothing is missing: what the index has not come
/// to yet is read from the ledger, which is slow only while the index is being built.
pub async fn positions(
    connection: &mut PgConnection,
    query: &Query,
    stretch: Stretch,
    (order, limit): (Order, usize),
) -> Result<Found, sqlx::Error> {
    // The cursor before the rows: they move together, so no row up to it is missing.
    let cursor = postings_cursor(connection).await?;
    let head = head_position(&mut *connection).await?;
    // A cursor that has come further than the ledger was moved by somebody: what it says is in the index may not be.
    let indexed_upto = if cursor > head { 0 } else { cursor };
    let mut found = Found {
        positions: Vec::new(),
        indexed_upto,
        head,
    };
    let stretch = stretch.within(0, head);
    let indexed = stretch.within(0, indexed_upto);
    let beyond = stretch.within(indexed_upto, head);
    match order {
        Order::OldestFirst => {
            from_index(connection, query, indexed, (order, limit), &mut found.positions).await?;
            from_ledger(connection, query, beyond, (order, limit), &mut found.positions).await?;
        }
        Order::NewestFirst => {
            from_ledger(connection, query, beyond, (order, limit), &mut found.positions).await?;
            from_index(connection, query, indexed, (order, limit), &mut found.positions).await?;
        }
    }
    Ok(found)
}

/// First what is near, in the order of positions, then the rest by the lists of its keys.
async fn from_index(
    connection: &mut PgConnection,
    query: &Query,
    stretch: Stretch,
    (order, limit): (Order, usize),
    found: &mut Vec<i64>,
) -> Result<(), sqlx::Error> {
    let (near, far) = match order {
        Order::OldestFirst => {
            let edge = stretch.after.saturating_add(NEAR);
            (stretch.within(0, edge), stretch.within(edge, i64::MAX))
        }
        Order::NewestFirst => {
            let edge = stretch.upto.saturating_sub(NEAR);
            (stretch.within(edge, i64::MAX), stretch.within(0, edge))
        }
    };
    for stretch in [near, far] {
        let left = limit.saturating_sub(found.len());
        if left == 0 || stretch.is_empty() || query.clauses.iter().any(Vec::is_empty) {
            continue;
        }
        found.extend(read(connection, query, (stretch, order, left)).await?);
    }
    Ok(())
}

/// What the lists of a query's keys have, as far as the index has come, however near it is: what [`positions`] does for
/// what is rare.
pub async fn by_lists(
    connection: &mut PgConnection,
    query: &Query,
    (order, limit): (Order, usize),
) -> Result<Vec<i64>, sqlx::Error> {
    read(connection, query, (Stretch::ALL, order, limit)).await
}

async fn read(
    connection: &mut PgConnection,
    query: &Query,
    (stretch, order, limit): (Stretch, Order, usize),
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = statement(query, stretch, order);
    let asked = query.bind(sqlx::query_scalar::<_, i64>(&sql), (stretch, limit));
    asked.fetch_all(connection).await
}

/// How the database would look through the lists of a query's keys, in its own words.
pub async fn plan(
    connection: &mut PgConnection,
    query: &Query,
    (stretch, order, limit): (Stretch, Order, usize),
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("EXPLAIN {}", statement(query, stretch, order));
    let asked = query.bind(sqlx::query_scalar(&sql), (stretch, limit));
    asked.fetch_all(connection).await
}

/// The statement that reads the index. `OFFSET 0` keeps the planner from the other way, which it would take for the
/// better one where it has no statistics yet.
fn statement(query: &Query, stretch: Stretch, order: Order) -> String {
    let direction = match order {
        Order::OldestFirst => "",
        Order::NewestFirst => " DESC",
    };
    let (within, conditions) = ("id > $1 AND id <= $2", query.conditions());
    let narrow = stretch.upto.saturating_sub(stretch.after) <= NARROW;
    let (inner, outer) = if narrow || query.clauses.is_empty() {
        (
            format!("{within} ORDER BY id{direction}"),
            format!("true{conditions}"),
        )
    } else {
        (format!("true{conditions}"), within.to_owned())
    };
    format!(
        "SELECT id FROM (SELECT id, keys FROM public.event_postings WHERE {inner} OFFSET 0) AS found \
         WHERE {outer} ORDER BY id{direction} LIMIT $3"
    )
}

/// Position, aggregate, sequence, event, payload and metadata.
type Row = (i64, String, Uuid, i64, String, String, String);

/// What the index has not come to.
async fn from_ledger(
    connection: &mut PgConnection,
    query: &Query,
    stretch: Stretch,
    (order, limit): (Order, usize),
    found: &mut Vec<i64>,
) -> Result<(), sqlx::Error> {
    let origins = OriginReader::default();
    let mut left = stretch;
    while !left.is_empty() && found.len() < limit {
        let chunk = match order {
            Order::OldestFirst => left.within(0, left.after.saturating_add(CHUNK)),
            Order::NewestFirst => left.within(left.upto.saturating_sub(CHUNK), i64::MAX),
        };
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, payload::text, metadata::text \
             FROM grantlog.ledger WHERE lane = $1 AND position > $2 AND position <= $3 ORDER BY position",
        )
        .bind(LANE)
        .bind(chunk.after)
        .bind(chunk.upto)
        .fetch_all(&mut *connection)
        .await?;
        let events: Vec<(i64, Indexed<'_>)> = rows.iter().filter_map(indexed).collect();
        let known = origins
            .read(connection, events.iter().map(|(_, event)| *event))
            .await?;
        let mut taken: Vec<i64> = events
            .iter()
            .filter(|(_, event)| query.takes(&known.concerns(event)))
            .map(|(position, _)| *position)
            .collect();
        match order {
            Order::OldestFirst => left.after = chunk.upto,
            Order::NewestFirst => {
                taken.reverse();
                left.upto = chunk.after;
            }
        }
        taken.truncate(limit - found.len());
        found.extend(taken);
    }
    Ok(())
}

/// None of an aggregate type that this build does not know.
fn indexed(row: &Row) -> Option<(i64, Indexed<'_>)> {
    let (position, kind, aggregate_id, sequence, event_type, payload, metadata) = row;
    let columns = Columns {
        kind: AggregateType::parse(kind)?,
        aggregate_id: *aggregate_id,
        event_type,
        payload,
        metadata,
    };
    let sequence = *sequence;
    Some((*position, Indexed { sequence, columns }))
}

/// The grants among the aggregates of these positions, each once and in order of their ids.
pub async fn grants_at(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<Vec<crate::ids::GrantId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT DISTINCT aggregate_id FROM grantlog.ledger_grant \
         WHERE lane = $1 AND aggregate_type = 'grant' AND position = ANY ($2)",
    )
    .bind(LANE)
    .bind(positions)
    .fetch_all(connection)
    .await?;
    let ids: HashSet<Uuid> = ids.into_iter().collect();
    let mut grants: Vec<crate::ids::GrantId> = ids.into_iter().map(crate::ids::GrantId).collect();
    grants.sort_unstable();
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_clause_must_be_met_by_one_of_its_keys() {
        let [a, b, c] = ["a", "b", "c"].map(|word| Key::Word(word.to_owned()));
        let mut tags = vec![a.tag(), b.tag()];
        tags.sort_unstable();
        assert!(Query::new().takes(&tags));
        assert!(Query::of(&a).and_any([c.clone(), b.clone()]).takes(&tags));
        assert!(!Query::of(&a).and(&c).takes(&tags));
        assert!(!Query::of(&a).and_any([]).takes(&tags));
        let query = Query::of(&a).and_any([b, c]);
        assert_eq!(query.conditions(), " AND keys @> $4 AND keys && $5");
    }
}
