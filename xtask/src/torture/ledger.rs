//! What the source's log has, as `test_decoding` tells it, PostgreSQL's own plugin: a second opinion on what an endpoint
//! must have been told. Every change of each transaction counts, whatever became of its row later.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use stream_core::postgres::ConnectOptions;

use super::events::operation;
use super::lab::session;
use super::migration::is_passing;
use super::workload::LARGE;

/// The slot, which keeps the log from before the stream on.
const SLOT: &str = "torture";
const MAKE: &str = "SELECT pg_create_logical_replication_slot($1, 'test_decoding')";
/// Changes of each transaction by their tables and kinds, and where its commit ends. Outside of transactions are messages alone.
const READ: &str = "
WITH log AS MATERIALIZED (
    SELECT CASE WHEN data ~ '^message: transactional: 0' THEN 0 ELSE xid::text::bigint END AS xid, lsn - '0/0' AS lsn, left(data, 300) AS data
    FROM pg_logical_slot_peek_changes($1, NULL, NULL, 'skip-empty-xacts', '1')
), changes AS (
    SELECT xid, lsn, regexp_match(data, '^(?:table (.*?)|(message)): (INSERT|UPDATE|DELETE|TRUNCATE|transactional):') AS change FROM log
)
SELECT c.xid, coalesce(ended.lsn, c.lsn)::int8, coalesce(change[1], change[2]), change[3], count(*)
FROM changes c LEFT JOIN log ended ON ended.xid = c.xid AND c.xid <> 0 AND ended.data ~ '^COMMIT '
WHERE change IS NOT NULL GROUP BY 1, 2, 3, 4";
/// How messages are called in the place of a table.
const MESSAGES: &str = "";

/// Of which tables each change has to be told.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// Whether the schema changes: names of tables that come and go say nothing then.
    pub(super) migrated: bool,
    /// Whether the large tables are captured.
    pub(super) large: bool,
}

impl Scope {
    fn has(self, table: &str) -> bool {
        !(self.migrated && is_passing(table) || !self.large && LARGE.contains(&table))
    }
}

/// Follows the source from now on.
pub(super) async fn open(source: &ConnectOptions) -> Result<()> {
    let client = session(source).await?;
    client.query_one(MAKE, &[&SLOT]).await?;
    client.close().await;
    Ok(())
}

/// Compares what was told first of each change with the log; `first` are the events without repeats. Says how many changes were due.
pub(super) async fn check(first: &[&Value], source: &ConnectOptions, scope: Scope) -> Result<u64> {
    let client = session(source).await?;
    let rows = client.query(READ, &[&SLOT]).await?;
    client.close().await;
    let logged = rows.iter().flat_map(|row| {
        let (xid, end, kind, count) = (row.get(0), row.get(1), row.get(3), row.get(4));
        names(row.get(2)).into_iter().map(move |table| Logged { xid, end, table, kind, count })
    });
    compare(logged, first, scope)
}

/// Some changes of a transaction, of one kind and to one table.
struct Logged<'a> {
    xid: i64,
    /// Where the transaction's commit ends.
    end: i64,
    table: String,
    kind: &'a str,
    count: i64,
}

/// What was done to a table in a transaction. An update that changes a key is told as a delete and an insert, so it counts as either.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    /// Inserts and updates.
    made: i64,
    /// Deletes and updates.
    unmade: i64,
    truncates: i64,
    messages: i64,
}

impl Sum {
    fn add(&mut self, kind: &str, count: i64) -> Result<()> {
        match kind {
            "INSERT" | "c" => self.made += count,
            "UPDATE" | "u" => {
                self.made += count;
                self.unmade += count;
            }
            "DELETE" | "d" => self.unmade += count,
            "TRUNCATE" | "t" => self.truncates += count,
            "transactional" | "m" => self.messages += count,
            other => bail!("a change of kind `{other}`"),
        }
        Ok(())
    }
}

/// A table holds its copy's transactions: only what was committed after that has to be told. Everything told is in the log.
fn compare<'a>(
    logged: impl Iterator<Item = Logged<'a>>,
    first: &[&Value],
    scope: Scope,
) -> Result<u64> {
    let copied = Copied::of(first)?;
    let mut told: HashMap<(i64, &str), Sum> = HashMap::new();
    for event in first {
        let (kind, table) = (operation(event), table(event));
        let of_source = |name| event.pointer("/data/source")?.get(name)?.as_i64();
        let xid = of_source("txId").unwrap_or_default();
        // A message outside of transactions has no other mark than where it stands.
        let is_early = xid == 0 && of_source("lsn").is_some_and(|lsn| lsn <= copied.first);
        if kind != "r" && scope.has(table) && !is_early {
            told.entry((xid, table)).or_default().add(kind, 1)?;
        }
    }
    let mut in_log: BTreeMap<(i64, String), (Sum, bool)> = BTreeMap::new();
    let mut due = 0;
    for Logged { xid, end, table, kind, count } in logged.filter(|one| scope.has(&one.table)) {
        let is_due = end > copied.until(&table);
        if !is_due && xid == 0 {
            continue;
        }
        due += if is_due { count.unsigned_abs() } else { 0 };
        let (sum, due) = in_log.entry((xid, table)).or_default();
        sum.add(kind, count)?;
        *due = is_due;
    }
    for ((xid, table), (sum, is_due)) in &in_log {
        let told = told.remove(&(*xid, table.as_str())).unwrap_or_default();
        ensure!(
            !is_due || told == *sum,
            "lost or doubled: transaction {xid} did {sum:?} to `{table}`, and {told:?} came"
        );
    }
    let ghost = told.keys().next();
    ensure!(ghost.is_none(), "doubled: {ghost:?} is told of, and not in the log");
    Ok(due)
}

