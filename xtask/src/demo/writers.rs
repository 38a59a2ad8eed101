//! Sessions that write to the source while it is copied and followed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use stream_core::postgres::{ConnectOptions, SqlClient};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_postgres::SimpleQueryMessage;

/// How many sessions write.
pub(super) const SESSIONS: usize = WORK.len();

/// From one transaction of a session to its next.
const PACE: Duration = Duration::from_millis(5);

/// A transaction: statements that each say how many rows they changed.
type Transaction = &'static [&'static str];

/// What each session does, over and over. No two change the same rows in another order, so that none deadlocks.
const WORK: [&[Transaction]; 6] = [&[BANK], &[BANK], SHOP, DOCUMENTS, EVENTS, ODD];

const BANK: Transaction = &[
    "UPDATE pgbench_accounts SET abalance = abalance + 7 WHERE aid = (SELECT 1 + floor(random() * 1000000)::int)",
    "UPDATE pgbench_tellers SET tbalance = tbalance + 7 WHERE tid = (SELECT 1 + floor(random() * 100)::int)",
    "UPDATE pgbench_branches SET bbalance = bbalance + 7 WHERE bid = (SELECT 1 + floor(random() * 10)::int)",
    "INSERT INTO pgbench_history SELECT 1 + n % 100, 1 + n % 10, n, 7, now() FROM (SELECT floor(random() * 1000000)::int AS n) AS random",
];

const SHOP: &[Transaction] = &[
    &[
        "INSERT INTO shop.orders (customer_id, note) SELECT 1 + floor(random() * 100000)::int, 'invoice ' || nextval('shop.invoice_number')",
        "INSERT INTO shop.order_lines SELECT currval('shop.orders_id_seq'), n, 'sku-' || 1000 + floor(random() * 1000), n FROM generate_series(1, 3) n",
    ],
    &[
        "UPDATE shop.orders SET state = 'sent' WHERE id = (SELECT 1 + floor(random() * 100000)::int)",
        "UPDATE shop.customers SET tags = tags || 'new', profile = profile || '{\"seen\": true}' WHERE id = (SELECT 1 + floor(random() * 100000)::int)",
    ],
    // A key changes, and with it the rows that refer to it.
    &[
        "UPDATE shop.products SET sku = sku || '+' WHERE sku = (SELECT 'sku-' || 2500 + floor(random() * 2500))",
    ],
    &[
        "DELETE FROM shop.order_lines WHERE order_id = (SELECT min(id) FROM shop.orders)",
        "DELETE FROM shop.orders WHERE id = (SELECT min(id) FROM shop.orders)",
    ],
    &[
        "INSERT INTO shop.customers (email) SELECT md5(random()::text) || '@example.com'",
        "SAVEPOINT attempt",
        "UPDATE shop.customers SET email = 'never@seen' WHERE id = currval('shop.customers_id_seq')",
        "DELETE FROM shop.customers WHERE id = currval('shop.customers_id_seq')",
        "ROLLBACK TO attempt",
        "UPDATE shop.customers SET home = ROW('Street', NULL) WHERE id = currval('shop.customers_id_seq')",
    ],
];

const DOCUMENTS: &[Transaction] = &[
    // The long value stays as it is, and the log does not show it.
    &[
        "UPDATE shop.documents SET title = title || '.' WHERE id = (SELECT 1 + floor(random() * 1000)::int)",
    ],
    &[
        "UPDATE shop.documents SET body = repeat(md5(random()::text), 300) WHERE id = (SELECT 1 + floor(random() * 1000)::int)",
    ],
    &["INSERT INTO shop.documents (title, body) SELECT 'New', repeat(md5(random()::text), 200)"],
    &["DELETE FROM shop.documents WHERE id = (SELECT min(id) FROM shop.documents WHERE id > 1000)"],
    // The key changes and the long value does not.
    &["UPDATE shop.documents SET id = -id WHERE id = (SELECT max(id) FROM shop.documents)"],
];

