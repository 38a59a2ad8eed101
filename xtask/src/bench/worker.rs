//! The programs under test, as processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::servers::{DATABASE, Host};
use super::usage::{self, Used};
use crate::workspace::Workspace;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long anything may take before it counts as hung.
pub(super) const PATIENCE: Duration = Duration::from_secs(900);

/// Where the programs are, and where they may write; removed when it is dropped.
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Builds the programs, and copies them: a build while they are measured must not change them.
    pub(super) fn build(workspace: &Workspace, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let programs = Self { directory: directory.to_owned() };
        for (what, built) in [
            (["--package=stream-worker", "--bin=stream-worker"], "stream-worker"),
            (["--package=stream-core", "--example=discard"], "examples/discard"),
            (["--package=stream-sinks", "--example=encode"], "examples/encode"),
        ] {
            let mut cargo = workspace.cargo(&["build", "--release", "--quiet"]);
            let status = cargo.args(what).status().context("`cargo` cannot be run")?;
            ensure!(status.success(), "`cargo build` failed");
            let built = workspace.target.join("release").join(built);
            let name = built.file_name().context("a program without a name")?;
            let copy = directory.join(name);
            fs::copy(&built, &copy).with_context(|| format!("`{}`", copy.display()))?;
        }
        Ok(programs)
    }

    /// The program that decodes and discards.
    pub(super) fn discard(&self, source: &Host, slot: &str, publication: &str) -> Command {
        let mut command = Command::new(self.directory.join("discard"));
        command.args([&source.url(), slot, publication]);
        command
    }

    /// `stream-worker local` from `source` to `target`.
    pub(super) fn worker(&self, source: &Host, target: &Host, stream: &Stream) -> Result<Command> {
        let file = self.directory.join("stream.yaml");
        fs::write(&file, stream.yaml())?;
        let mut command = Command::new(self.directory.join("stream-worker"));
        command.args(["local", "--log-format=json", "--file"]).arg(file);
        for (name, variable, host) in
            [("source", "BENCH_SOURCE", source), ("target", "BENCH_TARGET", target)]
        {
            command.args(["--cluster", &format!("{name}=env:{variable}")]);
            command.env(variable, host.url());
        }
        command.arg("--data-dir").arg(self.directory.join("data"));
        command.env("STREAM_POSTGRES_DIRS", source.programs());
        Ok(command)
    }

    /// `stream-worker local` from `source` to the endpoint at `url`, as a new stream. `http` is more of its block.
    pub(super) fn http(&self, source: &Host, url: &str, http: &str) -> Result<Command> {
        // Positions of an earlier stream are of a slot that is gone.
        let data = self.directory.join("data");
        if data.exists() {
            fs::remove_dir_all(data)?;
        }
        self.http_again(source, url, http)
    }

    /// As [`Self::http`], to go on with the same stream.
    pub(super) fn http_again(&self, source: &Host, url: &str, http: &str) -> Result<Command> {
        let file = self.directory.join("stream.yaml");
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\n\
             kind: SGStream\n\
             metadata: {{name: bench}}\n\
             spec:\n\
             \x20 source: {{type: SGCluster, sgCluster: {{name: source, database: {DATABASE}, \
             debeziumProperties: {{snapshotMode: no_data}}}}}}\n\
             \x20 target: {{type: CloudEvent, cloudEvent: {{http: {{url: '{url}'{http}}}}}}}\n\
             \x20 maxRetries: 0\n\
             \x20 pods: {{persistentVolume: {{size: 1Gi}}}}\n"
        );
        fs::write(&file, yaml)?;
        let mut command = Command::new(self.directory.join("stream-worker"));
        command.args(["local", "--log-format=json", "--file"]).arg(file);
        command.args(["--cluster", "source=env:BENCH_SOURCE"]).env("BENCH_SOURCE", source.url());
        command.arg("--data-dir").arg(self.directory.join("data"));
        command.env("STREAM_POSTGRES_DIRS", source.programs());
        Ok(command)
    }

    /// The program that only encodes events.
    pub(super) fn encode(&self) -> PathBuf {
        self.directory.join("encode")
    }

    /// Starts a program of ours, with its output in a file.
    pub(super) fn start(&self, mut command: Command) -> Result<Running> {
        let log = self.directory.join("log");
        let file = File::create(&log)?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("`{program}` cannot be run"))?;
        Ok(Running { child, started, used: Used::default(), log })
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // What is left behind is in the way of nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The manifest of a stream.
pub(super) struct Stream {
    /// The source's `snapshotMode`.
    pub(super) snapshot: &'static str,
    /// Whether the target gets its tables from the source.
    pub(super) import: bool,
}

impl Stream {
    fn yaml(&self) -> String {
        let Self { snapshot, import } = self;
        format!(
            "apiVersion: stackgres.io/v1alpha1\n\
             kind: SGStream\n\
             metadata: {{name: bench}}\n\
             spec:\n\
             \x20 source: {{type: SGCluster, sgCluster: {{name: source, database: {DATABASE}, \
             debeziumProperties: {{snapshotMode: {snapshot}}}}}}}\n\
             \x20 target: {{type: SGCluster, sgCluster: {{name: target, database: {DATABASE}, \
             skipDdlImport: {}}}}}\n\
             \x20 maxRetries: 0\n\
             \x20 pods: {{persistentVolume: {{size: 1Gi}}}}\n",
            !import
        )
    }
}

/// A program of ours that runs; killed when it is dropped.
pub(super) struct Running {
    child: Child,
    started: Instant,
    used: Used,
    log: PathBuf,
}

impl Running {
    /// Time since the process was started.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it has used up to now.
    pub(super) fn used(&mut self) -> Used {
        self.used = usage::used(self.child.id()).unwrap_or(self.used);
        self.used
    }

    /// Waits until `done`, and looks each `pause`.
    pub(super) fn until(
        &mut self,
        pause: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<Duration> {
        while !done()? {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended too early ({status}): {}", self.said());
            }
            ensure!(self.elapsed() < PATIENCE, "takes too long: {}", self.said());
            thread::sleep(pause);
        }
        Ok(self.elapsed())
    }

    /// Waits for its own end: how long it ran, and what it used.
    pub(super) fn ends(mut self) -> Result<(Duration, Used)> {
        let before = usage::ended_children();
        let status = self.wait()?;
        let elapsed = self.elapsed();
        ensure!(status.success(), "failed ({status}): {}", self.said());
        let cpu = usage::ended_children() - before;
        Ok((elapsed, Used { cpu, ..self.used }))
    }

    /// Stops it as Ctrl-C does.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        let signalled = Command::new("kill").args(["-s", "INT", &pid]).status()?;
        ensure!(signalled.success(), "`kill` failed");
        let status = self.wait()?;
        ensure!(status.success(), "did not stop well ({status}): {}", self.said());
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            self.used();
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(self.elapsed() < PATIENCE, "does not end: {}", self.said());
            thread::sleep(LOOK);
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for a process that has ended and was waited for: the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
