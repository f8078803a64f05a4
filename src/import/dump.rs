//! Rows of one table from an SQL dump: `INSERT … VALUES` of `mysqldump` and `pg_dump`, `COPY … FROM
//! stdin` of `pg_dump`.
//!
//! The reader holds one row at a time, never a statement (`mysqldump` writes megabytes into one). It takes literals
//! only: where a dump has anything else in a value, it stops and says so.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use super::ImportError;
#[cfg(test)]
use super::lexer::Dialect;
use super::lexer::Lexer;
use super::literal::Value;
use super::table::Row;

/// The most columns of a table.
const MAX_COLUMNS: usize = 1000;

/// Reads the rows of one table.
pub(super) struct Dump<R> {
    lexer: Lexer<R>,
    table: String,
    /// Column names from `CREATE TABLE`, which an `INSERT` may leave out.
    created: HashMap<String, Arc<[String]>>,
    state: State,
    rows: u64,
}

enum State {
    Between,
    Values(Arc<[String]>),
    Copy(Arc<[String]>),
}

impl<R: Read> Dump<R> {
    pub(super) fn new(input: R, table: &str) -> Result<Self, ImportError> {
        Ok(Self {
            lexer: Lexer::new(input)?,
            table: table.to_owned(),
            created: HashMap::new(),
            state: State::Between,
            rows: 0,
        })
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.lexer.offset()
    }

    /// The next row; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, ImportError> {
        loop {
            let (columns, values) = match &self.state {
                State::Between => {
                    if !self.statement()? {
                        return Ok(None);
                    }
                    continue;
                }
                State::Values(columns) => {
                    let columns = Arc::clone(columns);
                    (columns, self.tuple()?)
                }
                State::Copy(columns) => {
                    let columns = Arc::clone(columns);
                    (columns, self.lexer.copy_line()?)
                }
            };
            match values {
                Some(values) => {
                    self.rows += 1;
                    return Ok(Some(Row::new(self.rows, columns, values)));
                }
                None => self.state = State::Between,
            }
        }
    }

    /// Looks at one statement. False at the end of the file.
    fn statement(&mut self) -> Result<bool, ImportError> {
        let Some(word) = self.lexer.statement_word()? else {
            return Ok(false);
        };
        match word.as_str() {
            "CREATE" => self.create()?,
            "INSERT" | "REPLACE" => self.insert()?,
            "COPY" => self.copy()?,
            _ => self.lexer.skip_statement()?,
        }
        Ok(true)
    }

    fn create(&mut self) -> Result<(), ImportError> {
        let mut word = self.lexer.word()?;
        while matches!(word.as_str(), "TEMPORARY" | "UNLOGGED" | "GLOBAL" | "LOCAL") {
            word = self.lexer.word()?;
        }
        if word != "TABLE" {
            return self.lexer.skip_statement();
        }
        let mut name = self.lexer.name()?;
        while matches!(name.as_str(), "IF" | "NOT" | "EXISTS") {
            name = self.lexer.name()?;
        }
        if self.lexer.peek_token()? == Some(b'(') {
            let columns = self.lexer.column_definitions(MAX_COLUMNS)?;
            self.created.insert(name, columns.into());
        }
        self.lexer.skip_statement()
    }

    fn insert(&mut self) -> Result<(), ImportError> {
        let mut word = self.lexer.word()?;
        while word != "INTO" {
            if word.is_empty() {
                return Err(self.lexer.error("an INSERT without INTO"));
            }
            word = self.lexer.word()?;
        }
        let name = self.lexer.name()?;
        if name != self.table {
            return self.lexer.skip_statement();
        }
        let columns = self.columns(&name)?;
        let mut word = self.lexer.word()?;
        while matches!(word.as_str(), "OVERRIDING" | "SYSTEM" | "USER" | "VALUE") {
            word = self.lexer.word()?;
        }
        if word != "VALUES" {
            return Err(self
                .lexer
                .error("an INSERT that is not followed by VALUES: only literal rows are read"));
        }
        self.state = State::Values(columns);
        Ok(())
    }

    fn copy(&mut self) -> Result<(), ImportError> {
        let name = self.lexer.name()?;
        let wanted = name == self.table;
        let columns = if wanted {
            self.columns(&name)?
        } else {
            Vec::new().into()
        };
        if !self.lexer.rest_of_copy()? {
            return Err(self.lexer.error("a COPY that is not FROM stdin"));
        }
        if wanted {
            self.state = State::Copy(columns);
            return Ok(());
        }
        self.lexer.skip_copy()
    }

    fn columns(&mut self, table: &str) -> Result<Arc<[String]>, ImportError> {
        if self.lexer.peek_token()? == Some(b'(') {
            return Ok(self.lexer.column_list(MAX_COLUMNS)?.into());
        }
        self.created.get(table).cloned().ok_or_else(|| {
            self.lexer
                .error("an INSERT that names no columns, and no CREATE TABLE before it")
        })
    }

    /// The next tuple of VALUES; none at the statement's end.
    fn tuple(&mut self) -> Result<Option<Vec<Value>>, ImportError> {
        loop {
            match self.lexer.peek_token()? {
                Some(b'(') => return self.lexer.tuple(MAX_COLUMNS).map(Some),
                Some(b',') => self.lexer.bump()?,
                Some(_) => {
                    // `;`, or what comes before it: ON DUPLICATE KEY UPDATE, ON CONFLICT.
                    self.lexer.skip_statement()?;
                    return Ok(None);
                }
                None => return Err(self.lexer.error("the file ends within a statement")),
            }
        }
    }
}

