//! Streams with next to nothing to do: how soon they work, and what they cost.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::report::{Bars, Line, Run};
use super::stream::streams;
use super::worker::{Running, Stream};

/// Starts that are timed: one takes no time, and a median of few jumps.
const STARTS: u16 = 10;
/// How often a row is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// How long an idle stream is left alone, and then measured.
const IDLE: Duration = Duration::from_secs(20);
const TABLE: &str = "CREATE TABLE public.s (id int PRIMARY KEY)";

/// A stream's memory after a while, and its CPU seconds in a minute.
pub(super) fn idle(bench: &Bench) -> Result<Line> {
    bench.renew()?;
    bench.source.execute([TABLE, "INSERT INTO public.s VALUES (1)"])?;
    let source = bench.source.session()?;
    let mut worker = start(bench, true)?;
    worker.until(LOOK, || streams(&source))?;
    thread::sleep(IDLE);
    let meter = bench.ready()?;
    let before = worker.used();
    thread::sleep(IDLE);
    let after = worker.used();
    let mut run = meter.running(IDLE, after);
    worker.stop()?;
    run.memory = after.resident;
    run.cpu = (after.cpu - before.cpu) * 60.0 / IDLE.as_secs_f64();
    println!("  {run}");
    let bars = Bars { mebibytes: 16.0, ..Bars::default() };
    Ok(Line { name: "idle".into(), rows: None, anchor: Vec::new(), ours: vec![run], bars })
}

/// From the start of the process to a row at the target: of a new stream, and of one that goes on.
pub(super) fn first_row(bench: &Bench) -> Result<Vec<Line>> {
    let (mut new, mut resumed) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        bench.renew()?;
        bench.target.execute([TABLE])?;
        bench.source.execute([TABLE, "INSERT INTO public.s VALUES (1)"])?;
        new.push(until_row(bench, 1)?);
        bench.source.execute(["INSERT INTO public.s VALUES (2)"])?;
        resumed.push(until_row(bench, 2)?);
    }
    let bars = Bars { seconds: Some(0.1), ..Bars::default() };
    let line = |name: &str, ours| {
        let (name, anchor) = (name.to_owned(), Vec::new());
        Line { name, rows: None, anchor, ours, bars }
    };
    Ok(vec![line("start", new), line("resume", resumed)])
}

/// Starts the stream, waits for the row, and stops it once it follows the log.
fn until_row(bench: &Bench, id: u32) -> Result<Run> {
    let (source, target) = (bench.source.session()?, bench.target.session()?);
    let meter = bench.ready()?;
    let mut worker = start(bench, false)?;
    let sql = format!("SELECT id FROM public.s WHERE id = {id}");
    let took = worker.until(LOOK, || Ok(!target.text(&sql)?.is_empty()))?;
    let run = meter.running(took, worker.used());
    println!("  row {id}: {run}");
    worker.until(LOOK, || streams(&source))?;
    worker.stop()?;
    Ok(run)
}

fn start(bench: &Bench, import: bool) -> Result<Running> {
    let stream = Stream { snapshot: "initial", import };
    bench.programs.start(bench.programs.worker(&bench.source, &bench.target, &stream)?)
}
