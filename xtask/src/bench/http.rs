//! Streams to an HTTP endpoint on this machine. There is no anchor: the bars are numbers.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::receiver::Receiver;
use super::report::{Bars, Line, Run};
use super::stream::streams;
use super::usage::{Spent, Used};
use super::worker::{PATIENCE, Running};

const LOOK: Duration = Duration::from_millis(5);
const TABLE: &str = "CREATE TABLE public.w (id bigint PRIMARY KEY, a int, written bigint, c text)";
/// Transactions a second, while the delay is measured.
const PACE: u32 = 1_000;
/// How long it is measured.
const MEASURED: Duration = Duration::from_secs(20);
/// How long the sink takes nothing.
const STALLED: Duration = Duration::from_secs(20);

/// How many events there can be in a second.
pub(super) fn rates(bench: &Bench) -> Result<Vec<Line>> {
    Ok(vec![
        backlog(bench, "http, one each", ", maxInFlight: 64", 2e5, 1e4)?,
        backlog(bench, "http, batched", ", mode: batched, maxInFlight: 4", 1e6, 5e4)?,
        encoder(bench)?,
    ])
}

/// A worker that follows the log, to `receiver`.
fn start(bench: &Bench, receiver: &Receiver, http: &str) -> Result<Running> {
    let worker = bench.programs.http(&bench.source, &receiver.url(), http)?;
    let mut worker = bench.programs.start(worker)?;
    let source = bench.source.session()?;
    worker.until(LOOK, || streams(&source))?;
    Ok(worker)
}

/// Inserts `rows`, as SQL, in transactions of 1,000.
fn inserts(rows: f64) -> String {
    let transactions = (rows / 1e3).max(1.0);
    format!(
        "DO $$ BEGIN FOR k IN 0..{transactions:.0} - 1 LOOP INSERT INTO public.w SELECT k * 1000 + i, i, 0, \
         repeat('x', 150) FROM generate_series(1, 1000) i; COMMIT; END LOOP; END $$"
    )
}

/// Works off a backlog of `rows`, of which `bar` are to be delivered a second.
fn backlog(bench: &Bench, name: &str, http: &str, rows: f64, bar: f64) -> Result<Line> {
    let rows = (rows * bench.scale).max(1e3);
    let mut ours = Vec::new();
    for round in 1..=bench.runs {
        let receiver = Receiver::start()?;
        prepare(bench)?;
        start(bench, &receiver, http)?.stop()?;
        bench.source.execute(["SET synchronous_commit = off", &inserts(rows)])?;
        let meter = bench.ready()?;
        let worker = bench.programs.http_again(&bench.source, &receiver.url(), http)?;
        let mut worker = bench.programs.start(worker)?;
        let took = worker.until(LOOK, || Ok(count(receiver.events()) >= rows))?;
        let run = meter.running(took, worker.used());
        worker.stop()?;
        println!("  round {round} of {}: {run}, {} requests", bench.runs, receiver.requests());
        ours.push(run);
    }
    let bars = Bars { seconds: Some(rows / bar), ..Bars::default() };
    Ok(Line { name: name.to_owned(), rows: Some(rows), anchor: Vec::new(), ours, bars })
}

fn prepare(bench: &Bench) -> Result<()> {
    bench.renew()?;
    bench.source.execute([TABLE])
}

