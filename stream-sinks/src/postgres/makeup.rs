//! Whether composite types and ranges are made of the same at both ends: their values tell nothing of it, and a part that is rounded, or that stands
//! in another place, is changed without a word.

use std::collections::BTreeMap;

use stream_core::Error;
use stream_core::postgres::query::QueryError;
use stream_core::postgres::{ConnectOptions, SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::source::Inspected;
use stream_core::sql::Literal;
use stream_core::types::{TypeKind, Types};

use super::error::from_sql;
use super::fit::{Base, FIRST_OWN_TYPE};
use super::tables::Tables;

/// What the types `$1` are made of in the end, in order: the way to each part, and its type.
const PARTS: &str = "
WITH RECURSIVE part AS (
    SELECT t.oid AS whole, t.oid, -1 AS modifier, false AS is_array, ''::text COLLATE \"C\" AS way, ARRAY[]::int[] AS place
    FROM unnest($1::oid[]) AS t (oid)
    UNION ALL
    SELECT part.whole, next.oid, next.modifier, next.is_array, part.way || next.step, part.place || next.place
    FROM part JOIN pg_type p ON p.oid = part.oid CROSS JOIN LATERAL (
        SELECT p.typbasetype AS oid, p.typtypmod AS modifier, part.is_array, ''::text AS step, 0 AS place WHERE p.typtype = 'd'
        UNION ALL
        SELECT p.typelem, part.modifier, true, '[]', 0 WHERE p.typtype <> 'd' AND p.typcategory = 'A' AND p.typelem <> 0 AND p.typlen = -1
        UNION ALL
        SELECT r.rngsubtype, -1, part.is_array, '', 0 FROM pg_range r WHERE p.typtype = 'r' AND r.rngtypid = p.oid
        UNION ALL
        SELECT r.rngtypid, -1, part.is_array, '', 0 FROM pg_range r WHERE p.typtype = 'm' AND r.rngmultitypid = p.oid
        UNION ALL
        SELECT a.atttypid, a.atttypmod, false, '.' || a.attname::text COLLATE \"C\", a.attnum::int
        FROM pg_attribute a WHERE p.typtype = 'c' AND a.attrelid = p.typrelid AND a.attnum > 0 AND NOT a.attisdropped) next)
SELECT part.whole, part.way, part.oid, part.modifier, part.is_array, p.typname::text
FROM part JOIN pg_type p ON p.oid = part.oid
WHERE p.typtype NOT IN ('d', 'r', 'm', 'c') AND NOT (p.typcategory = 'A' AND p.typelem <> 0 AND p.typlen = -1)
ORDER BY part.whole, part.place";

/// A part of a type: the way to it, and what it is.
type Part = (String, Base);

/// Columns of composite types and ranges of a user that are made of something else at the target.
pub(super) async fn problems(
    client: &SqlClient,
    source: &ConnectOptions,
    inspected: &Inspected,
    tables: &Tables,
) -> Result<Vec<String>, Error> {
    let mut columns = Vec::new();
    for table in &inspected.tables {
        let Some(place) = tables.place(&table.name) else { continue };
        for column in &table.columns {
            let target = place.column(&column.name).map(|target| target.base.oid);
            let own = own_made(&inspected.types, column.type_oid);
            if let (Some(own), Some(target)) = (own, target) {
                columns.push((&table.name, column, own, target));
            }
        }
    }
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let session = SqlClient::connect(source).await;
    let session = session.map_err(|error| problem::from_connect(error).context("source"))?;
    let there = parts(&session, columns.iter().map(|column| column.2).collect()).await;
    let there = there.map_err(|source| {
        problem::from_query(QueryError::Failed { what: "look what types are made of", source })
    })?;
    session.close().await;
    let here = parts(client, columns.iter().map(|column| column.3).collect()).await;
    let here = here.map_err(|error| from_sql("look what types are made of", &error))?;
    let differing = columns.iter().filter(|(_, _, own, target)| {
        let none = Vec::new();
        !keep(there.get(own).unwrap_or(&none), here.get(target).unwrap_or(&none))
    });
    Ok(differing
        .map(|(table, column, ..)| made_of_other(table, &column.name, &column.declared_type))
        .collect())
}

/// The composite type or range of a user that a column's values, or the elements of its arrays, are.
pub(super) fn own_made(types: &Types, oid: u32) -> Option<u32> {
    let base = Base::at_source(types, oid, -1)?;
    let kind = types.get(base.oid)?.kind;
    let is_made = matches!(kind, TypeKind::Composite | TypeKind::Range | TypeKind::Multirange);
    is_made.then_some(base.oid)
}

async fn parts(
    client: &SqlClient,
    types: Vec<u32>,
) -> Result<BTreeMap<u32, Vec<Part>>, tokio_postgres::Error> {
    let rows = client.query(PARTS, &[&types]).await?;
    let mut parts: BTreeMap<u32, Vec<Part>> = BTreeMap::new();
    for row in rows {
        let oid = row.get(2);
        let name = if oid >= FIRST_OWN_TYPE { row.get(5) } else { String::new() };
        let base = Base { oid, modifier: row.get(3), is_array: row.get(4), name };
        parts.entry(row.get(0)).or_default().push((row.get(1), base));
    }
    Ok(parts)
}

/// Whether values made of `source` are the same when they are made of `target`.
fn keep(source: &[Part], target: &[Part]) -> bool {
    source.len() == target.len()
        && source
            .iter()
            .zip(target)
            .all(|(source, target)| source.0 == target.0 && !source.1.changes_in(&target.1))
}

/// A composite type or a range of the same name is made of something else at the target: of other attributes, or in another order, or of types that
/// round or cut off.
///
/// Remedy: give the target's type the source's definition (`ALTER TYPE … ALTER ATTRIBUTE`, or made anew while no column has it). Or exclude the column.
fn made_of_other(table: &TableName, column: &str, declared_type: &str) -> String {
    format!(
        "column `{column}` of `{table}` has type `{declared_type}` at both ends, but at the target that is made of something else, which would change \
         the source's values without a word: compare `SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_type ON typrelid = \
         attrelid WHERE pg_type.oid = {}::regtype` at both ends (for a range: `\\dT+` of psql) and make the type at the target as it is at the source, \
         or exclude `{table}.{column}`",
        Literal(declared_type)
    )
}
