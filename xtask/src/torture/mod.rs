//! Streams through faults: for each seed a source is written to, a worker copies and follows it, and what can go
//! wrong goes wrong, at moments that the seed tells.
//!
//! ```text
//!  writers ──► source ══ network ══ worker ══ network ══ target ◄── reader: is every state one that was?
//!                 ▲                    ▲                    ▲
//!                 └───── faults, when the eyes see the phase and the writers are so far ─────┘
//! ```
//!
//! In: seeds. Out: a table of faults and phases, and an exit code that is 0 only when no run lost, doubled or tore
//! anything, and every target was identical to its source at the end. Where the target is an endpoint, the source's whole
//! log is compared with what the endpoint was told (`ledger`).

mod events;
mod eyes;
mod faults;
mod lab;
mod ledger;
mod migration;
mod native;
mod proxy;
mod reader;
mod receiver;
mod report;
mod run;
pub(crate) mod worker;
mod workload;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use fastrand::Rng;
use stream_core::throwaway::Binaries;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::postgres::{self, Wanted};
use crate::workspace::Workspace;
use faults::{End, Fault};
use lab::Lab;
use receiver::Receiver;
use report::Report;
use run::Record;
use worker::Launch;

/// One seed of so many receives large transactions while they run.
const IN_PROGRESS: u64 = 2;
/// One seed of so many, the first of them, has an endpoint told of the large tables.
const LARGE_OF: u64 = 4;

/// Which runs.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value = "10")]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "S", default_value = "1")]
    first_seed: u64,
    /// How many run at once.
    #[arg(long, value_name = "J", default_value = "2")]
    jobs: u64,
    /// Where the changes go.
    #[arg(long, value_enum, default_value = "postgres")]
    target: Target,
    /// Only faults whose name in the table contains this, such as `SIGKILL` or `target:`.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// A worker built with the feature `failpoints`; without: it is built now.
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// Where the changes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// Another database.
    Postgres,
    /// An endpoint that fails, hangs and breaks off.
    Http,
}

impl Target {
    /// The name of a run's directory.
    fn run(self, seed: u64) -> String {
        match self {
            Self::Postgres => seed.to_string(),
            Self::Http => format!("http-{seed}"),
        }
    }

    /// The arguments that repeat a run.
    fn arguments(self, seed: u64) -> String {
        let target = if self == Self::Http { " --target http" } else { "" };
        format!("--seeds 1 --first-seed {seed}{target}")
    }
}

/// Runs all seeds; fails when one does.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let provided = postgres::provide(workspace, &Wanted::Any)?;
    let torture = Torture {
        only: args.only.clone(),
        target: args.target,
        directory: workspace.target.join("torture"),
        programs: provided.directories(),
        server: provided.servers.into_iter().next().context("there is no server")?,
    };
    torture.take_worker(workspace, args.worker.as_deref())?;
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = torture.all(args) => report,
            signal = stop_signal() => Err(anyhow!("stopped by {}", signal?)),
        }
    });
    // With it end the runs, and with each its worker and its servers.
    drop(runtime);
    std::fs::remove_file(torture.program())?;
    let report = report?;
    println!("\n{report}");
    println!("{} s", began.elapsed().as_secs());
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for somebody who does not want to wait for the last seed; the signal's name.
async fn stop_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// What all runs have in common.
#[derive(Clone)]
struct Torture {
    /// What the names of faults contain.
    only: String,
    target: Target,
    /// Where each seed has a directory, and the worker's program is.
    directory: PathBuf,
    programs: Vec<PathBuf>,
    server: Binaries,
}

