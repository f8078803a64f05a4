//! The call of `grantlog.append`: a batch of commands as arrays, and its verdicts.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::LANE;
use super::command::{Command, Expectation};
use crate::clock::Timestamp;
use crate::domain::AggregateType;

const APPEND: &str = "SELECT command, verdict, first_position, at, conflict_type, conflict_id, expected, actual \
     FROM grantlog.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

/// What became of one command of a batch.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It is in the ledger, now or (`repeated`) since an earlier try.
    Appended {
        first_position: i64,
        at: Timestamp,
        repeated: bool,
    },
    /// An aggregate is not where the command expected it.
    Conflict(Conflict),
    /// A name belongs to another aggregate.
    NameTaken(String),
}

/// A conflict, stating both versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The aggregate's type.
    pub aggregate_type: String,
    /// Its id.
    pub aggregate_id: Uuid,
    /// The sequence that the command had seen.
    pub expected: i64,
    /// The sequence that the ledger has.
    pub actual: i64,
}

#[derive(Default)]
struct Arrays<'a> {
    commands: Vec<Uuid>,
    x_type: Vec<&'static str>,
    x_id: Vec<Uuid>,
    x_sequence: Vec<i64>,
    m_command: Vec<i32>,
    m_expectation: Vec<i32>,
    e_command: Vec<i32>,
    e_type: Vec<&'static str>,
    e_id: Vec<Uuid>,
    e_sequence: Vec<i64>,
    e_event: Vec<&'static str>,
    e_version: Vec<i16>,
    e_payload: Vec<&'a str>,
    e_metadata: Vec<&'a str>,
    n_command: Vec<i32>,
    n_kind: Vec<&'static str>,
    n_digest: Vec<&'a [u8]>,
    n_type: Vec<&'static str>,
    n_id: Vec<Uuid>,
    n_claim: Vec<bool>,
}

impl<'a> Arrays<'a> {
    fn of(commands: impl Iterator<Item = &'a Command>) -> Self {
        let mut arrays = Self::default();
        // Many commands rely on the same client: one probe serves them all.
        let mut places: HashMap<Expectation, i32> = HashMap::new();
        for (number, command) in (1..).zip(commands) {
            arrays.commands.push(command.id);
            for expectation in &command.expectations {
                let place = *places
                    .entry(*expectation)
                    .or_insert_with(|| arrays.expect(expectation));
                arrays.m_command.push(number);
                arrays.m_expectation.push(place);
            }
            arrays.add_events(number, command);
            for name in &command.names {
                arrays.n_command.push(number);
                arrays.n_kind.push(name.kind);
                arrays.n_digest.push(&name.digest);
                arrays.n_type.push(name.owner.0.name());
                arrays.n_id.push(name.owner.1);
                arrays.n_claim.push(name.claim);
            }
        }
        arrays
    }

    fn expect(&mut self, expectation: &Expectation) -> i32 {
        self.x_type.push(expectation.kind.name());
        self.x_id.push(expectation.id);
        self.x_sequence.push(expectation.sequence);
        i32::try_from(self.x_id.len()).unwrap_or(i32::MAX)
    }

    fn add_events(&mut self, number: i32, command: &'a Command) {
        for event in &command.events {
            self.e_command.push(number);
            self.e_type.push(event.kind.name());
            self.e_id.push(event.id);
            self.e_sequence.push(event.sequence);
            self.e_event.push(event.event_type);
            self.e_version.push(event.version);
            self.e_payload.push(&event.payload);
            self.e_metadata.push(&event.metadata);
        }
    }
}

