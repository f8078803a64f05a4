//! Rows on their way into a table: as column arrays for one `unnest` statement, or as binary COPY data.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::Schema;
use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ledger::POSTGRES_EPOCH_MICROS;

/// One value of a row.
#[derive(Clone, Debug)]
pub enum Cell {
    /// `bigint`.
    Int(Option<i64>),
    /// `int`.
    Small(i32),
    /// `boolean`.
    Bool(bool),
    /// `text`.
    Text(Option<String>),
    /// `text`, a constant.
    Word(Option<&'static str>),
    /// `text`, a digest in hexadecimal.
    Hex(Digest),
    /// `uuid`.
    Uuid(Option<Uuid>),
    /// `timestamptz`.
    Time(Option<Timestamp>),
    /// `text[]`.
    Texts(Vec<String>),
    /// `bigint[]`.
    Ints(Vec<i64>),
}

/// The cells of a row are not those of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch;

/// What takes a projection's rows.
pub trait RowSink {
    /// Takes one row.
    fn row(&mut self, cells: &[Cell]) -> Result<(), Mismatch>;
}

/// A column's values.
#[derive(Debug)]
pub enum Array {
    /// `bigint`.
    Int(Vec<Option<i64>>),
    /// `int`.
    Small(Vec<i32>),
    /// `boolean`.
    Bool(Vec<bool>),
    /// `text`.
    Text(Vec<Option<String>>),
    /// `uuid`.
    Uuid(Vec<Option<Uuid>>),
    /// `timestamptz`.
    Time(Vec<Option<Timestamp>>),
    /// `text[]`, as array literals: `unnest` would flatten arrays of arrays.
    Texts(Vec<String>),
    /// `bigint[]`, as array literals.
    Ints(Vec<String>),
}

impl Array {
    fn like(cell: &Cell) -> Self {
        match cell {
            Cell::Int(_) => Self::Int(Vec::new()),
            Cell::Small(_) => Self::Small(Vec::new()),
            Cell::Bool(_) => Self::Bool(Vec::new()),
            Cell::Text(_) | Cell::Word(_) | Cell::Hex(_) => Self::Text(Vec::new()),
            Cell::Uuid(_) => Self::Uuid(Vec::new()),
            Cell::Time(_) => Self::Time(Vec::new()),
            Cell::Texts(_) => Self::Texts(Vec::new()),
            Cell::Ints(_) => Self::Ints(Vec::new()),
        }
    }

    fn push(&mut self, cell: &Cell) -> Result<(), Mismatch> {
        match (self, cell) {
            (Self::Int(values), Cell::Int(value)) => values.push(*value),
            (Self::Small(values), Cell::Small(value)) => values.push(*value),
            (Self::Bool(values), Cell::Bool(value)) => values.push(*value),
            (Self::Text(values), Cell::Text(value)) => values.push(value.clone()),
            (Self::Text(values), Cell::Word(value)) => values.push(value.map(str::to_owned)),
            (Self::Text(values), Cell::Hex(value)) => values.push(Some(value.to_string())),
            (Self::Uuid(values), Cell::Uuid(value)) => values.push(*value),
            (Self::Time(values), Cell::Time(value)) => values.push(*value),
            (Self::Texts(values), Cell::Texts(value)) => values.push(literal(value)),
            (Self::Ints(values), Cell::Ints(value)) => {
                let numbers: Vec<String> = value.iter().map(i64::to_string).collect();
                values.push(format!("{{{}}}", numbers.join(",")));
            }
            _ => return Err(Mismatch),
        }
        Ok(())
    }

    fn sql_type(&self) -> &'static str {
        match self {
            Self::Int(_) => "bigint[]",
            Self::Small(_) => "int[]",
            Self::Bool(_) => "boolean[]",
            Self::Text(_) | Self::Texts(_) | Self::Ints(_) => "text[]",
            Self::Uuid(_) => "uuid[]",
            Self::Time(_) => "timestamptz[]",
        }
    }

