//! Sequences, which the log does not show: set to the source's values when the stream is complete.

use stream_core::Error;
use stream_core::postgres::{SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::sql::{Ident, Literal};

use super::Shared;
use super::error::from_sql;
use super::tables::Tables;

/// Every sequence of a user, with the table whose column owns it.
const SEQUENCES: &str = "
SELECT n.nspname, c.relname, tn.nspname, t.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
LEFT JOIN pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'sgstream')";

/// Gives the target's sequences the source's values: those of captured tables, and those of no table.
pub(super) async fn synchronise(shared: &Shared, tables: &Tables) -> Result<(), Error> {
    let source = SqlClient::connect(&shared.options.source)
        .await
        .map_err(|error| problem::from_connect(error).context("source"))?;
    let failed = |error| from_sql("read the source's sequences", &error);
    let mut count = 0_u32;
    for row in source.query(SEQUENCES, &[]).await.map_err(failed)? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let owner = row
            .get::<_, Option<String>>(2)
            .zip(row.get::<_, Option<String>>(3))
            .map(|(schema, table)| TableName::new(schema, table));
        if owner.is_some_and(|owner| !tables.has(&owner)) {
            continue;
        }
        let sql = format!("SELECT last_value, is_called FROM {}", name.quoted());
        let value = match source.query_one(&sql, &[]).await {
            Ok(row) => row,
            Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {
                tracing::warn!(
                    sequence = %name,
                    "the source role may not read a sequence: run `GRANT SELECT ON SEQUENCE … TO …` there, or \
                     set its value at the target by hand"
                );
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        count += u32::from(set(shared, &name, value.get(0), value.get(1)).await?);
    }
    source.close().await;
    tracing::info!(count, "sequences have the source's values");
    Ok(())
}

/// Sets a sequence of the target; `false` when there is none of that name.
async fn set(
    shared: &Shared,
    name: &TableName,
    last_value: i64,
    is_called: bool,
) -> Result<bool, Error> {
    let quoted = format!("{}.{}", Ident(&name.schema), Ident(&name.name));
    let sql = format!("SELECT setval(to_regclass({}), $1, $2) IS NOT NULL", Literal(&quoted));
    let row = shared
        .client
        .query_one(&sql, &[&last_value, &is_called])
        .await
        .map_err(|error| from_sql(&format!("set sequence `{name}`"), &error))?;
    Ok(row.get(0))
}
