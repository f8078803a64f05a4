//! Rows by binary COPY (PostgreSQL manual, "COPY", binary format): without what the protocol and the driver cost for each
//! row of a query.

use std::future::poll_fn;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;

/// Postgres counts microseconds from 2000-01-01T00:00:00Z.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What the database sent is no such data.
#[derive(Debug, thiserror::Error)]
#[error("the database's answer cannot be read")]
pub(crate) struct Misshapen;

/// What a `COPY … TO STDOUT (FORMAT binary)` sends, all of it; about so many bytes.
pub(crate) async fn copy_out(
    connection: &mut PgConnection,
    statement: &str,
    about: usize,
) -> Result<Vec<u8>, sqlx::Error> {
    let mut stream = connection.copy_out_raw(statement).await?;
    let mut bytes = Vec::with_capacity(about);
    while let Some(chunk) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// Takes such data apart, field by field. None of ours is null.
pub(crate) struct CopiedRows<'a>(&'a [u8]);

impl<'a> CopiedRows<'a> {
    /// Reads what is before the rows.
    pub(crate) fn begin(bytes: &'a [u8]) -> Result<Self, Misshapen> {
        let mut rows = Self(bytes);
        rows.take(b"PGCOPY\n\xff\r\n\0".len() + 4)?;
        let extension = rows.int4()?;
        rows.take(usize::try_from(extension).map_err(|_| Misshapen)?)?;
        Ok(rows)
    }

    /// Goes on to the next row of so many fields; false at the end.
    pub(crate) fn next(&mut self, fields: i16) -> Result<bool, Misshapen> {
        match i16::from_be_bytes(self.bytes()?) {
            -1 => Ok(false),
            found if found == fields => Ok(true),
            _ => Err(Misshapen),
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Misshapen> {
        std::str::from_utf8(self.field()?).map_err(|_| Misshapen)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, Misshapen> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub(crate) fn bigint(&mut self) -> Result<i64, Misshapen> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn smallint(&mut self) -> Result<i16, Misshapen> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn moment(&mut self) -> Result<Timestamp, Misshapen> {
        let micros = self.bigint()?.saturating_add(POSTGRES_EPOCH_MICROS);
        Timestamp::from_timestamp_micros(micros).ok_or(Misshapen)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Misshapen> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Misshapen)?;
        self.0 = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Misshapen)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn int4(&mut self) -> Result<i32, Misshapen> {
        Ok(i32::from_be_bytes(self.bytes()?))
    }

    fn field(&mut self) -> Result<&'a [u8], Misshapen> {
        let len = usize::try_from(self.int4()?).map_err(|_| Misshapen)?;
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        self.field()?.try_into().map_err(|_| Misshapen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_and_nothing_else_is() {
        let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        data.extend(2_i16.to_be_bytes());
        data.extend(8_i32.to_be_bytes());
        data.extend((-1_i64).to_be_bytes());
        data.extend(2_i32.to_be_bytes());
        data.extend(b"ok");
        data.extend((-1_i16).to_be_bytes());
        let mut rows = CopiedRows::begin(&data).unwrap();
        assert!(rows.next(2).unwrap());
        let before_2000 = rows.moment().unwrap();
        assert_eq!(before_2000.to_rfc3339(), "1999-12-31T23:59:59.999999+00:00");
        assert_eq!(rows.text().unwrap(), "ok");
        assert!(!rows.next(2).unwrap());
        for cut in 0..data.len() {
            let whole = || -> Result<(), Misshapen> {
                let mut rows = CopiedRows::begin(data.get(..cut).ok_or(Misshapen)?)?;
                while rows.next(2)? {
                    rows.moment()?;
                    rows.text()?;
                }
                Ok(())
            };
            assert!(whole().is_err(), "cut at {cut}");
        }
        let mut rows = CopiedRows::begin(&data).unwrap();
        assert!(rows.next(3).is_err(), "a row of other columns");
    }
}
