//! As-of tables: all projections as they stood at a position, in a schema of their own that can be queried beside
//! the live ones.
//!
//! They are built as a rebuild builds them, from the ledger alone, and stay as they are. Personal data shows as long as
//! the subject's key exists: who was erased since is erased here too.

use sqlx::{Connection, PgConnection, PgPool};

use super::error::ProjectionError;
use super::rebuild::{Building, Progress};
use super::schema::Kind;
use super::{NAMES, install};
use crate::crypto::vault::Vault;
use crate::ledger::LANE;
use crate::ledger::migrate::is_undefined_table;

/// How the comment of a schema begins that a replay made.
const MARK: &str = "Grantlog as of position ";

/// A schema that a replay may write into: a plain name in lower case, none of Postgres's or Grantlog's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOfSchema(String);

/// Why a name cannot be that of a schema to replay into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a schema to replay into has 1 to 63 of a-z, 0-9 and _, begins with a letter, and is not public, grantlog, \
     information_schema or one that begins with pg_"
)]
pub struct BadSchemaName;

impl std::str::FromStr for AsOfSchema {
    type Err = BadSchemaName;

    fn from_str(text: &str) -> Result<Self, BadSchemaName> {
        let plain = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let taken = ["public", "grantlog", "information_schema"].contains(&text) || text.starts_with("pg_");
        if plain && !taken {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadSchemaName)
        }
    }
}

impl std::fmt::Display for AsOfSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a replay made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The last position whose event the tables show.
    pub position: i64,
    /// Events read.
    pub events: u64,
}

