//! The product's main job, shown: a database is copied and followed while it is written to, and then
//! compared with its copy, table by table.
//!
//! ```text
//!  worker   servers, demo.sql ─► snapshot ─► indexes ─► stream ──── stop ─► --complete
//!  writers                       ├────────── transactions ───────┤
//!  this     build                watches                                      compares
//! ```
//!
//! In: the files of `docs/examples`, as a user would give them. Out: a report, and an exit code that is 0 only
//! when source and target are identical.

mod watch;
mod worker;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use stream_core::throwaway::{Binaries, Server, ServerOptions, reachable_directory};

use crate::compare::{self, grouped};
use crate::postgres::{self, Wanted};
use crate::workspace::Workspace;
use watch::Watch;
use worker::Worker;
use writers::{Totals, Writers};

/// The documents of the stream, in `docs/examples`.
const DOCUMENTS: [&str; 3] =
    ["source-cluster.yaml", "target-cluster.yaml", "migration-stream.yaml"];
/// The clusters and the database that they name.
const CLUSTERS: [&str; 2] = ["source-cluster", "target-cluster"];
const DATABASE: &str = "myapp";
/// Lines of the worker's log that are shown after a failure.
const LOG_LINES: usize = 20;

/// How to show it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of writing after the copy is complete.
    #[arg(long, value_name = "N", default_value = "10")]
    seconds: u64,
}