/// Appends a batch in one round trip, in autocommit: when this returns `Ok`, what is appended is durable.
/// Verdicts are in the order of `commands`.
pub(super) async fn call(
    connection: &mut PgConnection,
    epoch: i64,
    commands: &[&Command],
) -> Result<Vec<Option<Verdict>>, sqlx::Error> {
    let arrays = Arrays::of(commands.iter().copied());
    let rows = sqlx::query(APPEND)
        .bind(LANE)
        .bind(epoch)
        .bind(&arrays.commands)
        .bind(&arrays.x_type)
        .bind(&arrays.x_id)
        .bind(&arrays.x_sequence)
        .bind(&arrays.m_command)
        .bind(&arrays.m_expectation)
        .bind(&arrays.e_command)
        .bind(&arrays.e_type)
        .bind(&arrays.e_id)
        .bind(&arrays.e_sequence)
        .bind(&arrays.e_event)
        .bind(&arrays.e_version)
        .bind(&arrays.e_payload)
        .bind(&arrays.e_metadata)
        .bind(&arrays.n_command)
        .bind(&arrays.n_kind)
        .bind(&arrays.n_digest)
        .bind(&arrays.n_type)
        .bind(&arrays.n_id)
        .bind(&arrays.n_claim)
        .fetch_all(connection)
        .await?;
    let mut verdicts: Vec<Option<Verdict>> = vec![None; commands.len()];
    let mut batch = None;
    for row in rows {
        let number: i32 = row.try_get(0)?;
        let number = usize::try_from(number).unwrap_or_default();
        match number.checked_sub(1) {
            None => batch = Some((row.try_get(2)?, row.try_get(3)?)),
            Some(place) => {
                if let Some(slot) = verdicts.get_mut(place) {
                    *slot = Some(read_verdict(&row)?);
                }
            }
        }
    }
    if let Some((head, at)) = batch {
        number_appended(&mut verdicts, commands, head, at);
    }
    Ok(verdicts)
}

/// Commands without a verdict of their own were appended, numbered on from the head in their order.
fn number_appended(verdicts: &mut [Option<Verdict>], commands: &[&Command], head: i64, at: Timestamp) {
    let mut last = head;
    for (verdict, command) in verdicts.iter_mut().zip(commands) {
        if verdict.is_none() {
            *verdict = Some(Verdict::Appended {
                first_position: last + 1,
                at,
                repeated: false,
            });
            last += i64::try_from(command.events.len()).unwrap_or_default();
        }
    }
}

fn read_verdict(row: &sqlx::postgres::PgRow) -> Result<Verdict, sqlx::Error> {
    let verdict: &str = row.try_get(1)?;
    Ok(match verdict {
        "repeated" => Verdict::Appended {
            first_position: row.try_get(2)?,
            at: row.try_get(3)?,
            repeated: true,
        },
        "name_taken" => Verdict::NameTaken(row.try_get(4)?),
        _ => Verdict::Conflict(Conflict {
            aggregate_type: row.try_get(4)?,
            aggregate_id: row.try_get(5)?,
            expected: row.try_get(6)?,
            actual: row.try_get(7)?,
        }),
    })
}

/// Whether two commands may share a batch: neither writes what the other writes, relies on or names.
pub(super) struct Footprint {
    written: HashSet<(AggregateType, Uuid)>,
    relied: HashSet<(AggregateType, Uuid)>,
    names: HashSet<(&'static str, [u8; 32])>,
}

impl Footprint {
    pub(super) fn new() -> Self {
        Self {
            written: HashSet::new(),
            relied: HashSet::new(),
            names: HashSet::new(),
        }
    }

    /// Takes the command into the batch, unless it must wait for the next.
    pub(super) fn admit(&mut self, command: &Command) -> bool {
        let collides = command
            .written()
            .any(|key| self.written.contains(&key) || self.relied.contains(&key))
            || command
                .expectations
                .iter()
                .any(|x| self.written.contains(&(x.kind, x.id)))
            || command
                .names
                .iter()
                .any(|name| self.names.contains(&(name.kind, name.digest)));
        if collides {
            return false;
        }
        self.written.extend(command.written());
        self.relied
            .extend(command.expectations.iter().map(|x| (x.kind, x.id)));
        self.names
            .extend(command.names.iter().map(|name| (name.kind, name.digest)));
        true
    }
}
