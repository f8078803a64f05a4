//! What a projection's files say: its table, its indexes, its version.

use crate::domain::value::Digest;

/// A projection's table.
#[derive(Debug)]
pub struct Schema {
    /// The public name, which is a view of the physical table.
    pub name: &'static str,
    /// `projections/<name>.sql`.
    pub sql: &'static str,
    /// To be raised when the fold changes what it makes of the same events.
    pub fold: u32,
    /// The table's columns, in order.
    pub columns: &'static [&'static str],
}

impl Schema {
    /// A digest of the SQL file and the fold's number: a changed file is a new version, whose table is built
    /// anew.
    #[must_use]
    pub fn version(&self) -> String {
        let mut digest = Digest::of(format!("{}\n{}", self.fold, self.sql).as_bytes()).to_string();
        digest.truncate(16);
        digest
    }

    /// The name of a physical table.
    pub(super) fn table(&self, generation: u32) -> String {
        format!("{}_{generation}", self.name)
    }

    /// The generation of a physical table, where it is one of this projection.
    pub(super) fn generation(&self, table: &str) -> Option<u32> {
        table.strip_prefix(self.name)?.strip_prefix('_')?.parse().ok()
    }

    /// The columns as a list in SQL.
    pub(super) fn column_list(&self) -> String {
        self.columns.join(", ")
    }

    /// The statements of one kind, for a physical table.
    pub(super) fn statements(&self, kind: Kind, table: &str) -> Vec<String> {
        let code: Vec<&str> = self
            .sql
            .lines()
            .map(|line| line.split_once("--").map_or(line, |(code, _)| code).trim_end())
            .filter(|line| !line.is_empty())
            .collect();
        code.join("\n")
            .split(';')
            .map(str::trim)
            .filter(|statement| !statement.is_empty() && Kind::of(statement) == kind)
            .map(|statement| statement.replace("{table}", table))
            .collect()
    }
}

/// What a statement of a projection's file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The bare table.
    Table,
    /// An index; they are built once the rows are in.
    Index,
    /// The primary key, over one of the indexes.
    Key,
    /// What follows the public name: a further view over it, who may read it.
    View,
}

impl Kind {
    fn of(statement: &str) -> Self {
        if statement.starts_with("CREATE INDEX") || statement.starts_with("CREATE UNIQUE INDEX") {
            Self::Index
        } else if statement.starts_with("ALTER TABLE") {
            Self::Key
        } else if statement.starts_with("CREATE OR REPLACE VIEW") || statement.starts_with("SELECT") {
            Self::View
        } else {
            Self::Table
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_one_table_and_one_key() {
        for projection in crate::projection::all() {
            let schema = projection.schema();
            assert_eq!(schema.statements(Kind::Table, "t").len(), 1, "{}", schema.name);
            assert_eq!(schema.statements(Kind::Key, "t").len(), 1, "{}", schema.name);
            assert!(schema.statements(Kind::Index, "t").len() >= 2, "{}", schema.name);
            assert_eq!(schema.generation(&schema.table(7)), Some(7));
        }
    }
}
