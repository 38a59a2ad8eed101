//! Whether the events that an endpoint took tell the source's history: each change at least once, those of a row in
//! their order, what came again with the id that it had, and the last of each row as the row is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use stream_core::postgres::ConnectOptions;

use super::lab::session;
use super::ledger::{self, Scope};
use super::workload::HIDDEN;

/// Tables with a key that are never truncated, with their keys and other columns that look the same in an event and as the server's JSON: the
/// last event of each row is the row.
const KEYED: [(&str, &[&str], &[&str]); 14] = [
    ("accounts", &["id"], &["balance", "note"]),
    ("counters", &["writer"], &["n"]),
    ("products", &["sku"], &[]),
    ("orders", &["id"], &["writer", "note"]),
    ("lines", &["order_id", "n"], &["sku"]),
    ("people", &["id"], &["partner", "name"]),
    ("queue", &["id"], &["place", "body"]),
    ("documents", &["id"], &["title", "body", "extra"]),
    ("measures", &["id"], &["a"]),
    ("events_a", &["id", "kind"], &["value"]),
    ("events_b_0", &["id", "kind"], &["value"]),
    ("events_b_1", &["id", "kind"], &["value"]),
    ("events_rest", &["id", "kind"], &["value"]),
    ("altered", &["id"], &["n"]),
];
/// What was written to rows of tables that are renamed, and whether the table was not captured for a while.
const WRITTEN: &str = "SELECT home, id, n, home IN (SELECT home FROM moves WHERE n < 0) FROM moves WHERE n >= 0 ORDER BY home, id, n";
/// Reads the rows of these tables.
const MOVED: &str = "SELECT string_agg(format('SELECT home, id, n FROM %I', relname), ' UNION ALL ') FROM pg_class WHERE relname ~ '^moved_[0-9]$'";
/// What stands for a large value that did not change.
const UNCHANGED: &str = "__debezium_unavailable_value";

/// Compares `events`, in the order in which they came, with the source.
pub(super) async fn check(events: &[Value], source: &ConnectOptions, scope: Scope) -> Result<()> {
    let first = without_repeats(events)?;
    let due = ledger::check(&first, source, scope).await?;
    ensure!(due > 0, "no change was due");
    let mut positions: HashMap<&str, (u64, u64)> = HashMap::new();
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in &first {
        let key = text(event, "partitionkey");
        // Tables without a key have one order only as far as they have one key.
        if key.contains('/') {
            let here = position(event)?;
            let before = positions.insert(key, here).unwrap_or_default();
            ensure!(before <= here, "reordered: `{key}` is at {here:X?} after {before:X?}");
            last.insert(key, event);
        }
    }
    counters(&first)?;
    let mut told = Told::default();
    first.iter().for_each(|event| told.add(event));
    let client = session(source).await?;
    for (table, key, others) in KEYED {
        let prefix = format!("public.{table}/");
        let of_table =
            last.range(prefix.as_str()..).take_while(|(key, _)| key.starts_with(&prefix));
        let alive = of_table.filter(|(_, event)| operation(event) != "d");
        let told = alive.filter_map(|(_, event)| event.pointer("/data/after"));
        let columns = [key, others].concat().join(", ");
        let sql = format!(
            "SELECT coalesce(json_agg(t), '[]')::text FROM (SELECT {columns} FROM {table}) t"
        );
        let rows: String = client.query_one(&sql, &[]).await?.get(0);
        let rows: Vec<Value> = serde_json::from_str(&rows)?;
        same_rows(table, key, others, told, &rows)?;
    }
    let hidden = first.iter().any(|event| text(event, "subject") == format!("public.{HIDDEN}"));
    ensure!(!hidden, "an event of a table that is excluded");
    for row in client.query(WRITTEN, &[]).await? {
        told.check((row.get(0), row.get(1)), row.get(2), row.get(3))?;
    }
    let moved: String = client.query_one(MOVED, &[]).await?.get(0);
    for row in client.query(&moved, &[]).await? {
        told.is_last((row.get(0), row.get(1)), row.get(2))?;
    }
    let written = "SELECT count(*), count(DISTINCT (writer, n)) FROM journal";
    let written: i64 = client.query_one(written, &[]).await?.get(0);
    client.close().await;
    let journal: BTreeSet<_> = first
        .iter()
        .filter(|event| text(event, "subject") == "public.journal")
        .map(|event| (number(event, "writer"), number(event, "n")))
        .collect();
    ensure!(
        i64::try_from(journal.len())? == written,
        "lost: the journal has {written} rows, and {} came",
        journal.len()
    );
    Ok(())
}