impl Torture {
    /// A worker that dies where it is told to, copied to where no other build replaces it.
    fn take_worker(&self, workspace: &Workspace, built: Option<&Path>) -> Result<()> {
        let built = match built {
            Some(built) => built.to_owned(),
            None => {
                let build = ["build", "--package", "stream-worker", "--features", "failpoints"];
                let status = workspace.cargo(&build).status().context("`cargo` cannot be run")?;
                ensure!(status.success(), "the worker does not build");
                workspace.target.join("debug/stream-worker")
            }
        };
        std::fs::create_dir_all(&self.directory)?;
        std::fs::copy(&built, self.program())
            .with_context(|| format!("cannot copy `{}`", built.display()))?;
        Ok(())
    }

    /// What to look at and what to run after a failure.
    fn again(&self, seed: u64) -> String {
        let log = self.directory.join(self.target.run(seed)).join("worker.log");
        let only = match &*self.only {
            "" => String::new(),
            only => format!(" --only '{only}'"),
        };
        let arguments = self.target.arguments(seed);
        format!(
            "the worker's log: {}\n  again: cargo xtask torture {arguments}{only}",
            log.display()
        )
    }

    fn program(&self) -> PathBuf {
        self.directory.join(format!("stream-worker-{}", std::process::id()))
    }

    async fn all(&self, args: &Args) -> Result<Report> {
        let seeds = Arc::new(Mutex::new(args.first_seed..args.first_seed + args.seeds));
        let report = Arc::new(Mutex::new(Report::default()));
        let mut jobs = JoinSet::new();
        for job in 0..args.jobs.max(1) {
            let (this, seeds, report) = (self.clone(), seeds.clone(), report.clone());
            jobs.spawn(async move {
                let mut lab = None;
                loop {
                    let next = seeds.lock().ok().and_then(|mut seeds| seeds.next());
                    let Some(seed) = next else { return anyhow::Ok(()) };
                    let began = Instant::now();
                    let (record, ended) = this.one(&mut lab, job, seed).await;
                    if let Ok(mut report) = report.lock() {
                        report.add(seed, &record, ended, began.elapsed(), &this.again(seed));
                    }
                }
            });
        }
        while let Some(ended) = jobs.join_next().await {
            ended??;
        }
        let report = report.lock().map(|mut report| std::mem::take(&mut *report));
        report.map_err(|_| anyhow::anyhow!("a run ended in a panic"))
    }

    /// Runs a seed on the servers of a job; ones that are broken are replaced for the next.
    async fn one(&self, kept: &mut Option<Lab>, job: u64, seed: u64) -> (Record, Result<()>) {
        let prepared = async {
            let directory = self.directory.join(self.target.run(seed));
            if directory.exists() {
                std::fs::remove_dir_all(&directory)?;
            }
            std::fs::create_dir_all(&directory)?;
            let lab = match kept.take() {
                Some(lab) => lab,
                None => Lab::start(&self.server, job).await?,
            };
            let receiver = match self.target {
                Target::Postgres => None,
                Target::Http => Some(Arc::new(Receiver::start(seed).await?)),
            };
            let launch = Launch {
                program: self.program(),
                directory,
                variables: [("SOURCE", lab.url(End::Source)), ("TARGET", lab.url(End::Target))],
                receiver,
                in_progress: seed.is_multiple_of(IN_PROGRESS),
                migrated: migration::has(seed),
                large: seed % LARGE_OF == 1,
                programs: self.programs.clone(),
            };
            launch.write_stream()?;
            anyhow::Ok((launch, lab))
        };
        let (launch, mut lab) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return (Record::default(), Err(error)),
        };
        let disk = lab.has_disk();
        let plan = faults::plan(&mut Rng::with_seed(seed), |fault| {
            fault.name().contains(&self.only)
                && (disk || !matches!(fault, Fault::DiskFull(_)))
                && (self.target == Target::Postgres || fault.is_met_by_events())
        });
        let (record, ended) = run::run(&mut lab, &launch, seed, plan).await;
        if ended.is_ok() {
            *kept = Some(lab);
        } else {
            lab.keep_logs(&launch.directory);
        }
        (record, ended)
    }
}
