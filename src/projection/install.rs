//! Physical tables, and the views that give them their public names.

use sqlx::{Connection, Executor, PgConnection};

use super::error::ProjectionError;
use super::schema::{Kind, Schema};

/// Serialises what creates, swaps and drops projection tables. Held for a transaction here, and for its whole
/// length by a rebuild or verification ([`lock_session`]).
const LOCK: &str = "hashtext('grantlog.projections')";

/// Creates what is missing: the table, its indexes, the view and the cursor of each projection.
pub(super) async fn install(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let schemas: Vec<&'static Schema> = super::all()
        .iter()
        .map(|projection| projection.schema())
        .collect();
    let installed = readers(connection).await?;
    if schemas
        .iter()
        .all(|schema| installed.iter().any(|reader| reader == schema.name))
    {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    execute(
        &mut transaction,
        &format!("SELECT pg_advisory_xact_lock({LOCK}, 0)"),
    )
    .await?;
    let installed = readers(&mut transaction).await?;
    for schema in schemas {
        if installed.iter().any(|reader| reader == schema.name) {
            continue;
        }
        let table = create_table(&mut transaction, schema).await?;
        for kind in [Kind::Index, Kind::Key] {
            for statement in schema.statements(kind, &table) {
                execute(&mut transaction, &statement).await?;
            }
        }
        point_view(&mut transaction, schema, &table).await?;
        sqlx::query(
            "INSERT INTO grantlog.cursors (reader, position, version, table_name) VALUES ($1, 0, $2, $3)",
        )
        .bind(schema.name)
        .bind(schema.version())
        .bind(&table)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn readers(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT reader FROM grantlog.cursors")
        .fetch_all(connection)
        .await
}

/// Creates the bare table of the next generation and returns its name.
pub(super) async fn create_table(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<String, ProjectionError> {
    // Not the cursor's table either, though somebody dropped it: the runner would fold into the new one.
    let named: Option<String> =
        sqlx::query_scalar("SELECT table_name FROM grantlog.cursors WHERE reader = $1")
            .bind(schema.name)
            .fetch_optional(&mut *connection)
            .await?;
    let generation = tables(connection, schema)
        .await?
        .iter()
        .chain(&named)
        .filter_map(|table| schema.generation(table))
        .max()
        .unwrap_or(0)
        + 1;
    let table = schema.table(generation);
    for statement in schema.statements(Kind::Table, &table) {
        execute(connection, &statement).await?;
    }
    Ok(table)
}

/// The physical tables of a projection.
pub(super) async fn tables(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<Vec<String>, sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class \
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND starts_with(relname::text, $1)",
    )
    .bind(schema.name)
    .fetch_all(connection)
    .await?;
    Ok(tables
        .into_iter()
        .filter(|table| schema.generation(table).is_some())
        .collect())
}

/// Lets the public name show a table. Readers of the old one are not disturbed; columns that they may name stay
/// in place, or the view is made anew.
pub(super) async fn point_view(
    connection: &mut PgConnection,
    schema: &Schema,
    table: &str,
) -> Result<(), ProjectionError> {
    let (old, new) = (
        columns(connection, schema.name).await?,
        columns(connection, table).await?,
    );
    if !new.starts_with(&old) {
        execute(connection, &format!("DROP VIEW public.{} CASCADE", schema.name)).await?;
    }
    let (name, columns) = (schema.name, schema.column_list());
    let view = format!("CREATE OR REPLACE VIEW public.{name} AS SELECT {columns} FROM public.{table}");
    execute(connection, &view).await?;
    for statement in schema.statements(Kind::View, table) {
        execute(connection, &statement).await?;
    }
    Ok(())
}

/// The columns of a relation with their types, in order; none where it does not exist.
async fn columns(
    connection: &mut PgConnection,
    relation: &str,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, atttypmod) || ' ' || attcollation FROM pg_attribute \
         WHERE attrelid = to_regclass('public.' || $1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind(relation)
    .fetch_all(connection)
    .await
}

/// Drops the tables of these projections that no cursor names: what a rebuild that died left behind, and what
/// a finished one replaced.
pub(super) async fn drop_leftovers(
    connection: &mut PgConnection,
    schemas: &[&'static Schema],
) -> Result<(), ProjectionError> {
    let used: Vec<String> = sqlx::query_scalar("SELECT table_name FROM grantlog.cursors")
        .fetch_all(&mut *connection)
        .await?;
    for schema in schemas {
        for table in tables(connection, schema).await? {
            if !used.contains(&table) {
                execute(connection, &format!("DROP TABLE public.{table}")).await?;
            }
        }
    }
    Ok(())
}

/// One rebuild or verification at a time in a database; it ends with [`unlock_session`], or with the connection.
pub(super) async fn lock_session(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let free: bool = sqlx::query_scalar(&format!("SELECT pg_try_advisory_lock({LOCK}, 1)"))
        .fetch_one(connection)
        .await?;
    if free { Ok(()) } else { Err(ProjectionError::Busy) }
}

/// Lets the next rebuild or verification in. A connection that is only closed holds its locks until the server
/// has noticed.
pub(super) async fn unlock_session(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    Ok(execute(connection, &format!("SELECT pg_advisory_unlock({LOCK}, 1)")).await?)
}

/// Runs a statement that takes nothing and gives nothing.
pub(super) async fn execute(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    connection.execute(statement).await.map(|_| ())
}