/// Whether the rows that the last events `told` are the `rows` of the source.
fn same_rows<'a>(
    table: &str,
    key: &[&str],
    others: &[&str],
    told: impl Iterator<Item = &'a Value>,
    rows: &'a [Value],
) -> Result<()> {
    let key_of = |row: &Value| -> String {
        key.iter().map(|column| format!("{},", row.get(column).unwrap_or(&Value::Null))).collect()
    };
    let rows: BTreeMap<String, &Value> = rows.iter().map(|row| (key_of(row), row)).collect();
    let told: BTreeMap<String, &Value> = told.map(|row| (key_of(row), row)).collect();
    if let Some(ghost) = told.keys().find(|key| !rows.contains_key(*key)) {
        bail!("doubled: the last event of row {ghost} of {table} has it, and the source has not");
    }
    for (key, row) in rows {
        let told = told.get(&key).with_context(|| format!("lost: row {key} of {table}"))?;
        for column in others {
            let (told, here) = (told.get(column), row.get(column));
            let is_same = told == here || told.and_then(Value::as_str) == Some(UNCHANGED);
            ensure!(is_same, "lost: the last event of row {key} of {table} has another `{column}`");
        }
    }
    Ok(())
}

/// The events without those whose id came before; what comes again says the same.
fn without_repeats(events: &[Value]) -> Result<Vec<&Value>> {
    let mut known: HashMap<&str, &Value> = HashMap::new();
    let mut first = Vec::new();
    for event in events {
        let id = event.get("id").and_then(Value::as_str).context("an event without an id")?;
        match known.insert(id, event) {
            None => first.push(event),
            Some(before) => {
                for said in ["/partitionkey", "/data/op", "/data/after"] {
                    ensure!(
                        before.pointer(said) == event.pointer(said),
                        "doubled: id `{id}` came with another `{said}`"
                    );
                }
            }
        }
    }
    Ok(first)
}

/// Each writer counts its transactions: none is left out after the first that was not read.
fn counters(first: &[&Value]) -> Result<()> {
    let mut last: HashMap<i64, i64> = HashMap::new();
    let of_counters = || first.iter().filter(|event| text(event, "subject") == "public.counters");
    let copied: BTreeSet<_> = of_counters()
        .filter(|event| operation(event) == "r")
        .filter_map(|event| number(event, "writer"))
        .collect();
    for event in of_counters() {
        let (writer, n) = (number(event, "writer"), number(event, "n"));
        let (writer, n) = writer.zip(n).context("an event of counters without its row")?;
        let before = last.insert(writer, n);
        let fine = match before {
            // The log comes before a row whose copy was interrupted and begins anew.
            None => operation(event) == "r" || copied.contains(&writer),
            Some(before) if operation(event) == "r" => n >= before,
            Some(before) => n == before + 1,
        };
        ensure!(fine, "lost: writer {writer} counts {n} after {before:?}");
    }
    Ok(())
}

/// What was told of rows in tables that are renamed, and whether a copy told it: their names at the time say nothing, so
/// rows tell where they belong.
#[derive(Default)]
struct Told(HashMap<(i64, i64), BTreeMap<i64, bool>>);

impl Told {
    fn add(&mut self, event: &Value) {
        let row = number(event, "home").zip(number(event, "id")).zip(number(event, "n"));
        let Some((row, n)) = row.filter(|_| text(event, "subject").starts_with("public.moved_"))
        else {
            return;
        };
        *self.0.entry(row).or_default().entry(n).or_default() |= operation(event) == "r";
    }

    fn of(&self, row: (i32, i32)) -> Result<&BTreeMap<i64, bool>> {
        let told = self.0.get(&(row.0.into(), row.1.into()));
        told.with_context(|| format!("lost: renamed row {row:?}"))
    }

    /// Nothing that was written to a row is left out after the first that was told of it; where the table `was_away`, a
    /// copy may tell of later ones instead.
    fn check(&self, row: (i32, i32), n: i64, was_away: bool) -> Result<()> {
        let told = self.of(row)?;
        let is_told = told.contains_key(&n)
            || told.keys().next().is_some_and(|first| n < *first)
            || was_away && told.range(n..).any(|(_, copied)| *copied);
        ensure!(is_told, "lost: {n} in renamed row {row:?}");
        Ok(())
    }