impl<R> Dump<R> {
    /// What the dump was taken for.
    #[cfg(test)]
    fn dialect(&self) -> Dialect {
        self.lexer.dialect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MYSQL: &str = r"-- MySQL dump 10.13
/*!40101 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `oauth_clients`;
CREATE TABLE `oauth_clients` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(255) COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT 'x, (y',
  `secret` varchar(100) DEFAULT NULL,
  `revoked` tinyint(1) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `name_index` (`name`,`secret`)
) ENGINE=InnoDB;
LOCK TABLES `oauth_clients` WRITE;
INSERT INTO `other` VALUES (1,'INSERT INTO `oauth_clients` VALUES (9,\'no\',NULL,0);');
INSERT INTO `oauth_clients` VALUES (1,'It\'s; a \\ test\n',NULL,0),(2,'two '' quotes','s',1);
INSERT INTO `oauth_clients` (`name`,`id`) VALUES ('named',3) ON DUPLICATE KEY UPDATE `id`=`id`;
UNLOCK TABLES;
";

    const POSTGRES: &str = r#"--
-- PostgreSQL database dump
--
\restrict abc
SET standard_conforming_strings = on;
CREATE FUNCTION public.f() RETURNS text AS $_$ BEGIN; INSERT INTO oauth_clients VALUES (7); END $_$;
CREATE TABLE public.oauth_clients (
    id uuid NOT NULL,
    name character varying(255) DEFAULT 'a'::character varying,
    CONSTRAINT c CHECK ((id <> name))
);
COPY public.other (id) FROM stdin;
oauth_clients
\.

COPY public.oauth_clients (id, "name") FROM stdin;
1	It's\ta \\ test\n
2	\N
\.

INSERT INTO public.oauth_clients VALUES (3, 'back\slash '' quote');
INSERT INTO public.oauth_clients (name, id) VALUES (E'tab\there', 4), (NULL, true);
"#;

    fn rows(text: &str) -> Vec<(Option<String>, Option<String>)> {
        let mut dump = Dump::new(text.as_bytes(), "oauth_clients").unwrap();
        let mut found = Vec::new();
        while let Some(row) = dump.next().unwrap() {
            assert_eq!(row.malformed(), None);
            found.push((
                row.get("id").map(str::to_owned),
                row.get("name").map(str::to_owned),
            ));
        }
        found
    }

    fn pair(id: &str, name: &str) -> (Option<String>, Option<String>) {
        (Some(id.to_owned()), Some(name.to_owned()))
    }

    #[test]
    fn rows_of_mysqldump_are_read() {
        assert_eq!(
            rows(MYSQL),
            [
                pair("1", "It's; a \\ test\n"),
                pair("2", "two ' quotes"),
                pair("3", "named")
            ]
        );
        let dump = Dump::new(MYSQL.as_bytes(), "x").unwrap();
        assert_eq!(dump.dialect(), Dialect::MySql);
    }

    #[test]
    fn rows_of_pg_dump_are_read() {
        assert_eq!(
            rows(POSTGRES),
            [
                pair("1", "It's\ta \\ test\n"),
                (Some("2".to_owned()), None),
                pair("3", "back\\slash ' quote"),
                pair("4", "tab\there"),
                (Some("true".to_owned()), None),
            ]
        );
    }

    #[test]
    fn a_value_that_is_no_literal_is_refused() {
        for text in [
            "INSERT INTO oauth_clients (id) VALUES (now())",
            "INSERT INTO oauth_clients (id) SELECT 1;",
            "INSERT INTO oauth_clients VALUES (1);",
            "INSERT INTO oauth_clients (id) VALUES ('open",
        ] {
            let mut dump = Dump::new(text.as_bytes(), "oauth_clients").unwrap();
            assert!(dump.next().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..600_usize) {
            for mut text in [bytes.clone(), MYSQL.as_bytes().to_vec(), POSTGRES.as_bytes().to_vec()] {
                text.splice(cut.min(text.len()).., bytes.iter().copied());
                if let Ok(mut dump) = Dump::new(text.as_slice(), "oauth_clients") {
                    while let Ok(Some(_)) = dump.next() {}
                }
            }
        }
    }
}
