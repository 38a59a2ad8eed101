//! The worker as a user starts it; what it logs goes to a file.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use stream_core::postgres::ConnectOptions;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{CLUSTERS, DOCUMENTS, Demo};

/// How long a worker whose servers are gone may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker that runs; killed when it is dropped.
pub(super) struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts it, with `more` arguments.
    pub(super) fn start(demo: &Demo, more: &[&str]) -> Result<Self> {
        let examples = demo.root.join("docs/examples");
        let mut command = Command::new(&demo.worker);
        command.arg("local").args(["--log-format", "text", "--data-dir"]).arg(&demo.data);
        for name in DOCUMENTS {
            command.arg("-f").arg(examples.join(name));
        }
        command.arg("--init");
        command.arg(format!("{}={}", CLUSTERS[0], examples.join("demo.sql").display()));
        for directory in &demo.programs {
            command.arg("--postgres-dir").arg(directory);
        }
        let log = OpenOptions::new().create(true).append(true).open(demo.log())?;
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("`{}` cannot be run", demo.worker.display()))?;
        let stdout = child.stdout.take().context("the worker has no output")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// The addresses of source and target, which it tells once both servers run.
    pub(super) async fn addresses(&mut self) -> Result<[ConnectOptions; 2]> {
        let mut found = [None, None];
        while found.iter().any(Option::is_none) {
            let Some(line) = self.lines.next_line().await? else {
                bail!("the worker ended before its servers ran ({})", self.child.wait().await?)
            };
            for (cluster, found) in CLUSTERS.iter().zip(&mut found) {
                let told = line.strip_prefix(cluster).and_then(|rest| rest.strip_prefix(": "));
                if let Some(url) = told.and_then(|told| told.split(' ').next()) {
                    *found = Some(url.parse()?);
                }
            }
        }
        let [source, target] = found;
        Ok([source.context("no source")?, target.context("no target")?])
    }

    /// Waits for `work`, as long as the worker runs.
    pub(super) async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let error = tokio::select! {
            done = work => match done {
                Ok(done) => return Ok(done),
                Err(error) => error,
            },
            ended = self.child.wait() => bail!("the worker ended by itself ({})", ended?),
        };
        // Its servers end with it, and that is noticed first.
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(ended) => bail!("the worker ended by itself ({})", ended?),
            Err(_) => Err(error),
        }
    }

    /// Stops it as Ctrl-C does.
    pub(super) async fn interrupt(self) -> Result<()> {
        let pid = self.child.id().context("the worker has ended by itself")?.to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status().await?;
        ensure!(sent.success(), "the worker cannot be signalled ({sent})");
        self.ends().await
    }

    /// Waits for its end, which has to be a good one.
    pub(super) async fn ends(mut self) -> Result<()> {
        while self.lines.next_line().await?.is_some() {}
        let status = self.child.wait().await?;
        ensure!(status.success(), "the worker failed ({status})");
        Ok(())
    }
}