const EVENTS: &[Transaction] = &[
    &[
        "INSERT INTO metrics.events SELECT nextval('metrics.event_id'), '2024-02-01 00:00Z'::timestamptz + n * interval '33 days', 'click', n FROM generate_series(1, 30) n",
    ],
    // Rows move from one partition to another.
    &[
        "UPDATE metrics.events SET kind = 'view' WHERE id = (SELECT max(id) - 5 FROM metrics.events) AND kind = 'click'",
    ],
    &[
        "DELETE FROM metrics.events WHERE id BETWEEN (SELECT min(id) FROM metrics.events) AND (SELECT min(id) + 9 FROM metrics.events)",
    ],
    &[
        "UPDATE metrics.events SET value = -value WHERE id = (SELECT 5000 + floor(random() * 200000)::int)",
    ],
];

const ODD: &[Transaction] = &[
    &["INSERT INTO audit.log SELECT now(), 'demo', 'wrote', '1 s' FROM generate_series(1, 2)"],
    &["UPDATE audit.log SET took = took * 2 WHERE ctid = (SELECT min(ctid) FROM audit.log)"],
    &["DELETE FROM audit.log WHERE ctid = (SELECT min(ctid) FROM audit.log)"],
    &[
        "UPDATE \"Odd Names\".\"Order \"\"1\"\"\" SET \"select\" = \"select\" + 1000 WHERE \"select\" = (SELECT min(\"select\") FROM \"Odd Names\".\"Order \"\"1\"\"\")",
    ],
    &[
        "UPDATE shop.\"all types\" SET small = -small, \"numeric\" = NULL WHERE id = (SELECT md5((1 + floor(random() * 1000))::text)::uuid)",
    ],
    &["TRUNCATE staging.incoming", "COPY staging.incoming (n) FROM PROGRAM 'seq 1 200'"],
    &[
        "INSERT INTO staging.empty VALUES (1)",
        "DELETE FROM staging.empty",
        "INSERT INTO staging.\"nothing at all\" DEFAULT VALUES",
    ],
];

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Transactions that were committed.
    pub(super) transactions: u64,
    /// Rows that they inserted, updated or deleted.
    pub(super) changes: u64,
    /// How long that took.
    pub(super) time: Duration,
}

/// Sessions that write until they are told to stop.
pub(super) struct Writers {
    sessions: JoinSet<Result<Totals>>,
    stop: watch::Sender<bool>,
    started: Instant,
}

impl Writers {
    pub(super) async fn start(source: &ConnectOptions) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut sessions = JoinSet::new();
        for work in WORK {
            let client = SqlClient::connect(source).await?;
            client.batch_execute("SET search_path = public").await?;
            sessions.spawn(write(client, work, stopped.clone()));
        }
        Ok(Self { sessions, stop, started: Instant::now() })
    }

    /// Lets every session finish its transaction.
    pub(super) async fn stop(mut self) -> Result<Totals> {
        self.stop.send_replace(true);
        let mut totals = Totals::default();
        while let Some(session) = self.sessions.join_next().await {
            let Totals { transactions, changes, time: _ } = session??;
            totals.transactions += transactions;
            totals.changes += changes;
        }
        totals.time = self.started.elapsed();
        Ok(totals)
    }
}

async fn write(
    client: SqlClient,
    work: &[Transaction],
    stopped: watch::Receiver<bool>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for transaction in work.iter().cycle() {
        pace.tick().await;
        if *stopped.borrow() {
            break;
        }
        let sql = format!("BEGIN; {}; COMMIT", transaction.join("; "));
        let answers = client.simple_query(&sql).await.with_context(|| format!("writing: {sql}"))?;
        let mut counts = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(count) => Some(*count),
            _ => None,
        });
        // That of `BEGIN`.
        counts.next();
        totals.transactions += 1;
        totals.changes += kept(transaction, counts);
    }
    client.close().await;
    Ok(totals)
}

/// The changes of a transaction, without those that it took back.
fn kept(transaction: Transaction, counts: impl Iterator<Item = u64>) -> u64 {
    let (mut changes, mut savepoint) = (0, 0);
    for (statement, count) in transaction.iter().zip(counts) {
        if statement.starts_with("SAVEPOINT") {
            savepoint = changes;
        } else if statement.starts_with("ROLLBACK TO") {
            changes = savepoint;
        } else {
            changes += count;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_were_taken_back_do_not_count() {
        let transaction = &["INSERT", "SAVEPOINT s", "UPDATE", "ROLLBACK TO s", "DELETE"];
        assert_eq!(kept(transaction, [1, 0, 10, 0, 100].into_iter()), 101);
    }
}