    /// The last that was told of a row is what it is.
    fn is_last(&self, row: (i32, i32), n: i64) -> Result<()> {
        let last = self.of(row)?.keys().next_back();
        ensure!(last == Some(&n), "lost: renamed row {row:?} has {n}, and {last:?} came");
        Ok(())
    }
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Where a row's event stands: the snapshot, or its transaction's commit, and the change. (A transaction that is not committed yet when the snapshot is taken
/// has changes that stand before it.)
fn position(event: &Value) -> Result<(u64, u64)> {
    let lsn = event.pointer("/data/source/lsn").and_then(Value::as_u64).unwrap_or_default();
    if operation(event) == "r" {
        return Ok((lsn, 0));
    }
    let id = text(event, "id");
    let (high, low) = id
        .split(':')
        .nth(1)
        .and_then(|commit| commit.split_once('-'))
        .with_context(|| format!("no commit in id `{id}`"))?;
    let commit = u64::from_str_radix(high, 16)? << 32 | u64::from_str_radix(low, 16)?;
    Ok((commit, lsn))
}

pub(super) fn operation(event: &Value) -> &str {
    event.pointer("/data/op").and_then(Value::as_str).unwrap_or_default()
}

fn number(event: &Value, column: &str) -> Option<i64> {
    event.pointer("/data/after")?.get(column)?.as_i64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, op: &str, n: i64) -> Value {
        json!({"id": id, "subject": "public.counters", "partitionkey": "public.counters/1",
               "data": {"op": op, "after": {"writer": 1, "n": n}}})
    }

    #[test]
    fn a_repeat_says_the_same_and_counts_once() {
        let events = [event("a", "r", 4), event("b", "u", 5), event("a", "r", 4)];
        assert_eq!(without_repeats(&events).unwrap().len(), 2);
        let another = [event("a", "r", 4), event("a", "r", 5)];
        assert!(without_repeats(&another).is_err());
    }

    #[test]
    fn a_change_stands_where_it_was_committed() {
        let of = |id: &str, op: &str, lsn: u64| {
            position(&json!({"id": id, "data": {"op": op, "source": {"lsn": lsn}}})).unwrap()
        };
        let (read, change) = (of("s:s0:t:1", "r", 0x20), of("s:0-30:1", "u", 0x10));
        assert!(of("s:0-1F:1", "u", 0x10) < read && read < change);
        assert!(change < of("s:0-30:2", "u", 0x11) && change < of("s:1-0:0", "u", 0x0f));
    }

    #[test]
    fn a_ghost_a_lost_row_and_another_value_are_found() {
        let row = |id: i64, v: &str| json!({"id": id, "v": v});
        let same = |told: &[Value], rows: &[Value]| {
            same_rows("t", &["id"], &["v"], told.iter(), rows).map_err(|error| error.to_string())
        };
        let rows = [row(1, "a"), row(2, "b")];
        assert_eq!(same(&[row(1, "a"), row(2, UNCHANGED)], &rows), Ok(()));
        assert!(
            same(&[row(1, "a"), row(2, "b"), row(3, "")], &rows).unwrap_err().contains("row 3,")
        );
        assert!(same(&[row(1, "a")], &rows).unwrap_err().contains("row 2,"));
        assert!(same(&[row(1, "a"), row(2, "c")], &rows).unwrap_err().contains("another `v`"));
    }

    #[test]
    fn what_is_left_out_of_a_renamed_table_is_found() {
        let event = |name: &str, op: &str, n: i64| json!({"subject": format!("public.moved_{name}"), "data": {"op": op, "after": {"home": 0, "id": 1, "n": n}}});
        let mut told = Told::default();
        for event in
            [event("0", "u", 3), event("2", "u", 4), event("1", "r", 6), event("1", "u", 8)]
        {
            told.add(&event);
        }
        for (n, fine) in [(2, true), (3, true), (4, true), (5, false), (6, true), (7, false)] {
            assert_eq!(told.check((0, 1), n, false).is_ok(), fine, "{n}");
            assert_eq!(told.check((0, 1), n, true).is_ok(), fine || n == 5, "{n}");
        }
        assert!(told.check((0, 2), 1, true).is_err());
        assert!(told.is_last((0, 1), 8).is_ok() && told.is_last((0, 1), 9).is_err());
        assert!(told.is_last((0, 1), 6).is_err());
    }

    #[test]
    fn a_gap_and_a_step_back_are_found() {
        let of = |events: &[Value]| counters(&events.iter().collect::<Vec<_>>()).is_ok();
        assert!(of(&[event("a", "r", 4), event("b", "r", 6), event("c", "u", 7)]));
        assert!(!of(&[event("a", "r", 4), event("b", "u", 6)]));
        assert!(!of(&[event("a", "r", 4), event("b", "u", 4)]));
        assert!(!of(&[event("a", "u", 4)]));
        assert!(of(&[
            event("a", "u", 4),
            event("b", "u", 5),
            event("c", "r", 5),
            event("d", "u", 6)
        ]));
        assert!(!of(&[event("a", "u", 4), event("b", "r", 3)]));
    }
}
