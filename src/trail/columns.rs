//! Events as an Apache Parquet file: a row for each, with what its JSON document has in typed columns.
//!
//! Payload and metadata are there as JSON, too, so that nothing is lost; ids are text, as in the documents, since not
//! every reader knows Parquet's UUID.

use std::io::Write;
use std::mem::take;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::document::{self, WithPeople};
use crate::ledger::Operator;
use crate::policy::agent::AgentFamily;

/// The columns, in the order of [`Rows::push`].
const SCHEMA: &str = "message event {
    required int64 position;
    required int64 recorded_at (timestamp(micros, true));
    required binary aggregate_type (string);
    required binary aggregate_id (string);
    required int64 sequence;
    required binary event_type (string);
    required int32 event_version;
    required binary actor (string);
    optional binary authentication_method (string);
    required binary endpoint (string);
    required binary request_id (string);
    optional binary trace_id (string);
    optional binary network (string);
    optional binary agent_family (string);
    optional binary note (string);
    optional binary operator (string);
    required boolean operator_erased;
    optional binary caller_address (string);
    optional binary caller_agent (string);
    required binary payload (json);
    required binary metadata (json);
}";

/// Rows of a row group, which is what is kept in memory.
const ROWS: usize = 65_536;
/// Bytes of text in a row group.
const BYTES: usize = 16 << 20;

/// Writes events, row group by row group, so that memory stays bounded however many there are.
#[derive(Debug)]
pub struct Columns<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Rows,
}

impl<W: Write + Send> Columns<W> {
    /// Begins a file.
    pub fn begin(out: W) -> Result<Self> {
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("grantlog ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            // Those of pages would be kept in memory until the end of the file.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        for document in ["payload", "metadata"] {
            let column = || ColumnPath::from(document);
            properties = properties
                .set_column_dictionary_enabled(column(), false)
                .set_column_statistics_enabled(column(), EnabledStatistics::None);
        }
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        Ok(Self {
            file: SerializedFileWriter::new(out, schema, Arc::new(properties.build()))?,
            rows: Rows::default(),
        })
    }

    /// Writes an event.
    pub fn push(&mut self, event: &WithPeople<'_>) -> Result<()> {
        self.rows.push(event)?;
        if self.rows.count >= ROWS || self.rows.bytes >= BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// Ends the file, and gives back what it was written to.
    pub fn finish(mut self) -> Result<W> {
        if self.rows.count > 0 {
            self.write_group()?;
        }
        self.file.into_inner()
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for column in take(&mut self.rows).columns {
            let writer = group.next_column()?.ok_or_else(unlike_the_schema)?;
            column.write(writer)?;
        }
        group.close()?;
        Ok(())
    }
}

fn unlike_the_schema() -> ParquetError {
    ParquetError::General("the rows have other columns than the schema".to_owned())
}

/// Rows that wait for being written.
#[derive(Debug, Default)]
struct Rows {
    count: usize,
    bytes: usize,
    columns: Vec<Column>,
}

impl Rows {
    fn push(&mut self, shown: &WithPeople<'_>) -> Result<()> {
        let (event, metadata) = (shown.event, &shown.metadata);
        let payload = document::payload(event).map_err(|error| ParquetError::External(error.into()))?;
        let method = metadata.authentication.as_ref().map(|how| how.method.as_str());
        let (operator, erased) = match &shown.operator {
            Some(Operator::Name(name)) => (Some(name.as_str()), false),
            Some(Operator::Erased) => (None, true),
            None => (None, false),
        };
        let caller = shown.caller.as_ref();
        let address = caller
            .and_then(|caller| caller.address)
            .map(|address| address.to_string());
        let network = metadata.network.map(|digest| digest.to_string());
        self.add([
            Cell::Long(event.position),
            Cell::Long(event.recorded_at.timestamp_micros()),
            Cell::Text(&event.aggregate_type),
            Cell::Text(&event.aggregate_id.to_string()),
            Cell::Long(event.sequence),
            Cell::Text(&event.event_type),
            Cell::Short(event.event_version),
            Cell::Text(&metadata.actor),
            Cell::MaybeText(method),
            Cell::Text(&metadata.endpoint),
            Cell::Text(&metadata.request_id.to_string()),
            Cell::MaybeText(metadata.trace_id.as_deref()),
            Cell::MaybeText(network.as_deref()),
            Cell::MaybeText(metadata.agent.map(AgentFamily::name)),
            Cell::MaybeText(metadata.note.as_deref()),
            Cell::MaybeText(operator),
            Cell::Flag(erased),
            Cell::MaybeText(address.as_deref()),
            Cell::MaybeText(caller.and_then(|caller| caller.agent.as_deref())),
            Cell::Text(&payload),
            Cell::Text(&event.metadata),
        ])
    }

