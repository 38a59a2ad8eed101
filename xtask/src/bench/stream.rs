//! A backlog that a stream finds when it starts.
//!
//! The anchor is native logical replication. Both are made before the backlog is, and timed until
//! their slot has confirmed all of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::report::{Bars, Line, Run};
use super::servers::Session;
use super::worker::{PATIENCE, Stream};

/// How often a slot is asked how far it is.
const LOOK: Duration = Duration::from_millis(20);
const PUBLISH: &str = "CREATE PUBLICATION native FOR TABLE public.w";
const CHECK: &str = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(a) FROM public.w";
const STREAMING: &str = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
const WIDE: &str = "CREATE TABLE public.w (id bigint PRIMARY KEY, a int, b int, c text)";
const NARROW: &str = "CREATE TABLE public.w (id bigint PRIMARY KEY, a int)";

/// What happens at the source.
pub(super) struct Load {
    /// The statement that makes the table.
    table: &'static str,
    /// The statement that fills it, at both ends.
    base: Option<String>,
    /// What makes the backlog.
    work: String,
    /// Changed rows, as to the rate.
    pub(super) rows: f64,
    bars: Bars,
}

/// Inserts in transactions of 10,000.
pub(super) fn inserts(bench: &Bench) -> Load {
    let transactions = bench.scaled(100.0);
    Load {
        table: WIDE,
        base: None,
        work: format!(
            "DO $$ BEGIN FOR k IN 0..{transactions} - 1 LOOP INSERT INTO public.w SELECT k * 10000 + i, i, i, \
             repeat('x', 100) FROM generate_series(1, 10000) i; COMMIT; END LOOP; END $$"
        ),
        rows: 1e6 * bench.scale,
        bars: Bars { ratio: Some(1.0), ..Bars::default() },
    }
}

/// Transactions that update one row.
pub(super) fn updates(bench: &Bench) -> Load {
    let (transactions, rows) = (bench.scaled(2e5), bench.scaled(1e5));
    Load {
        table: WIDE,
        base: Some(format!(
            "INSERT INTO public.w SELECT i, 0, 0, repeat('x', 100) FROM generate_series(1, {rows}) i"
        )),
        work: format!(
            "DO $$ BEGIN FOR k IN 1..{transactions} LOOP UPDATE public.w SET a = a + 1 WHERE id = k % {rows} + 1; \
             COMMIT; END LOOP; END $$"
        ),
        rows: 2e5 * bench.scale,
        bars: Bars { ratio: Some(2.0), ..Bars::default() },
    }
}

/// One transaction, much larger than the memory that the worker may use.
pub(super) fn giant(bench: &Bench) -> Load {
    let rows = bench.scaled(1e7);
    Load {
        table: NARROW,
        base: None,
        work: format!("INSERT INTO public.w SELECT i, i % 1000 FROM generate_series(1, {rows}) i"),
        rows: 1e7 * bench.scale,
        bars: Bars::default(),
    }
}

/// Times how a backlog is worked off.
pub(super) fn backlog(bench: &Bench, name: &str, load: &Load) -> Result<Line> {
    let (anchor, ours) = bench.rounds(|_| native(bench, load), |_| ours(bench, load))?;
    let (name, rows, bars) = (name.to_owned(), Some(load.rows), load.bars);
    Ok(Line { name, rows, anchor, ours, bars })
}

impl Load {
    /// Makes the table at the source, and whatever it holds before the backlog.
    pub(super) fn prepare(&self, bench: &Bench) -> Result<()> {
        bench.renew()?;
        for host in [&bench.source, &bench.target] {
            host.execute([self.table].into_iter().chain(self.base.as_deref()))?;
            host.execute(["VACUUM ANALYZE public.w"])?;
        }
        Ok(())
    }

    /// Makes the backlog; returns where it ends.
    pub(super) fn run(&self, bench: &Bench) -> Result<String> {
        bench.source.execute(["SET synchronous_commit = off", &self.work])?;
        bench.source.text("SELECT pg_current_wal_insert_lsn()")
    }
}

fn native(bench: &Bench, load: &Load) -> Result<Run> {
    load.prepare(bench)?;
    bench.source.execute([PUBLISH])?;
    let subscribe = format!(
        "CREATE SUBSCRIPTION native CONNECTION '{}' PUBLICATION native \
         WITH (copy_data = false, binary = true, enabled = false, synchronous_commit = off)",
        bench.source.conninfo()
    );
    bench.target.execute([subscribe.as_str()])?;
    let end = load.run(bench)?;
    let (source, target) = (bench.source.session()?, bench.target.session()?);
    let meter = bench.ready()?;
    let start = Instant::now();
    target.execute("ALTER SUBSCRIPTION native ENABLE")?;
    while !confirmed(&source, &end)? {
        ensure!(start.elapsed() < PATIENCE, "native replication takes too long");
        std::thread::sleep(LOOK);
    }
    let run = meter.clients(start.elapsed());
    bench.compare(CHECK)?;
    target.execute("DROP SUBSCRIPTION native")?;
    Ok(run)
}

fn ours(bench: &Bench, load: &Load) -> Result<Run> {
    load.prepare(bench)?;
    let stream = Stream { snapshot: "no_data", import: false };
    let start = || {
        let worker = bench.programs.worker(&bench.source, &bench.target, &stream)?;
        bench.programs.start(worker)
    };
    let source = bench.source.session()?;
    let mut worker = start()?;
    worker.until(LOOK, || streams(&source))?;
    worker.stop()?;
    let end = load.run(bench)?;
    let meter = bench.ready()?;
    let mut worker = start()?;
    let took = worker.until(LOOK, || confirmed(&source, &end))?;
    let run = meter.running(took, worker.used());
    bench.compare(CHECK)?;
    worker.stop()?;
    Ok(run)
}

/// Whether a stream follows the log.
pub(super) fn streams(source: &Session) -> Result<bool> {
    Ok(source.text(STREAMING)? == "1")
}

/// Whether the only slot has confirmed all below `end`.
fn confirmed(source: &Session, end: &str) -> Result<bool> {
    let sql = format!("SELECT bool_and(confirmed_flush_lsn >= '{end}') FROM pg_replication_slots");
    Ok(source.text(&sql)? == "t")
}