    fn bind<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        match self {
            Self::Int(values) => query.bind(values),
            Self::Small(values) => query.bind(values),
            Self::Bool(values) => query.bind(values),
            Self::Text(values) => query.bind(values),
            Self::Uuid(values) => query.bind(values),
            Self::Time(values) => query.bind(values),
            Self::Texts(values) | Self::Ints(values) => query.bind(values),
        }
    }
}

/// An array literal (PostgreSQL manual §8.15.2): every element quoted.
fn literal(values: &[String]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

/// Rows gathered column by column.
#[derive(Debug, Default)]
pub struct Columns {
    arrays: Vec<Array>,
}

impl RowSink for Columns {
    fn row(&mut self, cells: &[Cell]) -> Result<(), Mismatch> {
        if self.arrays.is_empty() {
            self.arrays = cells.iter().map(Array::like).collect();
        }
        if self.arrays.len() != cells.len() {
            return Err(Mismatch);
        }
        self.arrays
            .iter_mut()
            .zip(cells)
            .try_for_each(|(array, cell)| array.push(cell))
    }
}

impl Columns {
    /// Whether no row came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }

    /// `unnest($1::…, …)`.
    fn unnest(&self) -> String {
        let arguments: Vec<String> = (1..)
            .zip(&self.arrays)
            .map(|(number, array)| format!("${number}::{}", array.sql_type()))
            .collect();
        format!("unnest({})", arguments.join(", "))
    }

    fn bind<'q>(&'q self, sql: &'q str) -> Query<'q, Postgres, PgArguments> {
        self.arrays
            .iter()
            .fold(sqlx::query(sql), |query, array| array.bind(query))
    }

    /// Writes the rows with one statement; a row whose id is there is replaced.
    pub(super) async fn upsert(
        &self,
        connection: &mut PgConnection,
        schema: &Schema,
        table: &str,
    ) -> Result<(), sqlx::Error> {
        if self.is_empty() {
            return Ok(());
        }
        let selected: Vec<String> = schema
            .columns
            .iter()
            .zip(&self.arrays)
            .map(|(column, array)| match array {
                Array::Texts(_) => format!("{column}::text[]"),
                Array::Ints(_) => format!("{column}::bigint[]"),
                Array::Int(_)
                | Array::Small(_)
                | Array::Bool(_)
                | Array::Text(_)
                | Array::Uuid(_)
                | Array::Time(_) => (*column).to_owned(),
            })
            .collect();
        let updates: Vec<String> = schema
            .columns
            .iter()
            .skip(1)
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        let columns = schema.column_list();
        let sql = format!(
            "INSERT INTO public.{table} ({columns}) SELECT {} FROM {} AS new ({columns}) \
             ON CONFLICT (id) DO UPDATE SET {}",
            selected.join(", "),
            self.unnest(),
            updates.join(", ")
        );
        self.bind(&sql).execute(connection).await.map(|_| ())
    }
}

/// A change of rows that were written before, for many of them at once.
#[derive(Debug)]
pub struct Change {
    /// The statement; `{table}` stands for the table, `{given}` for the `unnest` of the columns.
    pub sql: String,
    /// What it binds.
    pub given: Columns,
}

impl Change {
    /// Applies it. A change of nothing costs nothing.
    pub(super) async fn apply(&self, connection: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
        if self.given.is_empty() {
            return Ok(());
        }
        let table = format!("public.{table}");
        let sql = self
            .sql
            .replace("{table}", &table)
            .replace("{given}", &self.given.unnest());
        self.given.bind(&sql).execute(connection).await.map(|_| ())
    }
}

/// Rows as the data of `COPY … FROM STDIN (FORMAT binary)`.
#[derive(Debug, Default)]
pub(super) struct CopyBuffer {
    bytes: Vec<u8>,
    pub(super) rows: u64,
}

const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TEXT_OID: u32 = 25;
const BIGINT_OID: u32 = 20;

impl CopyBuffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished data; the buffer begins anew.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        let next = Vec::with_capacity(self.bytes.len() + 64 * 1024);
        Some(std::mem::replace(&mut self.bytes, next))
    }

    fn sized(&mut self, value: &[u8]) -> Result<(), Mismatch> {
        let len = i32::try_from(value.len()).map_err(|_| Mismatch)?;
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn cell(&mut self, cell: &Cell) -> Result<(), Mismatch> {
        match cell {
            Cell::Int(Some(value)) => self.sized(&value.to_be_bytes()),
            Cell::Small(value) => self.sized(&value.to_be_bytes()),
            Cell::Bool(value) => self.sized(&[u8::from(*value)]),
            Cell::Text(Some(value)) => self.sized(value.as_bytes()),
            Cell::Word(Some(value)) => self.sized(value.as_bytes()),
            Cell::Hex(value) => self.hex(value),
            Cell::Uuid(Some(value)) => self.sized(value.as_bytes()),
            Cell::Time(Some(value)) => self.sized(&postgres_micros(*value).to_be_bytes()),
            Cell::Texts(values) => self.array(TEXT_OID, values.iter().map(String::as_bytes)),
            Cell::Ints(values) => {
                let values: Vec<[u8; 8]> = values.iter().map(|value| value.to_be_bytes()).collect();
                self.array(BIGINT_OID, values.iter().map(<[u8; 8]>::as_slice))
            }
            Cell::Int(None) | Cell::Text(None) | Cell::Word(None) | Cell::Uuid(None) | Cell::Time(None) => {
                self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
                Ok(())
            }
        }
    }

    fn hex(&mut self, digest: &Digest) -> Result<(), Mismatch> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.bytes.extend_from_slice(&64_i32.to_be_bytes());
        for byte in digest.0 {
            for nibble in [byte >> 4, byte & 15] {
                self.bytes
                    .push(DIGITS.get(usize::from(nibble)).copied().ok_or(Mismatch)?);
            }
        }
        Ok(())
    }

    /// An array: dimensions, flags, element type; then, unless empty, length, lower bound and elements.
    fn array<'a>(
        &mut self,
        element_oid: u32,
        values: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<(), Mismatch> {
        let start = self.bytes.len();
        let count = i32::try_from(values.len()).map_err(|_| Mismatch)?;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&i32::from(count > 0).to_be_bytes());
        self.bytes.extend_from_slice(&0_i32.to_be_bytes());
        self.bytes.extend_from_slice(&element_oid.to_be_bytes());
        if count > 0 {
            self.bytes.extend_from_slice(&count.to_be_bytes());
            self.bytes.extend_from_slice(&1_i32.to_be_bytes());
            for value in values {
                self.sized(value)?;
            }
        }
        let len = i32::try_from(self.bytes.len() - start - 4).map_err(|_| Mismatch)?;
        let place = self.bytes.get_mut(start..start + 4).ok_or(Mismatch)?;
        place.copy_from_slice(&len.to_be_bytes());
        Ok(())
    }
}

impl RowSink for CopyBuffer {
    fn row(&mut self, cells: &[Cell]) -> Result<(), Mismatch> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(COPY_HEADER);
        }
        let count = i16::try_from(cells.len()).map_err(|_| Mismatch)?;
        self.bytes.extend_from_slice(&count.to_be_bytes());
        self.rows += 1;
        cells.iter().try_for_each(|cell| self.cell(cell))
    }
}

fn postgres_micros(at: Timestamp) -> i64 {
    at.timestamp_micros() - POSTGRES_EPOCH_MICROS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_keep_every_character() {
        let values = ["a b", "q\"uo\\te", "", "NULL", "{,}"].map(str::to_owned);
        assert_eq!(literal(&values), r#"{"a b","q\"uo\\te","","NULL","{,}"}"#);
    }

    #[test]
    fn a_row_of_other_cells_is_refused() {
        let mut columns = Columns::default();
        columns.row(&[Cell::Int(Some(1)), Cell::Bool(true)]).unwrap();
        assert_eq!(columns.row(&[Cell::Int(Some(1))]), Err(Mismatch));
        assert_eq!(columns.row(&[Cell::Bool(true), Cell::Bool(true)]), Err(Mismatch));
    }
}