/// Shows it; succeeds only when all is identical at the end.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let Args { seconds } = args;
    let provided = postgres::provide(workspace, &Wanted::Any)?;
    let mut build = workspace.cargo(&["build", "--release", "--package", "stream-worker"]);
    ensure!(
        build.status().context("`cargo` cannot be run")?.success(),
        "the worker does not build"
    );
    let demo = Demo {
        worker: workspace.target.join("release/stream-worker"),
        root: workspace.root.clone(),
        data: workspace.target.join("demo"),
        programs: provided.directories(),
        servers: provided.servers,
        streaming: Duration::from_secs(*seconds),
    };
    demo.clean()?;
    std::fs::create_dir_all(&demo.data)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let identical = runtime.block_on(demo.run());
    if let Ok(true) = identical {
        demo.clean()?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = std::fs::read_to_string(demo.log()).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let skipped = lines.len().saturating_sub(LOG_LINES);
    eprintln!("\nThe end of the worker's log, {}:", demo.log().display());
    eprintln!("{}", lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n"));
    identical.map(|_| ExitCode::FAILURE)
}

/// What it is shown with.
struct Demo {
    /// The program.
    worker: PathBuf,
    /// The repository.
    root: PathBuf,
    /// Where the clusters keep their data.
    data: PathBuf,
    /// Directories of PostgreSQL's programs.
    programs: Vec<PathBuf>,
    servers: Vec<Binaries>,
    /// How long to write after the copy.
    streaming: Duration,
}

/// When what was reached.
struct Times {
    filled: Instant,
    copied: Instant,
    indexed: Instant,
    caught_up: Instant,
}

impl Demo {
    async fn run(&self) -> Result<bool> {
        let began = Instant::now();
        let say = |text: &str| println!("{:>8}  {text}", seconds(began.elapsed()));
        println!("\n$ {}", self.command());
        say("two servers start, and the source is filled");
        let mut worker = Worker::start(self, &[])?;
        let [source, target] = worker.addresses().await?;
        let watch = Watch::open(&source, &target).await?;
        let (tables, rows, size) = watch.size().await?;
        say(&format!("the source has {} rows in {tables} tables, {size}", grouped(rows)));
        let writers = Writers::start(&source).await?;
        say(&format!("{} sessions write to it from now on", writers::SESSIONS));
        let filled = Instant::now();
        let seen = async {
            watch.until_copied().await?;
            let copied = Instant::now();
            say("all tables are copied");
            watch.until_indexed().await?;
            let indexed = Instant::now();
            say("indexes and foreign keys are built");
            watch.until_caught_up().await?;
            say("the target has caught up");
            anyhow::Ok(Times { filled, copied, indexed, caught_up: Instant::now() })
        };
        let times = worker.meanwhile(seen).await?;
        let wait = async {
            tokio::time::sleep(self.streaming).await;
            Ok(())
        };
        worker.meanwhile(wait).await?;
        let stopping = async { Ok((watch.lag().await?, writers.stop().await?)) };
        let (lag, totals) = worker.meanwhile(stopping).await?;
        watch.close().await;
        let cutover = Instant::now();
        say("the writers have stopped; so does the worker, to be started for the last time");
        worker.interrupt().await?;
        println!("\n$ {} --complete", self.command());
        Worker::start(self, &["--complete"])?.ends().await?;
        let cutover = cutover.elapsed();
        say("the stream is complete");

        let [source, target] = self.start_servers().await?;
        println!();
        let identical =
            compare::run(&source.url(DATABASE).parse()?, &target.url(DATABASE).parse()?).await?;
        summary(&times, rows, &totals, &lag, cutover);
        let all = seconds(began.elapsed());
        println!("\n{} after {all}", if identical { "identical" } else { "NOT IDENTICAL" });
        Ok(identical)
    }

    /// What a user would type.
    fn command(&self) -> String {
        let files = DOCUMENTS.map(|name| format!(" -f docs/examples/{name}")).concat();
        format!(
            "stream-worker local{files} \\\n      --init {}=docs/examples/demo.sql",
            CLUSTERS[0]
        )
    }

    /// Starts the servers on what the stream has left: they had stopped with the worker.
    async fn start_servers(&self) -> Result<[Server; 2]> {
        let starting = CLUSTERS.map(|cluster| {
            let home = self.home(cluster);
            let installed = self.servers.clone();
            tokio::task::spawn_blocking(move || {
                let home = home?;
                let major = std::fs::read_to_string(home.join("data/PG_VERSION"))?;
                let binaries = Binaries::choose(installed, Some(major.trim().parse()?))?;
                anyhow::Ok(Server::start(ServerOptions::kept(binaries, home))?)
            })
        });
        let [source, target] = starting;
        Ok([source.await??, target.await??])
    }

    fn home(&self, cluster: &str) -> Result<PathBuf> {
        Ok(reachable_directory(&self.data.join(format!("default.{cluster}")))?)
    }

    fn log(&self) -> PathBuf {
        self.data.join("worker.log")
    }

    fn clean(&self) -> Result<()> {
        for cluster in CLUSTERS {
            std::fs::remove_dir_all(self.home(cluster)?)?;
        }
        Ok(std::fs::remove_dir_all(&self.data)?)
    }
}

fn summary(times: &Times, rows: u64, totals: &Totals, lag: &str, cutover: Duration) {
    let Times { filled, copied, indexed, caught_up } = *times;
    let Totals { transactions, changes, time } = *totals;
    let copying = copied - filled;
    println!(
        "
snapshot  {} rows in {}, {} rows/s, the schema's import included
indexes   {}, foreign keys included; {} more to catch up with what was written meanwhile
writers   {} transactions with {} changes in {}, {} and {} a second
stream    {lag} behind when the writers stopped
cutover   {} until the worker had stopped and started, with both servers, and completed",
        grouped(rows),
        seconds(copying),
        grouped(per_second(rows, copying)),
        seconds(indexed - copied),
        seconds(caught_up - indexed),
        grouped(transactions),
        grouped(changes),
        seconds(time),
        grouped(per_second(transactions, time)),
        grouped(per_second(changes, time)),
        seconds(cutover),
    );
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f32())
}

fn per_second(count: u64, time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1000) / milliseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_of_any_time() {
        assert_eq!(per_second(10, Duration::from_millis(2500)), 4);
        assert_eq!(per_second(7, Duration::ZERO), 7000);
    }
}
