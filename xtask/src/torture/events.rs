//! Whether the events that an endpoint took tell the source's history: each change at least once, those of a row in
//! their order, what came again with the id that it had, and the last of each row as the row is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use stream_core::postgres::ConnectOptions;

use super::lab::session;

/// Tables with a key that are never truncated: as many rows as keys whose last event is no delete.
const KEYED: [&str; 6] = ["accounts", "counters", "people", "queue", "documents", "measures"];

/// Compares `events`, in the order in which they came, with the source.
pub(super) async fn check(events: &[Value], source: &ConnectOptions) -> Result<()> {
    let first = without_repeats(events)?;
    let mut positions: HashMap<&str, u64> = HashMap::new();
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in &first {
        let key = text(event, "partitionkey");
        let lsn = event.pointer("/data/source/lsn").and_then(Value::as_u64).unwrap_or_default();
        // Tables without a key have one order only as far as they have one key.
        if key.contains('/') {
            let before = positions.insert(key, lsn).unwrap_or_default();
            ensure!(before <= lsn, "reordered: `{key}` is at {lsn} after {before}");
            last.insert(key, event);
        }
    }
    counters(&first)?;
    let client = session(source).await?;
    for table in KEYED {
        let prefix = format!("public.{table}/");
        let of_table =
            last.range(prefix.as_str()..).take_while(|(key, _)| key.starts_with(&prefix));
        let alive: Vec<_> =
            of_table.map(|(_, event)| *event).filter(|event| operation(event) != "d").collect();
        let count = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?;
        let count: i64 = count.get(0);
        ensure!(
            i64::try_from(alive.len())? == count,
            "lost: {table} has {count} rows, and {} by its last events",
            alive.len()
        );
        if table == "accounts" {
            let sum: i64 = alive.iter().filter_map(|event| number(event, "balance")).sum();
            let expected: i64 =
                client.query_one("SELECT sum(balance)::bigint FROM accounts", &[]).await?.get(0);
            ensure!(sum == expected, "the last events of accounts differ: {sum}, not {expected}");
        }
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
    for event in first.iter().filter(|event| text(event, "subject") == "public.counters") {
        let (writer, n) = (number(event, "writer"), number(event, "n"));
        let (writer, n) = writer.zip(n).context("an event of counters without its row")?;
        let before = last.insert(writer, n);
        let fine = match before {
            None => operation(event) == "r",
            Some(before) if operation(event) == "r" => n >= before,
            Some(before) => n == before + 1,
        };
        ensure!(fine, "lost: writer {writer} counts {n} after {before:?}");
    }
    Ok(())
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn operation(event: &Value) -> &str {
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
    fn a_gap_and_a_step_back_are_found() {
        let of = |events: &[Value]| counters(&events.iter().collect::<Vec<_>>()).is_ok();
        assert!(of(&[event("a", "r", 4), event("b", "r", 6), event("c", "u", 7)]));
        assert!(!of(&[event("a", "r", 4), event("b", "u", 6)]));
        assert!(!of(&[event("a", "r", 4), event("b", "u", 4)]));
        assert!(!of(&[event("a", "u", 4)]));
    }
}