    fn add<const N: usize>(&mut self, row: [Cell<'_>; N]) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = row.iter().map(Column::for_cell).collect();
        }
        for (column, cell) in self.columns.iter_mut().zip(row) {
            self.bytes += column.push(cell)?;
        }
        self.count += 1;
        Ok(())
    }
}

/// One value.
#[derive(Clone, Copy)]
enum Cell<'a> {
    Long(i64),
    Short(i16),
    Flag(bool),
    Text(&'a str),
    MaybeText(Option<&'a str>),
}

/// The values of a column.
#[derive(Debug)]
enum Column {
    Long(Vec<i64>),
    Short(Vec<i32>),
    Flag(Vec<bool>),
    Text(Vec<ByteArray>),
    /// The values that are there, and for each row whether one is (1, otherwise 0).
    MaybeText(Vec<ByteArray>, Vec<i16>),
}

impl Column {
    fn for_cell(cell: &Cell<'_>) -> Self {
        match cell {
            Cell::Long(_) => Self::Long(Vec::new()),
            Cell::Short(_) => Self::Short(Vec::new()),
            Cell::Flag(_) => Self::Flag(Vec::new()),
            Cell::Text(_) => Self::Text(Vec::new()),
            Cell::MaybeText(_) => Self::MaybeText(Vec::new(), Vec::new()),
        }
    }

    /// Appends a value. How many bytes of text it has.
    fn push(&mut self, cell: Cell<'_>) -> Result<usize> {
        match (self, cell) {
            (Self::Long(values), Cell::Long(value)) => values.push(value),
            (Self::Short(values), Cell::Short(value)) => values.push(value.into()),
            (Self::Flag(values), Cell::Flag(value)) => values.push(value),
            (Self::Text(values), Cell::Text(text)) => {
                values.push(text.into());
                return Ok(text.len());
            }
            (Self::MaybeText(values, levels), Cell::MaybeText(text)) => {
                values.extend(text.map(ByteArray::from));
                levels.push(i16::from(text.is_some()));
                return Ok(text.map_or(0, str::len));
            }
            _ => return Err(unlike_the_schema()),
        }
        Ok(0)
    }

    fn write(self, mut writer: SerializedColumnWriter<'_>) -> Result<()> {
        match (self, writer.untyped()) {
            (Self::Long(values), ColumnWriter::Int64ColumnWriter(out)) => {
                out.write_batch(&values, None, None)?
            }
            (Self::Short(values), ColumnWriter::Int32ColumnWriter(out)) => {
                out.write_batch(&values, None, None)?
            }
            (Self::Flag(values), ColumnWriter::BoolColumnWriter(out)) => {
                out.write_batch(&values, None, None)?
            }
            (Self::Text(values), ColumnWriter::ByteArrayColumnWriter(out)) => {
                out.write_batch(&values, None, None)?
            }
            (Self::MaybeText(values, levels), ColumnWriter::ByteArrayColumnWriter(out)) => {
                out.write_batch(&values, Some(&levels), None)?
            }
            _ => return Err(unlike_the_schema()),
        };
        writer.close()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::metadata::RowGroupMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use uuid::Uuid;

    use super::*;
    use crate::ledger::{Actor, Context, Metadata, StoredEvent};

    fn event(position: i64, payload: String) -> (StoredEvent, Metadata) {
        let metadata = serde_json::json!({
            "actor": Actor::System.to_string(), "caller": null, "endpoint": "test", "network": null,
            "request_id": Context::local(Uuid::nil(), Actor::System, "test").request, "trace_id": null,
        });
        let event = StoredEvent {
            position,
            aggregate_type: "client".to_owned(),
            aggregate_id: Uuid::nil(),
            sequence: position,
            event_type: "ClientUpdated".to_owned(),
            event_version: 1,
            payload,
            metadata: metadata.to_string(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        };
        let metadata = Metadata::read(&event.metadata).unwrap();
        (event, metadata)
    }

    fn write(events: impl Iterator<Item = String>) -> SerializedFileReader<Bytes> {
        let mut columns = Columns::begin(Vec::new()).unwrap();
        for (position, payload) in (1..).zip(events) {
            let (event, metadata) = event(position, payload);
            let shown = WithPeople {
                event: &event,
                metadata,
                operator: None,
                caller: None,
            };
            columns.push(&shown).unwrap();
            assert!(
                columns.rows.count < ROWS && columns.rows.bytes < BYTES,
                "that is not bounded"
            );
        }
        SerializedFileReader::new(Bytes::from(columns.finish().unwrap())).unwrap()
    }

    #[test]
    fn row_groups_are_bounded_by_rows_and_by_bytes() {
        let rows = |file: &SerializedFileReader<Bytes>| -> Vec<i64> {
            let groups = file.metadata().row_groups().iter();
            groups.map(RowGroupMetaData::num_rows).collect()
        };
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000));
        let few = write(std::iter::repeat_n(long.clone(), 300));
        assert_eq!(rows(&few), [279, 21]);
        let last = few.get_row_iter(None).unwrap().last().unwrap().unwrap();
        let cells: Vec<String> = last.get_column_iter().map(|(_, cell)| cell.to_string()).collect();
        assert_eq!((cells[0].as_str(), &cells[19]), ("300", &format!("\"{long}\"")));
        let many = write(std::iter::repeat_n("{}".to_owned(), ROWS + 1));
        let [first, second] = rows(&many)[..] else {
            panic!("{:?}", rows(&many))
        };
        assert_eq!(usize::try_from(first + second), Ok(ROWS + 1));
        assert!(
            rows(&write(std::iter::empty())).is_empty(),
            "and there may be none"
        );
    }
}
