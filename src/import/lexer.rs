//! The words and names of SQL dumps, from a stream. What rows are made of is in `literal`.

use std::io::Read;

use super::{ImportError, MAX_VALUE};

const BUFFER: usize = 64 * 1024;

/// Whose spelling a dump is in: whether a backslash in a string escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// That of `MySQL` and `MariaDB`.
    MySql,
    /// Postgres, and anything that follows the standard.
    Postgres,
}

/// Reads a dump.
pub(super) struct Lexer<R> {
    input: R,
    buffer: Vec<u8>,
    pub(super) place: usize,
    before: u64,
    line: u64,
    pub(super) dialect: Dialect,
}

impl<R> Lexer<R> {
    pub(super) fn offset(&self) -> u64 {
        self.before + u64::try_from(self.place).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn error(&self, problem: &'static str) -> ImportError {
        ImportError::Dump {
            line: self.line,
            value: None,
            problem,
        }
    }
}

impl<R: Read> Lexer<R> {
    pub(super) fn new(input: R) -> Result<Self, ImportError> {
        let mut lexer = Self {
            input,
            buffer: Vec::new(),
            place: 0,
            before: 0,
            line: 1,
            dialect: Dialect::Postgres,
        };
        lexer.fill()?;
        let head = String::from_utf8_lossy(&lexer.buffer);
        if !head.contains("PostgreSQL database dump")
            && (head.contains("MySQL dump") || head.contains("MariaDB dump") || head.contains('`'))
        {
            lexer.dialect = Dialect::MySql;
        }
        Ok(lexer)
    }

