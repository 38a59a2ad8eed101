//! Worker processes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use stream_core::failpoint::Step;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::receiver::Receiver;
use super::workload::LARGE;

/// How a run starts its workers.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    /// The run's directory, with the stream's document and the log.
    pub(super) directory: PathBuf,
    /// The environment that says where the databases are.
    pub(super) variables: [(&'static str, String); 2],
    /// The endpoint that events go to; `None`: the target is the second database.
    pub(super) receiver: Option<Arc<Receiver>>,
    /// Whether transactions are received while they run.
    pub(super) in_progress: bool,
    /// Whether the schema changes, and tables get names that are excluded.
    pub(super) migrated: bool,
    /// Whether the endpoint is told of the large tables: it takes long, with an event for each row.
    pub(super) large: bool,
    /// Where PostgreSQL's programs are.
    pub(super) programs: Vec<PathBuf>,
}

impl Launch {
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("worker.log")
    }

    /// Where a worker keeps its position, if its target keeps none.
    pub(super) fn offsets(&self) -> PathBuf {
        self.directory.join("stream-data/offsets")
    }

    /// Writes a line of the run's own into the log.
    pub(super) fn note(&self, line: &str) -> Result<()> {
        let mut log = OpenOptions::new().create(true).append(true).open(self.log())?;
        Ok(writeln!(log, "== {line}")?)
    }

    pub(super) fn start(&self, complete: bool, die: Option<(Step, u64)>) -> Result<Worker> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command.args(["local", "--log-format", "text", "-f", "stream.yaml"]);
        command.args(["--cluster", "here=env:SOURCE"]);
        if self.receiver.is_none() {
            command.args(["--cluster", "there=env:TARGET"]);
        }
        for directory in &self.programs {
            command.arg("--postgres-dir").arg(directory);
        }
        if complete {
            command.arg("--complete");
        }
        if let Some((step, times)) = die {
            command.env("STREAM_FAILPOINT", format!("{step:?} {times}"));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Worker::start(&mut command)
    }

    /// Writes the stream's document.
    pub(super) fn write_stream(&self) -> Result<()> {
        let mut excludes: Vec<String> = Vec::new();
        if self.migrated {
            excludes.push("'public.hidden_.*'".to_owned());
        }
        let target = match &self.receiver {
            None => "type: SGCluster, sgCluster: {name: there, database: app}".to_owned(),
            Some(receiver) => {
                if !self.large {
                    excludes.extend(LARGE.map(|table| format!("'public.{table}'")));
                }
                format!(
                    "type: CloudEvent, cloudEvent: {{http: {{url: '{}', mode: batched, batchSize: 50, maxInFlight: 8, \
                     readTimeout: 1s, retryBackoffDelay: 1}}}}",
                    receiver.url()
                )
            }
        };
        let excludes = excludes.join(", ");
        let plugin = if self.in_progress { ", slotStreamParams: {streaming: 'on'}" } else { "" };
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: torture}}\nspec:\n  source: {{type: \
             SGCluster, sgCluster: {{name: here, database: app, debeziumProperties: {{snapshotMaxThreads: 2{plugin}}}, \
             excludes: [{excludes}]}}}}\n  \
             target: {{{target}}}\n  pods: {{persistentVolume: {{size: 1Gi}}}}\n"
        );
        Ok(std::fs::write(self.directory.join("stream.yaml"), yaml)?)
    }
}

/// A worker that runs; killed when it is dropped.
pub(crate) struct Worker(Child);

impl Worker {
    /// Runs a command that is one.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.kill_on_drop(true).spawn();
        let program = command.as_std().get_program();
        Ok(Self(child.with_context(|| format!("`{}` cannot be run", program.display()))?))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.0.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.context("the worker has ended by itself")?;
        Ok(kill_process(pid, signal)?)
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits for its end; one that takes longer is killed, which is an error.
    pub(crate) async fn ends(&mut self, patience: Duration) -> Result<ExitStatus> {
        if let Ok(status) = timeout(patience, self.0.wait()).await {
            return Ok(status?);
        }
        self.0.kill().await?;
        bail!("the worker did not end within {} s", patience.as_secs())
    }

    /// Its end, if it comes so soon.
    pub(super) async fn ends_within(&mut self, time: Duration) -> Result<Option<ExitStatus>> {
        match timeout(time, self.0.wait()).await {
            Ok(status) => Ok(Some(status?)),
            Err(_) => Ok(None),
        }
    }

    /// Kills it, as the kernel does.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.0.kill().await?)
    }
}

/// Whether the process died at a step that it was given.
pub(super) fn died(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::ABORT.as_raw())
}
