//! The target's catalogue, as far as the stream's tables are in it.

use std::collections::{BTreeSet, HashMap};

use stream_core::Error;
use stream_core::postgres::SqlClient;
use stream_core::postgres::catalog::Generated;
use stream_core::relation::TableName;
use stream_core::sql::{Literal, list};
use stream_core::table::Identity;

use super::error::from_sql;
use super::fit::{Base, FIRST_OWN_TYPE};
use super::plan::{TargetColumn, TargetTable};

/// The columns of tables, each with what its type is in the end.
const COLUMNS: &str = "
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT n.nspname, c.relname, c.relkind::text, a.*
    FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
    JOIN pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
), part AS (
    SELECT t.oid AS whole, t.oid, NULL::int AS modifier, false AS is_array, 0 AS depth
    FROM pg_type t WHERE t.oid IN (SELECT atttypid FROM wanted)
    UNION ALL
    SELECT part.whole,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
           CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE part.modifier END,
           part.is_array OR t.typtype <> 'd', part.depth + 1
    FROM part JOIN pg_type t ON t.oid = part.oid
    WHERE t.typtype = 'd' OR t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1
), base AS (
    SELECT DISTINCT ON (whole) whole, oid, modifier, is_array FROM part ORDER BY whole, depth DESC
)
SELECT a.nspname, a.relname, a.relkind, a.attname, a.atttypid, a.atttypmod,
       format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod),
       t.typreceive <> 0,
       base.oid, coalesce(base.modifier, a.atttypmod), base.is_array, b.typname::text,
       CASE WHEN t.typcategory = 'A' THEN 0::oid ELSE t.typarray END,
       a.attgenerated::text,
       a.attidentity::text,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
       coalesce((
           SELECT 'OPERATOR(' || quote_ident(s.nspname) || '.' || o.oprname || ')'
           FROM pg_opclass oc
           JOIN pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree'
           JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
           JOIN pg_operator o ON o.oid = ao.amopopr
           JOIN pg_namespace s ON s.oid = o.oprnamespace
           WHERE oc.opcdefault AND oc.opcintype = coalesce(nullif(t.typbasetype, 0), t.oid)
           LIMIT 1), 'OPERATOR(pg_catalog.=)')
FROM wanted a
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN base ON base.whole = a.atttypid
LEFT JOIN pg_type b ON b.oid = base.oid
ORDER BY a.nspname, a.relname, a.attnum";

/// Keys that no two rows share at any moment: under a deferrable one they may, until their transaction ends.
const PRIMARY_KEYS: &str = "
SELECT n.nspname, c.relname, a.attname
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND NOT i.indisexclusion
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE k.position <= i.indnkeyatts
ORDER BY n.nspname, c.relname, k.position";

/// Triggers and rules that fire for a replica's changes too.
const WATCHERS: &str = "
SELECT n.nspname, c.relname, g.name
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN (
    SELECT tgrelid AS relation, tgname AS name FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('A', 'R')
    UNION ALL
    SELECT ev_class, rulename FROM pg_rewrite WHERE ev_enabled IN ('A', 'R')) g ON g.relation = c.oid";

/// Whether a trigger or a rule of the target sees every change. Named in the log.
pub(super) async fn are_watched(
    client: &SqlClient,
    names: &BTreeSet<TableName>,
) -> Result<bool, Error> {
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let rows = client
        .query(WATCHERS, &[&schemas, &tables])
        .await
        .map_err(|error| from_sql("read the triggers", &error))?;
    for row in &rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let trigger: &str = row.get(2);
        tracing::info!(%table, trigger, "the target's trigger or rule fires for the stream's changes");
    }
    Ok(!rows.is_empty())
}

/// Reads those of `names` that are at the target.
pub(super) async fn read(
    client: &SqlClient,
    names: &BTreeSet<TableName>,
) -> Result<HashMap<TableName, TargetTable>, Error> {
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let failed = |error| from_sql("read the catalogue", &error);
    let mut found: HashMap<TableName, TargetTable> = HashMap::new();
    for row in client.query(COLUMNS, &[&schemas, &tables]).await.map_err(failed)? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let table = found.entry(name.clone()).or_insert_with(|| TargetTable {
            name,
            columns: Vec::new(),
            primary_key: Vec::new(),
            partitioned: row.get::<_, &str>(2) == "p",
        });
        let Some(column) = row.get::<_, Option<String>>(3) else { continue };
        table.columns.push(TargetColumn {
            name: column,
            type_oid: row.get(4),
            type_modifier: row.get(5),
            type_name: row.get(6),
            declared_type: row.get(7),
            takes_binary: row.get(8),
            base: Base {
                oid: row.get(9),
                modifier: row.get(10),
                is_array: row.get(11),
                name: if row.get::<_, u32>(9) < FIRST_OWN_TYPE {
                    String::new()
                } else {
                    row.get(12)
                },
            },
            array_oid: row.get(13),
            generated: match row.get(14) {
                "" => None,
                "v" => Some(Generated::Virtual),
                _ => Some(Generated::Stored),
            },
            identity: match row.get(15) {
                "a" => Identity::Always,
                "d" => Identity::ByDefault,
                _ => Identity::None,
            },
            must_be_given: row.get(16),
            equality: row.get(17),
        });
    }
    for row in client.query(PRIMARY_KEYS, &[&schemas, &tables]).await.map_err(failed)? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        if let Some(table) = found.get_mut(&name) {
            table.primary_key.push(row.get(2));
        }
    }
    Ok(found)
}

/// Finds a row while `columns` of `table` have the names and types that are given; `None` without columns.
pub(super) fn unaltered_sql<'a>(
    table: &TableName,
    columns: impl Iterator<Item = &'a TargetColumn>,
) -> Option<String> {
    let columns: Vec<_> = columns.collect();
    (!columns.is_empty()).then(|| {
        format!(
            "SELECT FROM pg_catalog.pg_attribute a JOIN ROWS FROM (unnest(ARRAY[{}]::name[]), unnest(ARRAY[{}]::oid[]), unnest(ARRAY[{}]::int[])) \
             AS k (name, type, modifier) ON a.attname = k.name AND a.atttypid = k.type AND a.atttypmod = k.modifier \
             WHERE a.attrelid = to_regclass({}) AND NOT a.attisdropped HAVING count(*) = {}",
            list(columns.iter().map(|column| Literal(&column.name))),
            list(columns.iter().map(|column| column.type_oid)),
            list(columns.iter().map(|column| column.type_modifier)),
            Literal(&table.quoted()),
            columns.len()
        )
    })
}