    /// Keeps what has not been read, and reads more behind it. False at the end of the file.
    fn fill(&mut self) -> Result<bool, ImportError> {
        self.buffer.drain(..self.place);
        self.before += u64::try_from(self.place).unwrap_or_default();
        self.place = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + BUFFER, 0);
        let mut read = 0;
        loop {
            let free = self.buffer.get_mut(kept + read..).unwrap_or_default();
            match self.input.read(free) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ImportError::Read(error)),
            }
            if read >= BUFFER {
                break;
            }
        }
        self.buffer.truncate(kept + read);
        Ok(read > 0)
    }

    pub(super) fn peek_at(&mut self, ahead: usize) -> Result<Option<u8>, ImportError> {
        while self.place + ahead >= self.buffer.len() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.buffer.get(self.place + ahead).copied())
    }

    pub(super) fn peek(&mut self) -> Result<Option<u8>, ImportError> {
        match self.buffer.get(self.place) {
            Some(byte) => Ok(Some(*byte)),
            None => self.peek_at(0),
        }
    }

    fn read(&mut self) -> Result<Option<u8>, ImportError> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.place += 1;
            self.line += u64::from(byte == Some(b'\n'));
        }
        Ok(byte)
    }

    pub(super) fn bump(&mut self) -> Result<(), ImportError> {
        self.read().map(|_| ())
    }

    pub(super) fn need(&mut self) -> Result<u8, ImportError> {
        self.read()?
            .ok_or_else(|| self.error("the file ends within a statement"))
    }

    pub(super) fn skip_line(&mut self) -> Result<(), ImportError> {
        while self.read()?.is_some_and(|byte| byte != b'\n') {}
        Ok(())
    }

    /// The next byte that is neither white space nor in a comment.
    pub(super) fn peek_token(&mut self) -> Result<Option<u8>, ImportError> {
        loop {
            match (self.peek()?, self.peek_at(1)?) {
                (Some(byte), _) if byte.is_ascii_whitespace() => self.bump()?,
                (Some(b'-'), Some(b'-')) => self.skip_line()?,
                (Some(b'#'), _) if self.dialect == Dialect::MySql => self.skip_line()?,
                (Some(b'/'), Some(b'*')) => {
                    self.place += 2;
                    let mut last = 0;
                    loop {
                        let byte = self.need()?;
                        if last == b'*' && byte == b'/' {
                            break;
                        }
                        last = byte;
                    }
                }
                (byte, _) => return Ok(byte),
            }
        }
    }

    /// The first word of the next statement, in capitals; none at the end of the file. A line of psql's own
    /// commands is passed over.
    pub(super) fn statement_word(&mut self) -> Result<Option<String>, ImportError> {
        loop {
            match self.peek_token()? {
                None => return Ok(None),
                Some(b'\\') => self.skip_line()?,
                Some(b';') => self.bump()?,
                Some(_) => {
                    let word = self.word()?;
                    if word.is_empty() {
                        self.skip_statement()?;
                    } else {
                        return Ok(Some(word));
                    }
                }
            }
        }
    }

    /// A bare word in capitals; empty where something else comes.
    pub(super) fn word(&mut self) -> Result<String, ImportError> {
        self.peek_token()?;
        Ok(self.bare()?.to_ascii_uppercase())
    }

    pub(super) fn bare(&mut self) -> Result<String, ImportError> {
        let mut word = String::new();
        while let Some(byte) = self.peek()? {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'+' | b'-')) {
                break;
            }
            if word.len() >= 256 {
                return Err(self.error("a word that is too long"));
            }
            word.push(char::from(byte));
            self.place += 1;
        }
        Ok(word)
    }

    /// A table's name without its schema. Keywords come in capitals, as they are written.
    pub(super) fn name(&mut self) -> Result<String, ImportError> {
        self.peek_token()?;
        let mut last = self.identifier()?;
        // A quoted part may be followed by a point and another part; a bare one holds its points.
        while self.peek()? == Some(b'.') {
            self.bump()?;
            last = self.identifier()?;
        }
        Ok(last)
    }

    fn identifier(&mut self) -> Result<String, ImportError> {
        let Some(quote @ (b'`' | b'"')) = self.peek()? else {
            let word = self.bare()?;
            // `public."name"`: the bare part ends with the point.
            if word.ends_with('.') {
                return self.identifier();
            }
            return Ok(word.rsplit('.').next().unwrap_or_default().to_owned());
        };
        self.bump()?;
        let mut bytes = Vec::new();
        loop {
            let byte = self.need()?;
            if byte == quote {
                if self.peek()? != Some(quote) {
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
                self.bump()?;
            }
            self.push(&mut bytes, byte)?;
        }
    }

    pub(super) fn push(&self, bytes: &mut Vec<u8>, byte: u8) -> Result<(), ImportError> {
        if bytes.len() >= MAX_VALUE {
            return Err(self.error("a value of more than a mebibyte"));
        }
        bytes.push(byte);
        Ok(())
    }

    /// `(a, b, c)`.
    pub(super) fn column_list(&mut self, most: usize) -> Result<Vec<String>, ImportError> {
        self.bump()?;
        let mut columns = Vec::new();
        loop {
            columns.push(self.name()?);
            if columns.len() > most {
                return Err(self.error("too many columns"));
            }
            match self.peek_token()? {
                Some(b',') => self.bump()?,
                Some(b')') => {
                    self.bump()?;
                    return Ok(columns);
                }
                _ => return Err(self.error("a list of columns that is not one")),
            }
        }
    }

    /// The column names of `CREATE TABLE name (…`.
    pub(super) fn column_definitions(&mut self, most: usize) -> Result<Vec<String>, ImportError> {
        const NO_COLUMN: [&str; 10] = [
            "PRIMARY",
            "KEY",
            "UNIQUE",
            "CONSTRAINT",
            "INDEX",
            "FULLTEXT",
            "SPATIAL",
            "FOREIGN",
            "CHECK",
            "EXCLUDE",
        ];
        self.bump()?;
        let mut columns = Vec::new();
        loop {
            let quoted = matches!(self.peek_token()?, Some(b'`' | b'"'));
            let name = self.identifier()?;
            if quoted || !NO_COLUMN.contains(&name.to_ascii_uppercase().as_str()) {
                columns.push(name);
            }
            if columns.len() > most {
                return Err(self.error("too many columns"));
            }
            let mut depth = 0_u32;
            loop {
                match self.peek_token()? {
                    Some(b',') if depth == 0 => {
                        self.bump()?;
                        break;
                    }
                    Some(b')') if depth == 0 => {
                        self.bump()?;
                        return Ok(columns);
                    }
                    Some(b'(') => {
                        depth += 1;
                        self.bump()?;
                    }
                    Some(b')') => {
                        depth = depth.saturating_sub(1);
                        self.bump()?;
                    }
                    Some(_) => self.skip_token()?,
                    None => return Err(self.error("the file ends within CREATE TABLE")),
                }
            }
        }
    }

    /// Passes over one string, quoted name, dollar-quoted body or single byte.
    fn skip_token(&mut self) -> Result<(), ImportError> {
        match self.peek()? {
            Some(b'\'') => self.skip_string(false),
            Some(b'"') if self.dialect == Dialect::MySql => self.skip_string(false),
            Some(b'"' | b'`') => self.identifier().map(|_| ()),
            Some(b'$') => self.skip_dollar_quoted(),
            Some(b'E' | b'e') if self.peek_at(1)? == Some(b'\'') => {
                self.bump()?;
                self.skip_string(true)
            }
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => self.bare().map(|_| ()),
            _ => self.bump(),
        }
    }

    /// To the end of the statement.
    pub(super) fn skip_statement(&mut self) -> Result<(), ImportError> {
        while let Some(byte) = self.peek_token()? {
            if byte == b';' {
                return self.bump();
            }
            self.skip_token()?;
        }
        Ok(())
    }

    /// `$tag$ … $tag$`, which holds anything.
    fn skip_dollar_quoted(&mut self) -> Result<(), ImportError> {
        let mut tag = vec![self.need()?];
        while let Some(byte) = self.peek()? {
            let part = byte.is_ascii_alphanumeric() || byte == b'_';
            if !part && byte != b'$' || tag.len() > 64 {
                return Ok(());
            }
            self.bump()?;
            tag.push(byte);
            if byte == b'$' {
                break;
            }
        }
        let mut tail: std::collections::VecDeque<u8> = std::collections::VecDeque::new();
        loop {
            tail.push_back(self.need()?);
            if tail.len() > tag.len() {
                tail.pop_front();
            }
            if tail.iter().eq(tag.iter()) {
                return Ok(());
            }
        }
    }
}