/// Up to where tables were copied, the last time each.
struct Copied<'a> {
    tables: HashMap<&'a str, i64>,
    first: i64,
    last: i64,
}

impl<'a> Copied<'a> {
    fn of(first: &[&'a Value]) -> Result<Self> {
        let (mut tables, mut earliest, mut last) = (HashMap::new(), i64::MAX, 0);
        for event in first.iter().filter(|event| operation(event) == "r") {
            let lsn = event.pointer("/data/source/lsn").and_then(Value::as_i64);
            let lsn = lsn.context("a copied row without its position")?;
            let of_table = tables.entry(table(event)).or_insert(lsn);
            *of_table = lsn.max(*of_table);
            (earliest, last) = (lsn.min(earliest), lsn.max(last));
        }
        ensure!(last > 0, "lost: no row was copied");
        Ok(Self { tables, first: earliest, last })
    }

    /// Of an empty table nobody says where it was copied; messages come from the beginning on.
    fn until(&self, table: &str) -> i64 {
        if table == MESSAGES {
            self.first
        } else {
            self.tables.get(table).copied().unwrap_or(self.last)
        }
    }
}

/// The table that an event is of.
fn table(event: &Value) -> &str {
    if operation(event) == "m" {
        return MESSAGES;
    }
    event.pointer("/data/source/table").and_then(Value::as_str).unwrap_or_default()
}

/// The names in a line of `test_decoding`: of a table, of several that one `TRUNCATE` empties, or of none.
fn names(written: &str) -> Vec<String> {
    if written == "message" {
        return vec![MESSAGES.to_owned()];
    }
    let names = written.split(", ").map(|name| {
        let name = name.strip_prefix("public.").unwrap_or(name);
        match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_owned(),
        }
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCOPE: Scope = Scope { migrated: false, large: false };

    fn event(op: &str, table: &str, xid: i64, lsn: i64) -> Value {
        json!({"data": {"op": op, "source": {"table": table, "txId": xid, "lsn": lsn}}})
    }

    fn logged(xid: i64, end: i64, table: &str, kind: &'static str, count: i64) -> Logged<'static> {
        Logged { xid, end, table: table.to_owned(), kind, count }
    }

    fn due(log: Vec<Logged<'_>>, events: &[Value]) -> Option<u64> {
        compare(log.into_iter(), &events.iter().collect::<Vec<_>>(), SCOPE).ok()
    }

    #[test]
    fn each_change_after_the_copy_is_due_once() {
        let log = || {
            vec![
                logged(5, 9, "t", "INSERT", 1),
                logged(6, 20, "t", "UPDATE", 2),
                logged(6, 20, "", "transactional", 1),
            ]
        };
        let (copied, message) = (event("r", "t", 5, 10), event("m", "t", 6, 19));
        let update = || event("u", "t", 6, 18);
        let all = [
            copied.clone(),
            update(),
            event("d", "t", 6, 18),
            event("c", "t", 6, 18),
            message.clone(),
        ];
        assert_eq!(due(log(), &all), Some(3));
        assert_eq!(due(log(), &[copied.clone(), update(), message.clone()]), None);
        assert_eq!(due(log(), &[copied.clone(), update(), update()]), None);
        assert_eq!(
            due(log(), &[copied.clone(), update(), update(), update(), message.clone()]),
            None
        );
        assert_eq!(
            due(
                log(),
                &[copied.clone(), update(), update(), message.clone(), event("u", "t", 7, 21)]
            ),
            None
        );
        // What the copy has may be told, too.
        let settled = [copied, event("c", "t", 5, 8), update(), update(), message];
        assert_eq!(due(log(), &settled), Some(3));
    }

    #[test]
    fn truncates_count_by_table_and_an_empty_table_from_the_last_copy_on() {
        let log = || vec![logged(6, 20, "a", "TRUNCATE", 1), logged(6, 20, "b", "TRUNCATE", 1)];
        let both = [event("r", "t", 5, 10), event("t", "a", 6, 18), event("t", "b", 6, 18)];
        assert_eq!(due(log(), &both), Some(2));
        assert_eq!(due(log(), &both[..2]), None);
        assert_eq!(due(log(), &[event("r", "t", 5, 20), both[1].clone()]), Some(0));
        assert_eq!(due(log(), &both[1..]), None);
    }

    #[test]
    fn a_message_outside_of_transactions_counts_from_the_beginning_on() {
        let log =
            || vec![logged(0, 9, "", "transactional", 1), logged(0, 20, "", "transactional", 1)];
        let (copied, message) =
            (event("r", "t", 5, 10), json!({"data": {"op": "m", "source": {"lsn": 20}}}));
        assert_eq!(due(log(), &[copied.clone(), message]), Some(1));
        assert_eq!(due(log(), &[copied]), None);
    }

    #[test]
    fn names_are_read_as_the_plugin_writes_them() {
        assert_eq!(names("public.\"Odd \"\"Name\""), ["Odd \"Name"]);
        assert_eq!(names("public.parents, public.children"), ["parents", "children"]);
        let migrated = Scope { migrated: true, ..SCOPE };
        assert!(migrated.has("events_b_0") && SCOPE.has("moved_0") && !SCOPE.has("heap"));
        assert!(!migrated.has("events_7") && !migrated.has("hidden_0"));
    }
}
