//! Brings the schema of the captured tables to the target, by `pg_dump`.
//!
//! What must stand before the rows is made in one transaction, together with the list of what is made after
//! them.

use std::collections::BTreeSet;
use std::ffi::OsString;

use stream_core::checkpoint::Checkpoint;
use stream_core::postgres::query::QueryError;
use stream_core::postgres::{ConnectOptions, SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::source::Inspected;
use stream_core::sql::{Ident, list};
use stream_core::{Error, ErrorKind};

use super::error::from_sql;
use super::finish::from_schema;
use super::schema::{Import, PgDump, Wanted, plan_import, run_pre_data};
use super::{ImportOptions, Shared, at_target};

pub(super) async fn run(
    shared: &Shared,
    options: &ImportOptions,
    source: &Inspected,
    missing: &[TableName],
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let mut client = SqlClient::connect(&shared.options.target).await.map_err(at_target)?;
    let mut import =
        plan(&shared.options.source, options, &client, source, missing, checkpoint).await?;
    say(&import);

    let doing = "import the schema";
    let transaction = client.transaction().await.map_err(|error| from_sql(doing, &error))?;
    transaction
        .batch_execute(&shared.ownership.assert_sql())
        .await
        .map_err(|error| from_sql(doing, &error))?;
    let mut warnings = run_pre_data(&transaction, &import).await.map_err(from_schema)?;
    warnings.extend(leave_out_columns(&transaction, source, &mut import).await?);
    remember(shared, &transaction, &import).await?;
    transaction.commit().await.map_err(|error| from_sql(doing, &error))?;
    client.close().await;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// What an import into the target of `client` would be. Changes nothing.
pub(super) async fn plan(
    from: &ConnectOptions,
    options: &ImportOptions,
    client: &SqlClient,
    source: &Inspected,
    missing: &[TableName],
    checkpoint: &Checkpoint,
) -> Result<Import, Error> {
    let source_client = SqlClient::connect(from)
        .await
        .map_err(|error| problem::from_connect(error).context("source"))?;
    let server_major = source_client.server_version_num() / 10_000;
    check_readable(&source_client, &from.user).await?;
    source_client.close().await;
    let pg_dump =
        PgDump::find(&options.program_directories, server_major).await.map_err(from_schema)?;
    tracing::info!(program = %pg_dump.path().display(), "reading the source's schema");

    let tables = source
        .tables
        .iter()
        .flat_map(|table| std::iter::once(&table.name).chain(&table.root))
        .chain(&source.partitioned)
        .chain(missing)
        .cloned()
        .collect();
    // Tables that are found later come alone: what was dropped at the target since does not come back.
    let everything = options.everything && checkpoint.tables.is_empty();
    let environment: Vec<(String, OsString)> = from.child_environment();
    plan_import(&pg_dump, &environment, client, &Wanted { tables, everything })
        .await
        .map_err(from_schema)
}

/// The tables of the source that `pg_dump` locks and that we may not read, and whether we may use their schemas.
const UNREADABLE: &str = "
SELECT n.nspname::text, c.relname::text, has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2";

/// The source's role may not read tables that `pg_dump` locks, captured or not. (Its exit code does not tell that from what passes by itself.)
///
/// Remedy: run the statement of the message at the source, or set `skipDdlImport: true` and create the captured tables yourself.
async fn check_readable(source: &SqlClient, role: &str) -> Result<(), Error> {
    let rows = source.query(UNREADABLE, &[]).await.map_err(|source| {
        problem::from_query(QueryError::Failed { what: "look for unreadable tables", source })
    })?;
    if rows.is_empty() {
        return Ok(());
    }
    let (mut schemas, mut tables) = (BTreeSet::new(), Vec::new());
    for row in &rows {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        if !row.get::<_, bool>(3) {
            tables.push(name.quoted());
        }
        if !row.get::<_, bool>(2) {
            schemas.insert(name.schema);
        }
    }
    let mut grants = Vec::new();
    if !schemas.is_empty() {
        let schemas = list(schemas.iter().map(|schema| Ident(schema)));
        grants.push(format!("GRANT USAGE ON SCHEMA {schemas} TO {}", Ident(role)));
    }
    if !tables.is_empty() {
        grants.push(format!("GRANT SELECT ON {} TO {}", list(tables), Ident(role)));
    }
    Err(Error::new(
        ErrorKind::Configuration,
        format!(
            "role `{role}` may not read {} table(s) of the source, and `pg_dump` needs all of them, captured or not, to \
             read the schema: run `{}` at the source, or set `skipDdlImport: true` and create the captured tables at \
             the target yourself",
            rows.len(),
            grants.join("; ")
        ),
    ))
}

/// Takes excluded columns out of the tables that the import has made, and what names such a column out of
/// what is made later. Answers with what was left out.
async fn leave_out_columns(
    transaction: &tokio_postgres::Transaction<'_>,
    source: &Inspected,
    import: &mut Import,
) -> Result<Vec<String>, Error> {
    let made: Vec<_> = import.pre_data.iter().filter_map(|made| made.table.clone()).collect();
    let mut warnings = Vec::new();
    for table in source.tables.iter().filter(|table| !table.left_out.is_empty()) {
        for name in std::iter::once(&table.name).chain(&table.root) {
            if !made.contains(name) {
                continue;
            }
            let columns = drop_columns(transaction, name, &table.left_out).await?;
            import.post_data.retain(|statement| {
                let named = columns.iter().find(|column| names_column(&statement.sql, column));
                let lost = named.filter(|_| statement.table.as_ref() == Some(name));
                warnings.extend(lost.map(|column| {
                    format!(
                        "not imported, because it names the excluded column `{column}`: {}",
                        statement.sql
                    )
                }));
                lost.is_none()
            });
        }
    }
    Ok(warnings)
}

/// Drops those of `columns` that the table has by itself; a generated one stays.
async fn drop_columns(
    transaction: &tokio_postgres::Transaction<'_>,
    table: &TableName,
    columns: &[String],
) -> Result<Vec<String>, Error> {
    let failed = |error| from_sql("leave out excluded columns", &error);
    let rows = transaction
        .query(
            "SELECT attname, attinhcount > 0 FROM pg_catalog.pg_attribute WHERE attrelid = $1::text::regclass \
             AND attname = ANY ($2) AND attgenerated = '' AND NOT attisdropped",
            &[&table.quoted(), &columns],
        )
        .await
        .map_err(failed)?;
    let mut dropped = Vec::new();
    for row in rows {
        let column: String = row.get(0);
        // One that a partition has from its root goes with the root's.
        if !row.get::<_, bool>(1) {
            let sql =
                format!("ALTER TABLE {} DROP COLUMN {} CASCADE", table.quoted(), Ident(&column));
            transaction.batch_execute(&sql).await.map_err(failed)?;
        }
        dropped.push(column);
    }
    Ok(dropped)
}

/// Whether a statement names a column: as a word of its own, or quoted.
fn names_column(sql: &str, column: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    sql.match_indices(column).any(|(at, _)| {
        let before = sql.get(..at).and_then(|text| text.chars().next_back());
        let after = sql.get(at + column.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Keeps the list of what is made after the rows, behind what is on it from before.
async fn remember(
    shared: &Shared,
    transaction: &tokio_postgres::Transaction<'_>,
    import: &Import,
) -> Result<(), Error> {
    let doing = "keep the list of what is pending";
    let stream = &shared.ownership.stream;
    let row = transaction
        .query_one("SELECT coalesce(max(id), 0) FROM sgstream.pending WHERE stream = $1", &[stream])
        .await
        .map_err(|error| from_sql(doing, &error))?;
    let before: i32 = row.get(0);
    let before = u32::try_from(before).map_err(|error| Error::new(ErrorKind::Permanent, error))?;
    for statement in &import.post_data {
        let mut statement = statement.clone();
        statement.id += before;
        statement.after.iter_mut().for_each(|id| *id += before);
        let id =
            i32::try_from(statement.id).map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        let text = serde_json::to_string(&statement)
            .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        transaction
            .execute("INSERT INTO sgstream.pending VALUES ($1, $2, $3)", &[stream, &id, &text])
            .await
            .map_err(|error| from_sql(doing, &error))?;
    }
    Ok(())
}

fn say(import: &Import) {
    for warning in &import.warnings {
        tracing::warn!("{warning}");
    }
    for left_out in &import.left_out {
        let statement = left_out.statement.as_deref().unwrap_or_default();
        tracing::warn!(
            kind = left_out.kind,
            name = left_out.name,
            reason = left_out.reason,
            statement,
            "not imported"
        );
    }
}