/// The encoder alone, which prints what it does in a second.
fn encoder(bench: &Bench) -> Result<Line> {
    let mut ours = Vec::new();
    for round in 1..=bench.runs {
        let meter = bench.ready()?;
        let start = Instant::now();
        let output = Command::new(bench.programs.encode()).output().context("`encode`")?;
        ensure!(output.status.success(), "the encoder failed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate =
            said.split_whitespace().find_map(|word| word.replace([',', '_'], "").parse().ok());
        let rate: f64 = rate.with_context(|| format!("no rate in `{said}`"))?;
        let mut run = meter.ended((start.elapsed(), Used::default()));
        run.seconds = 1e6 / rate;
        println!("  round {round} of {}: {}", bench.runs, said.trim());
        ours.push(run);
    }
    let bars = Bars { seconds: Some(1e6 / 2e5), ..Bars::default() };
    let name = "http, encoder alone".to_owned();
    Ok(Line { name, rows: Some(1e6), anchor: Vec::new(), ours, bars })
}

/// From a row's writing, its commit included, to the coming of its event: half of the events, and 99 of 100, are as fast.
///
/// Commits reach the log's file at once (a `synchronous_commit = off` would keep them from the source's reader for up to
/// `wal_writer_delay`, 200 ms), but do not wait for the disk, which is the source's own time.
pub(super) fn delay(bench: &Bench) -> Result<Vec<Line>> {
    bench.source.wait_for_disk(false)?;
    let lines = delays(bench);
    bench.source.wait_for_disk(true)?;
    lines
}

fn delays(bench: &Bench) -> Result<Vec<Line>> {
    let (mut halves, mut most) = (Vec::new(), Vec::new());
    for round in 1..=bench.runs {
        let receiver = Receiver::start()?;
        prepare(bench)?;
        let mut worker = start(bench, &receiver, ", maxInFlight: 16")?;
        let source = bench.source.session()?;
        let meter = bench.ready()?;
        let begun = Instant::now();
        let mut number = 0_u32;
        while begun.elapsed() < MEASURED.mul_f64(bench.scale.min(1.0)) {
            let now = stream_core::clock::now().duration_since(UNIX_EPOCH)?.as_micros();
            source.execute(&format!("INSERT INTO public.w VALUES ({number}, 1, {now}, 'x')"))?;
            number += 1;
            let next = Duration::from_secs(1) / PACE * number;
            thread::sleep(next.saturating_sub(begun.elapsed()));
        }
        let written = begun.elapsed();
        worker.until(LOOK, || Ok(receiver.events() >= u64::from(number)))?;
        let run = meter.running(written, worker.used());
        worker.stop()?;
        let delays = receiver.delays();
        let at = |part: f64| -> Run {
            let index = count(u64::try_from(delays.len()).unwrap_or(0)) * part;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index, which is small and not negative"
            )]
            let micros = delays.get(index as usize).copied().unwrap_or_default();
            let seconds = Duration::from_micros(micros).as_secs_f64();
            // Others had their part of the whole time, not of the delay.
            let others = run.spent.others / run.seconds * seconds;
            Run { seconds, spent: Spent { others, ..run.spent }, ..run }
        };
        println!(
            "  round {round} of {}: {:.0} transactions/s, p50 {:.1} ms, p99 {:.1} ms",
            bench.runs,
            f64::from(number) / written.as_secs_f64(),
            at(0.5).seconds * 1e3,
            at(0.99).seconds * 1e3,
        );
        halves.push(at(0.5));
        most.push(at(0.99));
    }
    let line = |name: &str, ours, bar| Line {
        name: name.to_owned(),
        rows: None,
        anchor: Vec::new(),
        ours,
        bars: Bars { seconds: Some(bar), ..Bars::default() },
    };
    Ok(vec![line("http, delay p50", halves, 0.005), line("http, delay p99", most, 0.02)])
}

/// The memory of a worker whose sink takes nothing, with 2 GB of log behind.
pub(super) fn stalled(bench: &Bench) -> Result<Line> {
    let receiver = Receiver::start()?;
    prepare(bench)?;
    let mut worker = start(bench, &receiver, ", mode: batched, maxInFlight: 64")?;
    receiver.stall();
    let begun = bench.source.text("SELECT pg_current_wal_insert_lsn()")?;
    let written =
        format!("SELECT (pg_current_wal_insert_lsn() - '{begun}') >= {:.0}", 2e9 * bench.scale);
    let mut first = 0;
    let source = bench.source.session()?;
    source.execute("SET synchronous_commit = off")?;
    while source.text(&written)? != "t" {
        source.execute(&format!(
            "INSERT INTO public.w SELECT {first} + i, i, 0, repeat('x', 150) FROM generate_series(1, 20000) i"
        ))?;
        first += 20_000;
        ensure!(worker.elapsed() < PATIENCE, "2 GB take too long to write");
    }
    let meter = bench.ready()?;
    thread::sleep(STALLED);
    let run = meter.running(STALLED, worker.used());
    println!("  {run}, {} requests without an answer", receiver.requests());
    drop(worker);
    let name = "http, stalled".to_owned();
    Ok(Line { name, rows: None, anchor: Vec::new(), ours: vec![run], bars: Bars::default() })
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 52 bits")]
fn count(number: u64) -> f64 {
    number as f64
}
