//! Reads the target all the time: every state that it sees has to be one that the source had.
//!
//! Each source transaction writes to four tables, and says which transactions it has seen itself. So a state that
//! holds a part of a transaction, one twice, or one without those before it, is noticed.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use stream_core::postgres::ConnectOptions;

use super::eyes::Session;
use super::workload::SUM;

const REST: Duration = Duration::from_millis(15);

/// Whether the target shows states of the source yet. Tables that come and go while the stream runs are of no interest.
const CONSISTENT: &str = "
SELECT coalesce(bool_and(p.position >= t.synced_at) AND bool_and(t.synced_at IS NOT NULL), false)
FROM sgstream.progress p JOIN sgstream.table_sync t USING (stream) WHERE table_name !~ '^(new|moved)_'";

/// One statement sees one state.
const STATE: &str = "
WITH c AS (SELECT array_agg(n ORDER BY writer) AS n FROM counters),
     t AS (SELECT array_agg(n ORDER BY writer) AS n FROM twins),
     j AS (SELECT writer, count(*) AS rows, count(DISTINCT n) AS different, max(n) AS last FROM journal GROUP BY writer),
     future AS (
        SELECT count(*) AS n FROM journal l JOIN j ON j.writer = l.writer AND j.last = l.n,
            unnest(l.seen) WITH ORDINALITY s(n, w), c
        WHERE s.n > c.n[s.w])
SELECT c.n, t.n, (SELECT sum(balance)::bigint FROM accounts), (SELECT count(*) FROM accounts),
    (SELECT array_agg(coalesce(j.last, -1) ORDER BY w) FROM generate_series(0, 3) w LEFT JOIN j ON j.writer = w),
    (SELECT coalesce(sum(rows), 0)::bigint FROM j), (SELECT coalesce(sum(different), 0)::bigint FROM j), future.n
FROM c, t, future";

/// Looks again and again.
pub(super) struct Reader {
    session: Session,
    consistent: bool,
    counters: Vec<i64>,
    /// How many states it has seen.
    pub(super) states: u64,
}

impl Reader {
    pub(super) fn new(target: &ConnectOptions) -> Self {
        Self { session: Session::new(target), consistent: false, counters: Vec::new(), states: 0 }
    }

    /// Reads until a state is wrong.
    pub(super) async fn run(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.look().await {
                return error;
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Reads once; a server that is away shows nothing.
    pub(super) async fn look(&mut self) -> Result<()> {
        if !self.consistent {
            let row = self.session.row(CONSISTENT).await;
            self.consistent = row.is_some_and(|row| row.get(0));
        }
        if !self.consistent {
            return Ok(());
        }
        let Some(row) = self.session.row(STATE).await else { return Ok(()) };
        let (counters, twins): (Vec<i64>, Vec<i64>) = (row.get(0), row.get(1));
        let (sum, accounts): (Option<i64>, i64) = (row.get(2), row.get(3));
        let (last, rows, different): (Vec<i64>, i64, i64) = (row.get(4), row.get(5), row.get(6));
        let expected: i64 = counters.iter().map(|n| n + 1).sum();
        ensure!(
            counters == twins && counters == last,
            "a state that never was: half a transaction: counters {counters:?}, twins {twins:?}, journal {last:?}"
        );
        ensure!(
            sum == Some(SUM),
            "a state that never was: {accounts} accounts hold {sum:?} and not {SUM}, at {counters:?}"
        );
        ensure!(
            rows <= expected && rows == different,
            "doubled: {rows} rows of {expected} transactions, {different} different"
        );
        ensure!(rows == expected, "lost: {rows} rows of {expected} transactions");
        ensure!(
            row.get::<_, i64>(7) == 0,
            "a state that never was: a transaction without one before it, at {counters:?}"
        );
        if self.counters.iter().zip(&counters).any(|(before, now)| now < before) {
            bail!("a state that never was: back from {:?} to {counters:?}", self.counters);
        }
        self.counters = counters;
        self.states += 1;
        Ok(())
    }
}
