//! A session that changes the schema while others write: columns come, go and change their types, tables and
//! partitions are made, detached and dropped, tables are not captured for a while. As the manual asks, the target has a new column before the source.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use stream_core::postgres::{ConnectOptions, SqlClient};
use tokio::sync::watch;

use super::lab::session;
use super::workload::{HIDDEN, NAMES};

/// One seed of so many has its schema changed; not those with a native subscription, which does not follow.
const SEEDS: u64 = 3;
/// The types that column `a` has, one after the other.
const WIDER: [&str; 2] = ["bigint", "numeric"];
/// Between two changes at least. A change of what is copied makes the worker look again, so that very many of them would keep it
/// from ever being done.
const REST: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a statement may be refused: servers are away, tables are locked.
const PATIENCE: Duration = Duration::from_secs(60);
/// Classes of refusals that pass: another session is in the way, the server is full, stops, or is read-only.
const PASSING: [&str; 5] = ["25", "40", "53", "55", "57"];
const IS_THERE: &str = "SELECT to_regclass('public.altered') IS NOT NULL";

/// Columns and tables of this session that one end has, and the statement that removes each.
const REMOVABLE: &str = "
SELECT format('ALTER TABLE altered DROP COLUMN %I', attname) FROM pg_attribute
WHERE attrelid = 'altered'::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT format('DROP TABLE %I', relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '^(new|events|moved)_[0-9]'";

/// Whether the schema of a seed changes.
pub(super) const fn has(seed: u64) -> bool {
    seed.is_multiple_of(SEEDS)
}

/// Whether a table has a name that comes and goes with these changes.
pub(super) fn is_passing(table: &str) -> bool {
    ["moved_", "hidden_", "new_", "events_"].into_iter().any(|prefix| {
        let number = table.strip_prefix(prefix).unwrap_or_default();
        number.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Changes the schema of the source, and of the target where there is one.
pub(super) struct Migration {
    source: ConnectOptions,
    target: Option<ConnectOptions>,
    random: Rng,
    /// How often the type of `a` was changed.
    widened: usize,
}

/// A change: what the target needs before, if anything, and what the source does.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    before: Option<String>,
    source: String,
}

impl Change {
    const fn source(source: String) -> Self {
        Self { before: None, source }
    }

    fn both(sql: String) -> Self {
        Self { before: Some(sql.clone()), source: sql }
    }
}

impl Migration {
    pub(super) fn new(source: &ConnectOptions, target: Option<&ConnectOptions>, seed: u64) -> Self {
        Self {
            source: source.clone(),
            target: target.cloned(),
            random: Rng::with_seed(seed.wrapping_mul(37)),
            widened: 0,
        }
    }

    pub(super) async fn run(
        mut self,
        stopped: watch::Receiver<bool>,
        is_calm: watch::Receiver<bool>,
    ) -> Result<()> {
        // The target has the tables once they are imported.
        while let Some(target) = &self.target {
            if *stopped.borrow() {
                return Ok(());
            }
            if is_there(target).await {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let mut n = 0;
        while !*stopped.borrow() {
            if *is_calm.borrow() {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let change = self.change(n);
            if let (Some(target), Some(sql)) = (&self.target, &change.before) {
                run(target, sql).await?;
            }
            run(&self.source, &change.source).await?;
            n += 1;
            tokio::time::sleep(REST * self.random.u32(1..6)).await;
        }
        // All tables are captured at the end.
        run(&self.source, &back()).await
    }

    /// Two different names of tables that are renamed.
    fn two_names(&mut self) -> [&'static str; 2] {
        let one = self.random.usize(0..NAMES.len());
        let other = (one + self.random.usize(1..NAMES.len())) % NAMES.len();
        [one, other].map(|name| NAMES.get(name).copied().unwrap_or_default())
    }

    /// The change `n`; each can be run again after it has been committed.
    fn change(&mut self, n: u64) -> Change {
        let before = if n == 0 { 0 } else { self.random.u64(0..n) };
        match self.random.u8(0..20) {
            0..3 => Change::both(format!("ALTER TABLE altered ADD COLUMN IF NOT EXISTS c{n} text")),
            3 => Change::both(format!(
                "ALTER TABLE altered ADD COLUMN IF NOT EXISTS e{n} int NOT NULL DEFAULT {n}, \
                 ADD COLUMN IF NOT EXISTS d{n} numeric"
            )),
            // A name is given to another column, of which the log tells nothing.
            4 => Change::source(format!(
                "DO $$ BEGIN IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'altered'::regclass AND attname = 'c{before}') THEN
                     ALTER TABLE altered DROP COLUMN c{before}; ALTER TABLE altered ADD COLUMN c{before} text;
                 END IF; END $$"
            )),
            5 => Change::source(format!("ALTER TABLE altered DROP COLUMN IF EXISTS c{before}")),
            6 => {
                let wider = WIDER.get(self.widened).unwrap_or(&"numeric");
                self.widened += 1;
                Change::both(format!("ALTER TABLE altered ALTER a TYPE {wider}"))
            }
            // Within a transaction, between two of its rows.
            7 => Change {
                before: Some(format!("ALTER TABLE altered ADD COLUMN IF NOT EXISTS c{n} text")),
                source: format!(
                    "BEGIN; UPDATE altered SET n = {n} WHERE id = {before};
                     ALTER TABLE altered ADD COLUMN IF NOT EXISTS c{n} text;
                     UPDATE altered SET n = -{n}, c{n} = b WHERE id = {before}; COMMIT"
                ),
            },
            8 => Change::source(format!(
                "BEGIN; UPDATE altered SET n = {n} WHERE id = {before}; ALTER TABLE altered ADD COLUMN passing int;
                 ALTER TABLE altered DROP COLUMN passing; UPDATE altered SET n = -{n} WHERE id = {before}; COMMIT"
            )),
            9 => Change::source(format!(
                "CREATE TABLE IF NOT EXISTS new_{n} (id int PRIMARY KEY, t text);
                 INSERT INTO new_{n} SELECT g, 'new' FROM generate_series(1, 20) g ON CONFLICT DO NOTHING"
            )),
            10 => Change::source(format!("DROP TABLE IF EXISTS new_{before}")),
            11 => Change::source(format!(
                "CREATE TABLE IF NOT EXISTS events_{n} PARTITION OF events FOR VALUES IN ('{n}');
                 INSERT INTO events SELECT g, '{n}', g FROM generate_series(1, 20) g ON CONFLICT DO NOTHING"
            )),
            // Often back again before the next look.
            12 => Change::source(
                "BEGIN; ALTER TABLE altered RENAME v TO passing; ALTER TABLE altered RENAME w TO v; ALTER TABLE altered RENAME passing TO w; COMMIT"
                    .to_owned(),
            ),
            13..16 => {
                let [one, other] = self.two_names();
                Change::source(renamed(one, other))
            }
            // Back again, in the same transaction or in the next.
            16 => {
                let [one, other] = self.two_names();
                let between = if self.random.bool() { "" } else { "COMMIT; BEGIN" };
                let (there, written) = (renamed(one, other), written(other, n));
                Change::source(format!("BEGIN; {there}; {written}; {between}; {there}; COMMIT"))
            }
            17 => Change::source(back()),
            // Rows that no writer writes to. An endpoint is not told of their end.
            18 => match (self.random.bool(), &self.target) {
                (_, None) => Change::source(written(HIDDEN, n)),
                (true, _) => Change::source(where_there(&format!(
                    "DELETE FROM {HIDDEN} WHERE id = {n} % 20; UPDATE {HIDDEN} SET id = -1 - id WHERE id = 20 + {n} % 20;"
                ))),
                (false, _) => Change::source(where_there(&format!(
                    "CREATE TEMP TABLE kept AS TABLE {HIDDEN}; TRUNCATE {HIDDEN}; INSERT INTO {HIDDEN} TABLE kept;"
                ))),
            },
            _ => Change::source(format!(
                "DO $$ BEGIN IF (SELECT relispartition FROM pg_class WHERE oid = to_regclass('events_{before}')) THEN
                     ALTER TABLE events DETACH PARTITION events_{before};
                     UPDATE events_{before} SET value = -1 WHERE id < 5;
                 END IF; END $$"
            )),
        }
    }
}

/// Gives a table of one of two names the other; exchanges them where both are there, and notes what is not captured
/// then. Keys go with their tables: the target still has the one of the old name.
fn renamed(one: &str, other: &str) -> String {
    let rename = |from: &str, to: &str| {
        format!("ALTER TABLE {from} RENAME TO {to}; ALTER INDEX {from}_pkey RENAME TO {to}_pkey;")
    };
    format!(
        "DO $$ DECLARE one regclass = to_regclass('{one}'); other regclass = to_regclass('{other}'); BEGIN
             IF one IS NOT NULL THEN {} END IF;
             IF other IS NOT NULL THEN {} END IF;
             IF one IS NOT NULL THEN {} END IF;
             IF to_regclass('{HIDDEN}') IS NOT NULL THEN
                 INSERT INTO moves SELECT home, -1, -1 FROM {HIDDEN} LIMIT 1;
             END IF;
         END $$",
        rename(one, "passing"),
        rename(other, one),
        rename("passing", other),
    )
}

/// Gives the table that nobody captures, if there is one, the first name that is free.
fn back() -> String {
    format!(
        "DO $$ DECLARE free text; BEGIN IF to_regclass('{HIDDEN}') IS NOT NULL THEN
             SELECT min(name) INTO free FROM unnest('{{{}}}'::text[]) name WHERE to_regclass(name) IS NULL;
             EXECUTE format('ALTER TABLE {HIDDEN} RENAME TO %I; ALTER INDEX {HIDDEN}_pkey RENAME TO %I', free, free || '_pkey');
         END IF; END $$",
        NAMES.join(",")
    )
}

/// Writes to a table, if it is there.
fn written(table: &str, n: u64) -> String {
    where_there(&format!("UPDATE {table} SET body = '{n}' WHERE id < 40;"))
}

/// Does what its tables have to be there for.
fn where_there(sql: &str) -> String {
    format!("DO $$ BEGIN {sql} EXCEPTION WHEN undefined_table THEN NULL; END $$")
}

/// Removes from the target what is dropped at the source; the stream leaves it there.
pub(super) async fn finish(source: &ConnectOptions, target: &ConnectOptions) -> Result<()> {
    let (source, target) = (session(source).await?, session(target).await?);
    let kept = removable(&source).await?;
    for sql in removable(&target).await?.iter().filter(|sql| !kept.contains(sql)) {
        target.batch_execute(sql).await.with_context(|| sql.clone())?;
    }
    source.close().await;
    target.close().await;
    Ok(())
}

async fn removable(client: &SqlClient) -> Result<Vec<String>> {
    Ok(client.query(REMOVABLE, &[]).await?.iter().map(|row| row.get(0)).collect())
}

async fn is_there(target: &ConnectOptions) -> bool {
    let Ok(client) = session(target).await else { return false };
    client.query_one(IS_THERE, &[]).await.is_ok_and(|row| row.get(0))
}

/// Runs a change until it is committed, whatever happens to the session.
async fn run(end: &ConnectOptions, sql: &str) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = attempt(end, sql).await {
        let code = error.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
        let passes =
            code.is_none_or(|code| PASSING.iter().any(|class| code.code().starts_with(class)));
        if !passes || start.elapsed() > PATIENCE {
            return Err(error.context(format!("a change of the schema failed: {sql}")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn attempt(end: &ConnectOptions, sql: &str) -> Result<()> {
    let client = session(end).await?;
    client.batch_execute("SET lock_timeout = '1s'").await?;
    client.batch_execute(sql).await?;
    client.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_comes_up() {
        let source: ConnectOptions = "postgresql://me@localhost/app".parse().unwrap();
        let all = |target| -> String {
            let mut migration = Migration::new(&source, target, 1);
            (0..400).map(|n| migration.change(n).source).collect()
        };
        let to_an_endpoint = all(None);
        assert!(to_an_endpoint.contains("UPDATE hidden_0 SET body"));
        assert!(!to_an_endpoint.contains("DELETE FROM hidden_0"));
        let all = all(Some(&source));
        let kinds = [
            "ADD COLUMN IF NOT EXISTS c",
            "ADD COLUMN IF NOT EXISTS e",
            "DROP COLUMN c",
            "DROP COLUMN IF EXISTS",
            "ALTER a TYPE numeric",
            "= b WHERE",
            "ADD COLUMN passing",
            "CREATE TABLE IF NOT EXISTS new_",
            "DROP TABLE",
            "PARTITION OF",
            "RENAME v TO",
            "DETACH",
            "ALTER TABLE moved_0 RENAME TO passing",
            "COMMIT; BEGIN; DO",
            "ALTER TABLE moved_0 RENAME TO hidden_0",
            "ALTER TABLE hidden_0 RENAME TO passing",
            "ALTER TABLE hidden_0 RENAME TO %I",
            "DELETE FROM hidden_0",
            "TRUNCATE hidden_0",
        ];
        for kind in kinds {
            assert!(all.contains(kind), "{kind}");
        }
    }
}
