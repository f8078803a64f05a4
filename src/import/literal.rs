//! The literals of SQL dumps: strings, numbers, tuples, and the lines of COPY.

use std::io::Read;

use super::ImportError;
use super::lexer::{Dialect, Lexer};

/// A value of a row: bytes, or null.
pub(super) type Value = Option<Vec<u8>>;

impl<R: Read> Lexer<R> {
    /// A quoted string.
    pub(super) fn string(&mut self, escapes: bool) -> Result<Vec<u8>, ImportError> {
        let mut bytes = Vec::new();
        self.quoted(escapes, Some(&mut bytes))?;
        Ok(bytes)
    }

    /// Passes over a quoted string, however long.
    pub(super) fn skip_string(&mut self, escapes: bool) -> Result<(), ImportError> {
        self.quoted(escapes, None)
    }

    fn quoted(&mut self, escapes: bool, mut bytes: Option<&mut Vec<u8>>) -> Result<(), ImportError> {
        let escapes = escapes || self.dialect == Dialect::MySql;
        let quote = self.need()?;
        loop {
            let byte = match self.need()? {
                byte if byte == quote => {
                    if self.peek()? != Some(quote) {
                        return Ok(());
                    }
                    self.bump()?;
                    quote
                }
                b'\\' if escapes => unescape(self.need()?),
                byte => byte,
            };
            if let Some(bytes) = bytes.as_deref_mut() {
                self.push(bytes, byte)?;
            }
        }
    }

    /// `(value, value, …)`.
    pub(super) fn tuple(&mut self, most: usize) -> Result<Vec<Value>, ImportError> {
        self.bump()?;
        let mut values = Vec::new();
        loop {
            let value = self.value().map_err(|error| error.in_value(values.len() + 1))?;
            values.push(value);
            if values.len() > most {
                return Err(self.error("too many values"));
            }
            self.skip_cast()?;
            match self.peek_token()? {
                Some(b',') => self.bump()?,
                Some(b')') => {
                    self.bump()?;
                    return Ok(values);
                }
                _ => return Err(self.error("a value that is no literal")),
            }
        }
    }

    /// `::type` behind a literal.
    fn skip_cast(&mut self) -> Result<(), ImportError> {
        while self.peek_token()? == Some(b':') && self.peek_at(1)? == Some(b':') {
            self.place += 2;
            while self
                .peek()?
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b' ' | b'.' | b'"'))
            {
                self.bump()?;
            }
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value, ImportError> {
        match self.peek_token()? {
            Some(b'\'') => return self.string(false).map(Some),
            Some(b'"') if self.dialect == Dialect::MySql => return self.string(false).map(Some),
            _ => {}
        }
        let word = self.bare()?;
        // `_binary 'x'` has a space between.
        let next = if word.starts_with('_') {
            self.peek_token()?
        } else {
            self.peek()?
        };
        match (word.to_ascii_uppercase().as_str(), next) {
            ("", _) => Err(self.error("a value that is no literal")),
            ("NULL", _) => Ok(None),
            ("E", Some(b'\'')) => self.string(true).map(Some),
            ("N" | "B", Some(b'\'')) => self.string(false).map(Some),
            ("X", Some(b'\'')) => {
                let digits = self.string(false)?;
                self.hexadecimal(&digits).map(Some)
            }
            (_, Some(b'\'')) if word.starts_with('_') => self.string(false).map(Some),
            (upper, _) if upper.starts_with("0X") => self
                .hexadecimal(word.as_bytes().get(2..).unwrap_or_default())
                .map(Some),
            ("TRUE" | "FALSE", _) => Ok(Some(word.into_bytes())),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {
                Ok(Some(word.into_bytes()))
            }
            _ => Err(self.error("a value that is no literal")),
        }
    }

    fn hexadecimal(&self, digits: &[u8]) -> Result<Vec<u8>, ImportError> {
        let value = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|nibble| u8::try_from(nibble).ok())
        };
        digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(value(*high)? << 4 | value(*low)?),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| self.error("a broken hexadecimal literal"))
    }

    /// The rest of `COPY … FROM stdin …;` and its line. False where it is from elsewhere.
    pub(super) fn rest_of_copy(&mut self) -> Result<bool, ImportError> {
        if self.peek_token()? == Some(b'(') {
            self.column_list(usize::MAX)?;
        }
        let from = self.word()?;
        let stdin = self.word()?;
        self.skip_line()?;
        Ok(from == "FROM" && stdin == "STDIN")
    }

    /// The fields of a line of COPY's text format; none at its end.
    pub(super) fn copy_line(&mut self) -> Result<Option<Vec<Value>>, ImportError> {
        if self.peek()? == Some(b'\\') && self.peek_at(1)? == Some(b'.') {
            self.skip_line()?;
            return Ok(None);
        }
        let mut values = Vec::new();
        loop {
            let field = self.copy_field();
            let (value, ended) = field.map_err(|error| error.in_value(values.len() + 1))?;
            values.push(value);
            if ended {
                return Ok(Some(values));
            }
            if values.len() > 10_000 {
                return Err(self.error("too many fields"));
            }
        }
    }

    fn copy_field(&mut self) -> Result<(Value, bool), ImportError> {
        let mut bytes = Vec::new();
        let mut null = false;
        loop {
            match self.need()? {
                b'\t' => return Ok(((!null).then_some(bytes), false)),
                b'\n' => return Ok(((!null).then_some(bytes), true)),
                b'\r' if self.peek()? == Some(b'\n') => {}
                b'\\' => match self.need()? {
                    b'N' if bytes.is_empty() => null = true,
                    escaped => {
                        let byte = unescape(escaped);
                        self.push(&mut bytes, byte)?;
                    }
                },
                byte => self.push(&mut bytes, byte)?,
            }
        }
    }

    pub(super) fn skip_copy(&mut self) -> Result<(), ImportError> {
        loop {
            if self.peek()? == Some(b'\\') && self.peek_at(1)? == Some(b'.') || self.peek()?.is_none() {
                return self.skip_line();
            }
            self.skip_line()?;
        }
    }
}

/// What follows a backslash in `MySQL`'s strings, Postgres's E-strings and COPY.
fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'0' => 0,
        b'Z' => 26,
        other => other,
    }
}