/// Folds all projections up to a position into a schema, which is created. One that is there is refused, unless a
/// replay made it and it is to be replaced.
pub async fn replay(
    pool: &PgPool,
    vault: &Vault,
    (into, replace): (&AsOfSchema, bool),
    position: i64,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Replayed, ProjectionError> {
    let mut building = Building::begin(pool, vault, &NAMES).await?;
    let made = async {
        // Before the work, not only after it.
        check(&mut building.connection, into, replace).await?;
        building.fill_telling(position, progress).await?;
        publish(&mut building, (into, replace), position).await
    };
    let made = made.await;
    let schemas = building.schemas();
    let events = building.events();
    building.discard(&schemas).await?;
    made?;
    // After the commit: who is erased from here on finds the schema and blanks it.
    blank_erased(pool, &into.0, 0).await?;
    Ok(Replayed { position, events })
}

/// Whether the schema is free, or may be replaced.
async fn check(
    connection: &mut PgConnection,
    into: &AsOfSchema,
    replace: bool,
) -> Result<(), ProjectionError> {
    let found: Option<Option<String>> = sqlx::query_scalar(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1",
    )
    .bind(&into.0)
    .fetch_optional(connection)
    .await?;
    match found {
        None => Ok(()),
        Some(Some(comment)) if replace && comment.starts_with(MARK) => Ok(()),
        Some(_) => Err(ProjectionError::SchemaExists(into.0.clone())),
    }
}

/// Moves the finished tables into the schema, under their public names, all at once.
async fn publish(
    building: &mut Building,
    (into, replace): (&AsOfSchema, bool),
    position: i64,
) -> Result<(), ProjectionError> {
    let mut transaction = building.connection.begin().await?;
    install::execute(&mut transaction, "SET LOCAL synchronous_commit = on").await?;
    check(&mut transaction, into, replace).await?;
    sqlx::query("SELECT grantlog.make_as_of_schema($1, $2, $3)")
        .bind(&into.0)
        .bind(replace)
        .bind(position)
        .execute(&mut *transaction)
        .await?;
    // Plain as it is, a name may be a word of SQL.
    let quoted = format!("\"{into}\"");
    for target in &building.targets {
        let (schema, table) = (target.projection.schema(), &target.table);
        let name = schema.name;
        for statement in [
            format!("ALTER TABLE public.{table} SET SCHEMA {quoted}"),
            format!("ALTER TABLE {quoted}.{table} RENAME TO {name}"),
        ] {
            install::execute(&mut transaction, &statement).await?;
        }
        let views = schema.statements(Kind::View, table).into_iter();
        for view in views.filter(|statement| statement.starts_with("CREATE")) {
            let view = view.replace("public.", &format!("{quoted}."));
            install::execute(&mut transaction, &view).await?;
        }
        // Whoever asks these tables gets good plans.
        install::execute(&mut transaction, &format!("ANALYZE {quoted}.{name}")).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The schemas that replays made and that are still there.
pub async fn as_of_schemas(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT n.nspname::text FROM pg_namespace AS n \
         JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'users' AND c.relkind = 'r' \
         WHERE starts_with(obj_description(n.oid, 'pg_namespace'), $1) ORDER BY 1",
    )
    .bind(MARK)
    .fetch_all(pool)
    .await
}

/// A replayed schema whose table of users could not be blanked, or looked into.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct NotBlanked {
    /// The schema.
    pub schema: String,
    /// What the database said.
    pub why: String,
}

/// Blanks what replayed tables show of those who were erased after a position. A schema that cannot be blanked, since it
/// is another role's, say, keeps none of the others from it.
pub async fn blank_all_erased(pool: &PgPool, after: i64) -> Result<Vec<NotBlanked>, sqlx::Error> {
    let mut not_blanked = Vec::new();
    for schema in as_of_schemas(pool).await? {
        let blanked = blank_erased(pool, &schema, after).await;
        not_blanked.extend(refused(schema, blanked.err()));
    }
    Ok(not_blanked)
}

/// Replayed schemas that show anybody in clear who was erased, and those that cannot be looked into.
pub async fn showing_erased(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    let mut showing = Vec::new();
    for schema in as_of_schemas(pool).await? {
        let shows: Result<bool, _> = sqlx::query_scalar(&format!(
            "SELECT EXISTS (SELECT FROM {} AS u JOIN grantlog.ledger_user AS e ON e.aggregate_id = u.subject \
             WHERE e.lane = $1 AND e.event_type = 'SubjectKeyDestroyed' AND {SHOWN})",
            users_of(&schema)
        ))
        .bind(LANE)
        .fetch_one(pool)
        .await;
        match shows {
            Ok(false) => {}
            Ok(true) => showing.push(schema),
            Err(error) => showing.extend(refused(schema, Some(error)).map(|refused| refused.schema)),
        }
    }
    Ok(showing)
}

/// What a row of users shows of somebody.
const SHOWN: &str = "num_nonnulls(u.username, u.name, u.email, u.password) > 0";

fn users_of(schema: &str) -> String {
    format!("\"{}\".users", schema.replace('"', "\"\""))
}

/// One that is dropped meanwhile shows nobody.
fn refused(schema: String, error: Option<sqlx::Error>) -> Option<NotBlanked> {
    let error = error.filter(|error| !is_undefined_table(error))?;
    let why = error.to_string();
    Some(NotBlanked { schema, why })
}

/// Blanks what a replayed table shows of those who were erased after a position.
async fn blank_erased(pool: &PgPool, schema: &str, after: i64) -> Result<(), sqlx::Error> {
    sqlx::query(&format!(
        "UPDATE {} AS u SET username = NULL, name = NULL, email = NULL, password = NULL \
         FROM grantlog.ledger_user AS e \
         WHERE e.lane = $1 AND e.position > $2 AND e.event_type = 'SubjectKeyDestroyed' \
           AND e.aggregate_id = u.subject AND {SHOWN}",
        users_of(schema)
    ))
    .bind(LANE)
    .bind(after)
    .execute(pool)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_to_replay_into_has_a_plain_name_that_is_not_taken() {
        for good in ["asof", "incident_2026_11_05", "a"] {
            assert!(good.parse::<AsOfSchema>().is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "Public",
            "public",
            "grantlog",
            "pg_x",
            "1a",
            "a-b",
            "a b",
            "a;b",
            "ä",
            "information_schema",
            &long,
        ] {
            assert_eq!(bad.parse::<AsOfSchema>(), Err(BadSchemaName), "{bad}");
        }
    }
}
