//! Whether what is written at the target is there after a crash of it: the position is.

use stream_core::Error;
use stream_core::postgres::SqlClient;
use stream_core::relation::TableName;

use super::error::from_sql;
use super::tables::Tables;

/// Those of the tables `$1` and of their partitions that a crash of the server empties.
const UNLOGGED: &str = "
SELECT DISTINCT n.nspname::text, c.relname::text
FROM unnest($1::text[]::regclass[]) AS place (oid)
CROSS JOIN LATERAL (SELECT place.oid UNION SELECT relid FROM pg_partition_tree(place.oid)) AS part (oid)
JOIN pg_class c ON c.oid = part.oid AND c.relkind = 'r' AND c.relpersistence = 'u'
JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2";

/// Tables of the target that get the stream's rows are unlogged. A crash of that server empties them, and the stream, whose position is not lost,
/// would not copy the rows again.
///
/// Message: the target would lose the rows of `<tables>` in a crash: they are UNLOGGED there; run `ALTER TABLE <table> SET LOGGED` there
///
/// Remedy: run the statements of the message. If the target has crashed since the stream wrote to them, have the tables copied again, too.
pub(super) async fn unlogged(client: &SqlClient, tables: &Tables) -> Result<Option<String>, Error> {
    let places: Vec<String> = tables.places().iter().map(TableName::quoted).collect();
    let rows = client
        .query(UNLOGGED, &[&places])
        .await
        .map_err(|error| from_sql("look for unlogged tables", &error))?;
    let found: Vec<_> = rows
        .iter()
        .map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)))
        .collect();
    if found.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = found.iter().map(|name| format!("`{name}`")).collect();
    let statements: Vec<_> =
        found.iter().map(|name| format!("ALTER TABLE {} SET LOGGED", name.quoted())).collect();
    Ok(Some(format!(
        "the target would lose the rows of {} in a crash: {} UNLOGGED there; run `{}` there",
        names.join(", "),
        if names.len() == 1 { "it is" } else { "they are" },
        statements.join("; ")
    )))
}
