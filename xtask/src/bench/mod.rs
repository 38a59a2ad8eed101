//! Measures streams against what PostgreSQL brings along, side by side on the same two servers.
//!
//! ```text
//! round 1          round 2          …        medians, and their ratio
//! anchor, ours     anchor, ours              against a bar
//! ```
//!
//! The two alternate, so that a machine that becomes slower does so for both. Every run starts after
//! a checkpoint of both servers and is checked: source and target hold the same afterwards.

mod copy;
mod decode;
mod http;
mod receiver;
mod report;
mod servers;
mod start;
mod stream;
mod usage;
mod worker;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::postgres::{self, Wanted};
use crate::workspace::Workspace;
use report::{Line, Report, Run};
use servers::Host;
use usage::{Cpu, Used};
use worker::Programs;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; without: everything.
    scenarios: Vec<Scenario>,
    /// How often; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Multiplies the rows; the bars are meant for 1.
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    scale: f64,
    /// The major version of both servers.
    #[arg(long, value_name = "N", default_value_t = 15)]
    postgres: u16,
    /// Fail when a bar is not met.
    #[arg(long)]
    check: bool,
}

/// A thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// One table of 4 million rows, data only.
    Copy,
    /// The same with primary key and two indexes.
    CopyIndex,
    /// A backlog of 1 million inserts in transactions of 10,000.
    Inserts,
    /// A backlog of 200,000 transactions that update one row.
    Updates,
    /// The same backlogs decoded and discarded.
    Decode,
    /// One transaction of 10 million rows.
    Giant,
    /// A stream that has nothing to do.
    Idle,
    /// From the start of the process to the first row.
    Start,
    /// Backlogs to an HTTP endpoint, and the encoder alone.
    Http,
    /// From a commit to its event at an HTTP endpoint.
    HttpDelay,
    /// The memory of a stream to an HTTP endpoint that takes nothing.
    HttpStalled,
}

/// Everything a scenario needs.
struct Bench {
    source: Host,
    target: Host,
    programs: Programs,
    runs: u16,
    scale: f64,
}

/// `cargo xtask bench`.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let Args { scenarios, runs, scale, postgres, check } = args;
    ensure!(scale.is_finite() && *scale > 0.0, "`--scale {scale}`: it must be more than 0");
    let directory = workspace.target.join("bench");
    println!("building the release programs");
    let scratch = directory.join(format!("run-{}", std::process::id()));
    let programs = Programs::build(workspace, &scratch)?;
    let provided = postgres::provide(workspace, &Wanted::These(vec![*postgres]))?;
    let binaries = provided.servers.first().context("no server was found")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runtime = Rc::new(runtime);
    let host = || Host::start(binaries, provided.clients.clone(), &runtime);
    let bench = Bench { source: host()?, target: host()?, programs, runs: *runs, scale: *scale };

    let mut report = Report::begin(workspace, &bench)?;
    for &scenario in Scenario::value_variants() {
        if scenarios.is_empty() || scenarios.contains(&scenario) {
            println!("{}", scenario.name());
            report.lines.extend(bench.measure(scenario)?);
        }
    }
    drop(bench);
    print!("\n{}", report.table());
    println!("\nraw results: {}", report.save(&directory)?.display());
    Ok(if *check && !report.all_met() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Scenario {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Bench {
    fn measure(&self, scenario: Scenario) -> Result<Vec<Line>> {
        Ok(match scenario {
            Scenario::Copy => vec![copy::data_only(self)?],
            Scenario::CopyIndex => vec![copy::with_indexes(self)?],
            Scenario::Inserts => vec![stream::backlog(self, "inserts", &stream::inserts(self))?],
            Scenario::Updates => vec![stream::backlog(self, "updates", &stream::updates(self))?],
            Scenario::Decode => vec![
                decode::discard(self, "decode inserts", &stream::inserts(self))?,
                decode::discard(self, "decode updates", &stream::updates(self))?,
            ],
            Scenario::Giant => vec![stream::backlog(self, "giant", &stream::giant(self))?],
            Scenario::Idle => vec![start::idle(self)?],
            Scenario::Start => start::first_row(self)?,
            Scenario::Http => http::rates(self)?,
            Scenario::HttpDelay => http::delay(self)?,
            Scenario::HttpStalled => vec![http::stalled(self)?],
        })
    }

    /// `count` at this run's scale, as SQL.
    fn scaled(&self, count: f64) -> String {
        format!("{:.0}", (count * self.scale).max(1.0))
    }

    /// Empty databases, and nothing left of earlier streams.
    fn renew(&self) -> Result<()> {
        self.target.renew()?;
        self.source.renew()
    }

    /// Runs anchor and ours in turn.
    fn rounds(
        &self,
        mut anchor: impl FnMut(u16) -> Result<Run>,
        mut ours: impl FnMut(u16) -> Result<Run>,
    ) -> Result<(Vec<Run>, Vec<Run>)> {
        let (mut anchors, mut all_ours) = (Vec::new(), Vec::new());
        for round in 1..=self.runs {
            for (side, runs) in [("anchor", &mut anchors), ("ours", &mut all_ours)] {
                let run = if side == "anchor" { anchor(round)? } else { ours(round)? };
                println!("  round {round} of {}: {side:6} {run}", self.runs);
                runs.push(run);
            }
        }
        Ok((anchors, all_ours))
    }

    /// Makes both servers ready, and notes what everybody has used.
    fn ready(&self) -> Result<Meter<'_>> {
        self.source.checkpoint()?;
        self.target.checkpoint()?;
        Ok(Meter { bench: self, before: self.cpu(), clients: usage::ended_children() })
    }

    fn cpu(&self) -> Cpu {
        Cpu::now(self.source.pid(), self.target.pid())
    }

    /// What a query gives at the source and at the target, which has to be the same.
    fn compare(&self, sql: &str) -> Result<()> {
        let (source, target) = (self.source.text(sql)?, self.target.text(sql)?);
        ensure!(source == target, "source and target differ: {source} and {target} by `{sql}`");
        Ok(())
    }
}

/// Tells what a run has used.
struct Meter<'a> {
    bench: &'a Bench,
    before: Cpu,
    clients: f64,
}

impl Meter<'_> {
    /// The end of a run of client programs that have all ended.
    fn clients(self, took: Duration) -> Run {
        let cpu = usage::ended_children() - self.clients;
        self.end(took, Used { cpu, ..Used::default() }, 0.0)
    }

    /// The end of a run of a program of ours that has ended.
    fn ended(self, (took, used): (Duration, Used)) -> Run {
        self.end(took, used, 0.0)
    }

    /// The end of a run of a program of ours that goes on.
    fn running(self, took: Duration, used: Used) -> Run {
        self.end(took, used, used.cpu)
    }

    fn end(self, took: Duration, used: Used, running: f64) -> Run {
        let spent = self.bench.cpu().since(self.before, running);
        let Used { cpu, peak, resident: _ } = used;
        Run { seconds: took.as_secs_f64(), cpu, memory: peak, spent }
    }
}
