//! A CSV file whose values have a limit. The CSV reader holds a whole record; this reads ahead of it and stops at a
//! value that is too long, before it is held.

use std::io::{self, Read};

use super::MAX_VALUE;

/// The most bytes of one row.
const MAX_ROW: usize = 16 << 20;

/// What is too long, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct TooLong {
    /// The line, from 1.
    pub(super) line: u64,
    /// The value's number in its row, from 1.
    pub(super) value: usize,
    /// What.
    pub(super) problem: &'static str,
}

/// Where in a value the last byte stood (RFC 4180 §2, as the `csv` crate reads it).
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the end, or the first of two.
    Quote,
}

/// Reads a CSV file.
pub(super) struct Bounded<R> {
    input: R,
    state: State,
    line: u64,
    value: usize,
    length: usize,
    row: usize,
}

impl<R: Read> Bounded<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            state: State::Start,
            line: 1,
            value: 1,
            length: 0,
            row: 0,
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), TooLong> {
        self.line += u64::from(byte == b'\n');
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) | (State::Start | State::Quote, b'"') => State::Quoted,
            (State::Start | State::Plain | State::Quote, b'\n' | b'\r') => {
                (self.value, self.length, self.row) = (1, 0, 0);
                State::Start
            }
            (State::Start | State::Plain | State::Quote, b',') => {
                (self.value, self.length) = (self.value + 1, 0);
                State::Start
            }
            (State::Start | State::Plain | State::Quote, _) => State::Plain,
        };
        self.length += 1;
        self.row += 1;
        let problem = match (self.length > MAX_VALUE, self.row > MAX_ROW) {
            (false, false) => return Ok(()),
            (true, _) => "a value of more than a mebibyte",
            (false, true) => "a row of more than 16 mebibytes",
        };
        Err(TooLong {
            line: self.line,
            value: self.value,
            problem,
        })
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        for byte in buffer.iter().take(length) {
            self.step(*byte).map_err(io::Error::other)?;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Option<TooLong> {
        let mut all = Vec::new();
        let failed = Bounded::new(text).read_to_end(&mut all).err()?;
        failed.get_ref().unwrap().downcast_ref().copied()
    }

    #[test]
    fn a_value_that_is_too_long_is_named_by_line_and_number() {
        let long = "x".repeat(MAX_VALUE + 1);
        let place = |text: String| read(text.as_bytes()).map(|found| (found.line, found.value));
        assert_eq!(place(format!("id,name\n1,{long}\n")), Some((2, 2)));
        assert_eq!(place(format!("id,name\n1,\"a\"\"b,\n{long}\n")), Some((3, 2)));
        assert_eq!(place("1,2\n".repeat(MAX_VALUE)), None);
        let row = format!("{},", "x".repeat(MAX_VALUE - 1));
        assert_eq!(place(format!("{row}{row}\n{row}")), None);
        assert_eq!(place(row.repeat(17)), Some((1, 17)));
    }

    proptest! {
        #[test]
        fn values_are_told_apart_as_the_csv_reader_does(text in "[ab\",\n\r]{0,60}") {
            let mut bounded = Bounded::new(text.as_bytes());
            let mut longest = 0;
            for byte in text.bytes() {
                bounded.step(byte).unwrap();
                longest = longest.max(bounded.value);
            }
            let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_bytes());
            let widest = reader.byte_records().map(|record| record.unwrap().len()).max();
            prop_assert_eq!(longest.max(1), widest.unwrap_or(1).max(1));
        }
    }
}
