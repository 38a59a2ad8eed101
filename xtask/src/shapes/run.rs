//! One run: some shapes in one database, from before the snapshot to the comparison of both ends.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use stream_core::postgres::{ConnectOptions, SqlClient};
use tokio::process::Command;

use super::definitions;
use super::lab::{Lab, SOURCE, TARGET};
use super::pair::Pair;
use super::shape::{Expected, Place, Script, Shape, Source};
use crate::compare::{self, Sequences};
use crate::torture::worker::Worker;

/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take with rows of 500 MB.
const LONG_PATIENCE: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What the log says once the tables are copied.
const STREAMING: &str = "phase=\"streaming\"";
/// Tells how far the source's changes have arrived.
const ROUNDS: &str = "public.shapes_round";

/// How the worker is run.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    /// Where PostgreSQL's programs are.
    pub(super) programs: Vec<PathBuf>,
    /// Where the stream's document and its log are.
    pub(super) directory: PathBuf,
}

impl Launch {
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("worker.log")
    }

    fn write_stream(&self, source: Source) -> Result<()> {
        let property = match source {
            Source::Property(property) => property,
            Source::Plain | Source::Encoded(_) | Source::Role | Source::Large => "",
        };
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: shapes}}\nspec:\n  source: {{type: SGCluster, \
             sgCluster: {{name: here, database: {SOURCE}, debeziumProperties: {{{property}}}}}}}\n  target: {{type: SGCluster, \
             sgCluster: {{name: there, database: {TARGET}}}}}\n  pods: {{persistentVolume: {{size: 1Gi}}}}\n"
        );
        File::create(self.log())?;
        Ok(std::fs::write(self.directory.join("stream.yaml"), yaml)?)
    }

    fn start(&self, urls: &[(&str, String); 2], complete: bool) -> Result<Worker> {
        let log = OpenOptions::new().append(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command.args(["local", "--log-format", "text", "-f", "stream.yaml"]);
        command.args(["--cluster", "here=env:SOURCE", "--cluster", "there=env:TARGET"]);
        for directory in &self.programs {
            command.arg("--postgres-dir").arg(directory);
        }
        if complete {
            command.arg("--complete");
        }
        command.envs(urls.iter().map(|(name, url)| (name, url))).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Worker::start(&mut command)
    }
}

