//! Two databases compared: every table by its number of rows and a hash that no order of rows changes, and
//! every sequence.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use stream_core::postgres::{ConnectOptions, SqlClient};

use super::grouped;

/// Tables that hold rows themselves, partitions among them; quoted.
const TABLES: &str = "
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema$|sgstream$)'";
const SEQUENCES: &str = "
SELECT format('%I.%I', schemaname, sequencename), last_value::text FROM pg_sequences ORDER BY 1";

/// What is compared of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    rows: u64,
    /// The sum of the hashes of all rows.
    hash: i128,
}

impl Content {
    fn short_hash(&self) -> String {
        let [a, b, c, d, e, f, g, h, ..] = self.hash.to_le_bytes();
        format!("{:016x}", u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Prints a table of all tables; tells whether all is the same.
pub(super) async fn run(source: &ConnectOptions, target: &ConnectOptions) -> Result<bool> {
    let (source, target) = tokio::try_join!(read(source), read(target))?;
    let names: std::collections::BTreeSet<_> =
        source.tables.keys().chain(target.tables.keys()).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("table".len());
    println!("{:width$}  {:>10}  {:16}  identical", "table", "rows", "hash");
    let mut identical = !names.is_empty();
    for name in names {
        let (here, there) = (source.tables.get(name), target.tables.get(name));
        identical &= here == there;
        let rows = here.map(|content| grouped(content.rows)).unwrap_or_default();
        let hash = here.map(Content::short_hash).unwrap_or_default();
        let verdict = match there {
            there if here == there => "yes".to_owned(),
            None => "NO: the target has no such table".to_owned(),
            Some(content) => {
                format!(
                    "NO: {} rows, {} at the target",
                    grouped(content.rows),
                    content.short_hash()
                )
            }
        };
        println!("{name:width$}  {rows:>10}  {hash:16}  {verdict}");
    }
    let same = source.sequences == target.sequences;
    let verdict = if same { "yes" } else { "NO" };
    let count = source.sequences.len();
    println!("{:width$}  {count:>10}  {:16}  {verdict}", "(sequences)", "");
    if !same {
        println!("source: {:?}\ntarget: {:?}", source.sequences, target.sequences);
    }
    Ok(identical && same)
}

struct Database {
    tables: BTreeMap<String, Content>,
    sequences: Vec<(String, Option<String>)>,
}

async fn read(connect: &ConnectOptions) -> Result<Database> {
    let client = SqlClient::connect(connect).await?;
    let mut tables = BTreeMap::new();
    for row in client.query(TABLES, &[]).await? {
        let name: String = row.get(0);
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {name} t"
        );
        let row = client.query_one(&sql, &[]).await.with_context(|| format!("table {name}"))?;
        let rows = row.get::<_, i64>(0).try_into()?;
        tables.insert(name, Content { rows, hash: row.get::<_, String>(1).parse()? });
    }
    let sequences = client.query(SEQUENCES, &[]).await?;
    let sequences = sequences.iter().map(|row| (row.get(0), row.get(1))).collect();
    client.close().await;
    Ok(Database { tables, sequences })
}
