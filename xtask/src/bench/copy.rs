//! One large table, into an empty database.
//!
//! The anchor is the fastest thing to do by hand: `psql` piped into `psql`, in COPY's binary form.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::report::{Bars, Line, Run};
use super::worker::Stream;

const TABLE: &str = "CREATE TABLE public.t (id bigint NOT NULL, a int, b int, c text)";
const INDEXES: [&str; 3] = [
    "CREATE UNIQUE INDEX t_pkey ON public.t (id)",
    "CREATE INDEX t_a ON public.t (a)",
    "CREATE INDEX t_b ON public.t (b)",
];
const KEY: &str = "ALTER TABLE public.t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX t_pkey";
const ROWS: f64 = 4e6;
const CHECK: &str = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(a) || ' ' || sum(b) || ' ' || \
                     sum(length(c)) || ' ' || (SELECT count(*) FROM pg_index WHERE indrelid = 'public.t'::regclass) \
                     FROM public.t";
const DATA_CHECK: &str = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(a) || ' ' || sum(b) || ' ' || \
                          sum(length(c)) FROM public.t";

/// Data only: the table is there, without indexes.
pub(super) fn data_only(bench: &Bench) -> Result<Line> {
    fill(bench)?;
    let empty = || -> Result<()> {
        bench.target.renew()?;
        bench.target.execute([TABLE])
    };
    let (anchor, ours) = bench.rounds(
        |_| {
            empty()?;
            let meter = bench.ready()?;
            let start = Instant::now();
            pipe(bench)?;
            let run = meter.clients(start.elapsed());
            bench.compare(DATA_CHECK)?;
            Ok(run)
        },
        |_| {
            empty()?;
            let run = ours(bench, &Stream { snapshot: "initial_only", import: false })?;
            bench.compare(DATA_CHECK)?;
            Ok(run)
        },
    )?;
    let bars = Bars { ratio: Some(0.9), ..Bars::default() };
    Ok(Line { name: "copy".into(), rows: Some(ROWS * bench.scale), anchor, ours, bars })
}

/// End to end: nothing is there, and in the end all indexes are.
pub(super) fn with_indexes(bench: &Bench) -> Result<Line> {
    fill(bench)?;
    let (anchor, ours) = bench.rounds(
        |_| {
            bench.target.renew()?;
            bench.target.execute([TABLE])?;
            let meter = bench.ready()?;
            let start = Instant::now();
            pipe(bench)?;
            build_indexes(bench)?;
            let run = meter.clients(start.elapsed());
            bench.compare(CHECK)?;
            Ok(run)
        },
        |_| {
            bench.target.renew()?;
            let run = ours(bench, &Stream { snapshot: "initial_only", import: true })?;
            bench.compare(CHECK)?;
            Ok(run)
        },
    )?;
    let bars = Bars { ratio: Some(1.0), ..Bars::default() };
    Ok(Line { name: "copy-index".into(), rows: Some(ROWS * bench.scale), anchor, ours, bars })
}

/// Fills the source, unless it is filled.
fn fill(bench: &Bench) -> Result<()> {
    if bench.source.text("SELECT to_regclass('public.t')")?.is_empty() {
        println!("  filling the source");
        bench.source.renew()?;
        let rows = format!(
            "INSERT INTO public.t SELECT i, i % 1000, i % 100000, repeat('x', 100) \
             FROM generate_series(1, {}) i",
            bench.scaled(ROWS)
        );
        bench.source.execute([TABLE, &rows].into_iter().chain(INDEXES))?;
        bench.source.execute([KEY, "VACUUM ANALYZE public.t"])?;
    }
    Ok(())
}

/// Until the process ends, which removes slot and publication before.
fn ours(bench: &Bench, stream: &Stream) -> Result<Run> {
    let meter = bench.ready()?;
    let worker = bench.programs.worker(&bench.source, &bench.target, stream)?;
    Ok(meter.ended(bench.programs.start(worker)?.ends()?))
}

fn pipe(bench: &Bench) -> Result<()> {
    let mut from = bench.source.psql("COPY public.t TO STDOUT (FORMAT binary)")?;
    let mut from = Program::start(from.stdout(Stdio::piped()))?;
    let data = from.0.stdout.take().context("`psql` has no output")?;
    let mut to = bench.target.psql("COPY public.t FROM STDIN (FORMAT binary)")?;
    Program::start(to.stdin(data))?.ends()?;
    from.ends()
}

/// Side by side, as somebody in a hurry does; the key takes over an index that is there.
fn build_indexes(bench: &Bench) -> Result<()> {
    let building: Vec<_> = INDEXES
        .iter()
        .map(|index| Program::start(&mut bench.target.psql(index)?))
        .collect::<Result<_>>()?;
    building.into_iter().try_for_each(Program::ends)?;
    Program::start(&mut bench.target.psql(KEY)?)?.ends()
}

/// A client program; killed when it is dropped.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn().context("`psql` cannot be run")?))
    }

    fn ends(mut self) -> Result<()> {
        let status = self.0.wait()?;
        ensure!(status.success(), "`psql` failed ({status})");
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail for a program that has ended and was waited for: the usual case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
