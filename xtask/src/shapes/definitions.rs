//! What two catalogues say of the same tables.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use stream_core::postgres::{ConnectOptions, SqlClient};

use crate::compare::Difference;

/// Columns, constraints, indexes, bounds and policies, a line for each; as every version words them.
const DEFINITIONS: &str = "
WITH tables AS (
    SELECT n.nspname::text AS schema, c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relpersistence = 'p' AND n.nspname !~ '^(pg_|information_schema$|sgstream$)'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
SELECT t.schema, concat_ws(' ', 'column', a.attrelid::regclass, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
       a.attgenerated, pg_get_expr(d.adbin, d.adrelid), nullif(a.attcollation, 0)::regcollation)
  FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
 WHERE t.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT t.schema, concat_ws(' ', 'constraint', conrelid::regclass, quote_ident(conname), pg_get_constraintdef(o.oid), convalidated)
  FROM tables t JOIN pg_constraint o ON o.conrelid = t.oid WHERE contype <> 'n'
UNION ALL
SELECT t.schema, concat_ws(' ', 'index', pg_get_indexdef(t.oid), i.indisvalid, i.indisreplident)
  FROM tables t JOIN pg_index i ON i.indexrelid = t.oid
UNION ALL
SELECT t.schema, concat_ws(' ', 'trigger', tgrelid::regclass, tgname, tgenabled) FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid WHERE NOT tgisinternal
UNION ALL
SELECT t.schema, concat_ws(' ', 'partition', i.inhrelid::regclass, i.inhparent::regclass, pg_get_expr(t.relpartbound, t.oid))
  FROM tables t JOIN pg_inherits i ON i.inhrelid = t.oid
UNION ALL
SELECT t.schema, concat_ws(' ', 'policy', polrelid::regclass, polname, pg_get_expr(polqual, polrelid)) FROM tables t JOIN pg_policy p ON p.polrelid = t.oid";

/// All that is not defined the same.
pub(super) async fn differences(
    source: &ConnectOptions,
    target: &ConnectOptions,
) -> Result<Vec<Difference>> {
    let (here, there) = tokio::try_join!(read(source), read(target))?;
    let schemas: BTreeSet<_> = here.keys().chain(there.keys()).collect();
    let mut found = Vec::new();
    for schema in schemas {
        let none = BTreeSet::new();
        let here = here.get(schema).unwrap_or(&none);
        let there = there.get(schema).unwrap_or(&none);
        let mut add = |line: &String, end| {
            let what = format!("only at the {end}: {line}");
            found.push(Difference { schema: schema.clone(), what });
        };
        here.difference(there).for_each(|line| add(line, "source"));
        there.difference(here).for_each(|line| add(line, "target"));
    }
    Ok(found)
}

async fn read(connect: &ConnectOptions) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let client = SqlClient::connect(connect).await?;
    let rows = client.query(DEFINITIONS, &[]).await?;
    client.close().await;
    let mut schemas: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        // Versions differ in which words they quote.
        let line = row.get::<_, String>(1).replace('"', "");
        schemas.entry(row.get(0)).or_default().insert(line);
    }
    Ok(schemas)
}