/// What came of a run.
pub(super) enum Outcome {
    /// Both ends were compared: what is wrong with each shape.
    Compared(BTreeMap<&'static str, Vec<String>>),
    /// The worker ended by itself, with a code.
    Ended(Option<i32>),
}

/// Runs shapes that have the same kind of source.
pub(super) async fn run(
    lab: &mut Lab,
    launch: &Launch,
    pair: Pair,
    shapes: &[&'static Shape],
) -> Result<Outcome> {
    let kind = shapes.first().context("there is no shape to run")?.source;
    let (source, target) = lab.prepare(pair, kind).await?;
    launch.write_stream(kind)?;
    let urls = [("SOURCE", lab.source_url(pair, kind)?), ("TARGET", lab.target_url(pair)?)];
    let scripts: Vec<_> = shapes.iter().map(|shape| (*shape, shape.script())).collect();
    let run = Run {
        // Temporary tables live as long as their session.
        sessions: [SqlClient::connect(&source).await?, SqlClient::connect(&target).await?],
        patience: if kind == Source::Large { LONG_PATIENCE } else { PATIENCE },
        log: launch.log(),
    };
    run.on(Place::Source, &format!("CREATE TABLE {ROUNDS} (round int PRIMARY KEY)")).await?;
    run.round(&scripts, 0).await?;
    let mut worker = launch.start(&urls, false)?;
    if let Some(code) = run.until_copied(&mut worker).await? {
        return Ok(Outcome::Ended(code));
    }
    let rounds = scripts.iter().map(|(_, script)| script.steps.len()).max().unwrap_or_default();
    for round in 1..rounds {
        run.round(&scripts, round).await?;
        if let Some(code) = run.until_arrived(&mut worker, round).await? {
            return Ok(Outcome::Ended(code));
        }
    }
    worker.signal(Signal::INT)?;
    let stopped = worker.ends(run.patience).await?;
    ensure!(stopped.success(), "the worker failed when it was told to stop ({stopped})");
    let completed = launch.start(&urls, true)?.ends(run.patience).await?;
    if !completed.success() {
        return Ok(Outcome::Ended(completed.code()));
    }
    Ok(Outcome::Compared(run.compare(&source, &target, pair, &scripts).await?))
}

struct Run {
    /// At the source and at the target.
    sessions: [SqlClient; 2],
    patience: Duration,
    log: PathBuf,
}

type Scripts = [(&'static Shape, Script)];

impl Run {
    /// Runs the step of this number of each shape that has one.
    async fn round(&self, scripts: &Scripts, round: usize) -> Result<()> {
        for (shape, script) in scripts {
            let Some((place, sql)) = script.steps.get(round) else { continue };
            let ran = self.on(*place, sql).await;
            ran.with_context(|| format!("`{}`, step {round}", shape.name))?;
        }
        let mark = format!("INSERT INTO {ROUNDS} VALUES ({round})");
        self.on(Place::Source, &mark).await
    }

    async fn on(&self, place: Place, sql: &str) -> Result<()> {
        let [source, target] = &self.sessions;
        let client = match place {
            Place::Source => source,
            Place::Target => target,
        };
        client.batch_execute(sql).await?;
        Ok(client.batch_execute("RESET search_path").await?)
    }

    /// Waits until the tables are copied; the worker's code where it ends before.
    async fn until_copied(&self, worker: &mut Worker) -> Result<Option<Option<i32>>> {
        let start = Instant::now();
        while !std::fs::read_to_string(&self.log)?.contains(STREAMING) {
            if let Some(status) = worker.ended()? {
                return Ok(Some(status.code()));
            }
            ensure!(start.elapsed() < self.patience, "the tables were not copied in time");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(None)
    }

    /// Waits until the changes of a round are at the target; the worker's code where it ends before.
    async fn until_arrived(
        &self,
        worker: &mut Worker,
        round: usize,
    ) -> Result<Option<Option<i32>>> {
        let [_, target] = &self.sessions;
        let start = Instant::now();
        let sql = format!("SELECT EXISTS (SELECT FROM {ROUNDS} WHERE round = {round})");
        while !target.query_one(&sql, &[]).await?.get::<_, bool>(0) {
            if let Some(status) = worker.ended()? {
                return Ok(Some(status.code()));
            }
            ensure!(start.elapsed() < self.patience, "changes of round {round} did not arrive");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(None)
    }

    /// What is wrong with each shape.
    async fn compare(
        &self,
        source: &ConnectOptions,
        target: &ConnectOptions,
        pair: Pair,
        scripts: &Scripts,
    ) -> Result<BTreeMap<&'static str, Vec<String>>> {
        let mut found = compare::all_differences(source, target, Sequences::Compared).await?;
        found.extend(definitions::differences(source, target).await?);
        let log = std::fs::read_to_string(&self.log)?;
        let mut wrong = BTreeMap::new();
        for (shape, script) in scripts {
            let own = found.iter().filter(|difference| shape.has(&difference.schema));
            let mut lines: Vec<_> = own.map(|difference| difference.what.clone()).collect();
            if let Expected::Named(texts) = shape.expected(pair) {
                let missing = texts.iter().filter(|text| !log.contains(**text));
                lines.extend(missing.map(|text| format!("the worker does not say: {text}")));
            }
            if let Some(question) = &script.holds {
                let [_, there] = &self.sessions;
                let answer: Option<bool> = there.query_one(question, &[]).await?.get(0);
                if answer != Some(true) {
                    lines.push(format!("the target does not hold: {question}"));
                }
            }
            wrong.insert(shape.name, lines);
        }
        Ok(wrong)
    }
}

/// The last lines of a log, for a person.
pub(super) fn end_of(log: &Path) -> String {
    const LINES: usize = 12;
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES)).copied().collect::<Vec<_>>().join("\n")
}
