//! Two databases compared: every table by its number of rows and a hash that no order of rows changes, and
//! every sequence.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use stream_core::postgres::{ConnectOptions, SqlClient};
use stream_core::relation::TableName;
use tokio_postgres::Row;

/// Tables that hold rows themselves, partitions among them, and whose changes are in the log.
const TABLES: &str = "
SELECT n.nspname::text, c.relname::text, coalesce((
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname COLLATE \"C\") FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^(pg_|information_schema$|sgstream$)'";
const SEQUENCES: &str =
    "SELECT schemaname::text, sequencename::text, last_value::text FROM pg_sequences ORDER BY 1, 2";
/// The name of a row, which no column has.
const ROW: &str = "\"the compared row\"";

/// Whether sequences have to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequences {
    Compared,
    Ignored,
}

/// What is compared of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    rows: u64,
    /// The names of the columns, quoted and sorted: two tables may have them in different orders.
    columns: String,
    /// The sum of the hashes of all rows.
    hash: i128,
}

impl Content {
    fn short_hash(&self) -> String {
        let [a, b, c, d, e, f, g, h, ..] = self.hash.to_le_bytes();
        format!("{:016x}", u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Rows of a table that are shown when they differ.
const SHOWN: usize = 5;

/// Something that is not the same at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The schema that it is in.
    pub(crate) schema: String,
    /// What differs, and some of the rows that are not at both ends.
    pub(crate) what: String,
}

/// All that is not the same, in words.
pub(crate) async fn differences(
    source: &ConnectOptions,
    target: &ConnectOptions,
    sequences: Sequences,
) -> Result<Vec<String>> {
    let found = all_differences(source, target, sequences).await?;
    Ok(found.into_iter().map(|difference| difference.what).collect())
}

/// All that is not the same.
pub(crate) async fn all_differences(
    source: &ConnectOptions,
    target: &ConnectOptions,
    sequences: Sequences,
) -> Result<Vec<Difference>> {
    let (here, there) = tokio::try_join!(read(source), read(target))?;
    let mut found = Vec::new();
    let mut add = |name: &TableName, what| {
        found.push(Difference { schema: name.schema.clone(), what: format!("{name}: {what}") });
    };
    for name in here.tables.keys().chain(there.tables.keys()).collect::<BTreeSet<_>>() {
        match (here.tables.get(name), there.tables.get(name)) {
            (here, there) if here == there => {}
            (Some(here), Some(there)) => {
                let counts =
                    format!("{} rows at the source, {} at the target", here.rows, there.rows);
                let (here, there) =
                    tokio::try_join!(rows(source, name, here), rows(target, name, there))?;
                // The same in another encoding has another hash.
                if here != there {
                    let source =
                        more(&here, &there).map(|row| format!("\n  only at the source: {row}"));
                    let target =
                        more(&there, &here).map(|row| format!("\n  only at the target: {row}"));
                    add(name, counts + &source.chain(target).collect::<String>());
                }
            }
            (here, _) => {
                let missing = if here.is_some() { "target" } else { "source" };
                add(name, format!("not at the {missing}"));
            }
        }
    }
    if sequences == Sequences::Compared {
        let names = here.sequences.keys().chain(there.sequences.keys()).collect::<BTreeSet<_>>();
        for name in names {
            let (here, there) = (here.sequences.get(name), there.sequences.get(name));
            if here != there {
                add(name, format!("{here:?} at the source, {there:?} at the target"));
            }
        }
    }
    Ok(found)
}

/// Rows that are more often in one table than in the other.
fn more<'a>(
    here: &'a BTreeMap<String, i64>,
    there: &'a BTreeMap<String, i64>,
) -> impl Iterator<Item = &'a str> {
    let fewer = |row: &String, count: i64| there.get(row).is_none_or(|there| *there < count);
    here.iter()
        .filter(move |(row, count)| fewer(row, **count))
        .map(|(row, _)| row.as_str())
        .take(SHOWN)
}

/// How often each row is there, as text that is not too long.
async fn rows(
    connect: &ConnectOptions,
    name: &TableName,
    content: &Content,
) -> Result<BTreeMap<String, i64>> {
    let client = SqlClient::connect(connect).await?;
    let sql = format!(
        "SELECT left({ROW}::text, 200) || ' #' || md5(convert_to({ROW}::text, 'UTF8')), count(*) FROM (SELECT {} FROM {}) {ROW} GROUP BY 1",
        content.columns,
        name.quoted()
    );
    let rows = client.query(&sql, &[]).await?;
    client.close().await;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Prints a table of all tables; tells whether all is the same.
pub(crate) async fn run(source: &ConnectOptions, target: &ConnectOptions) -> Result<bool> {
    let (source, target) = tokio::try_join!(read(source), read(target))?;
    let names: BTreeSet<_> = source.tables.keys().chain(target.tables.keys()).collect();
    let width = names
        .iter()
        .map(|name| name.to_string().chars().count())
        .max()
        .unwrap_or(0)
        .max("table".len());
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
        let name = name.to_string();
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
    tables: BTreeMap<TableName, Content>,
    sequences: BTreeMap<TableName, Option<String>>,
}

async fn read(connect: &ConnectOptions) -> Result<Database> {
    let client = SqlClient::connect(connect).await?;
    let mut tables = BTreeMap::new();
    for row in client.query(TABLES, &[]).await? {
        let name = name(&row);
        let columns: String = row.get(2);
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended({ROW}::text, 0)), 0)::text FROM (SELECT {columns} FROM {}) {ROW}",
            name.quoted()
        );
        let row = client.query_one(&sql, &[]).await.with_context(|| format!("table {name}"))?;
        let rows = row.get::<_, i64>(0).try_into()?;
        tables.insert(name, Content { rows, columns, hash: row.get::<_, String>(1).parse()? });
    }
    let sequences = client.query(SEQUENCES, &[]).await?;
    let sequences = sequences.iter().map(|row| (name(row), row.get(2))).collect();
    client.close().await;
    Ok(Database { tables, sequences })
}

fn name(row: &Row) -> TableName {
    TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_divided_by_commas() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn a_row_that_is_there_once_more_is_a_difference() {
        let rows = |counts: &[(&str, i64)]| {
            counts
                .iter()
                .map(|(row, count)| ((*row).to_owned(), *count))
                .collect::<BTreeMap<_, _>>()
        };
        let (here, there) = (rows(&[("a", 2), ("b", 1)]), rows(&[("a", 1), ("b", 1), ("c", 1)]));
        assert_eq!(more(&here, &there).collect::<Vec<_>>(), ["a"]);
        assert_eq!(more(&there, &here).collect::<Vec<_>>(), ["c"]);
    }
}
