//! Sessions that write to the source, through its crashes: each transaction is committed once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use stream_core::postgres::{ConnectOptions, SqlClient};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lab::session;
use super::migration::{self, Migration};
use super::workload::{self, WRITERS};

/// Writers rest between transactions, so that a worker built for debugging keeps up with them.
const REST: Duration = Duration::from_millis(12);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the source may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sessions that write until they are told to stop.
pub(super) struct Writers {
    sessions: JoinSet<Result<()>>,
    stop: watch::Sender<bool>,
    calm: watch::Sender<bool>,
    commits: watch::Receiver<u64>,
}

impl Writers {
    /// Sessions that write to the source; with some seeds another one changes the schema, at the target too.
    pub(super) fn start(
        source: &ConnectOptions,
        target: Option<&ConnectOptions>,
        seed: u64,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (calm, is_calm) = watch::channel(false);
        let (count, commits) = watch::channel(0);
        let mut sessions = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                source: source.clone(),
                number,
                random: Rng::with_seed(seed.wrapping_mul(31).wrapping_add(number as u64)),
            };
            sessions.spawn(writer.run(stopped.clone(), count.clone()));
        }
        if migration::has(seed) {
            sessions.spawn(Migration::new(source, target, seed).run(stopped, is_calm));
        }
        Self { sessions, stop, calm, commits }
    }

    /// Whether the schema is left alone from now on.
    pub(super) fn calm(&self, is_calm: bool) {
        self.calm.send_replace(is_calm);
    }

    /// How many transactions are committed.
    pub(super) fn commits(&self) -> u64 {
        *self.commits.borrow()
    }

    /// Fails when a writer has ended, which none does by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.sessions.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?.context("a writer failed"),
        }
    }

    /// Lets every session finish its transaction; tells how many were committed in all.
    pub(super) async fn stop(mut self) -> Result<u64> {
        self.stop.send_replace(true);
        while let Some(session) = self.sessions.join_next().await {
            session??;
        }
        Ok(self.commits())
    }
}

struct Writer {
    source: ConnectOptions,
    number: usize,
    random: Rng,
}

impl Writer {
    async fn run(
        mut self,
        stopped: watch::Receiver<bool>,
        count: watch::Sender<u64>,
    ) -> Result<()> {
        let mut client = None;
        let mut n = 0;
        while !*stopped.borrow() {
            let sql = workload::transaction(&mut self.random, self.number, n);
            self.commit(&mut client, n, sql).await?;
            count.send_modify(|count| *count += 1);
            n += 1;
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }

    /// Commits transaction `n`, once, whatever happens to the session.
    async fn commit(&self, opened: &mut Option<SqlClient>, n: u64, mut sql: String) -> Result<()> {
        let start = Instant::now();
        loop {
            if start.elapsed() > PATIENCE {
                bail!("transaction {n} of writer {} was not committed in time", self.number);
            }
            let client = match opened {
                Some(client) => client,
                None => match self.connect(n).await {
                    Some((_, true)) => return Ok(()),
                    Some((client, false)) => opened.insert(client),
                    None => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        continue;
                    }
                },
            };
            let Err(error) = client.batch_execute(&sql).await else { return Ok(()) };
            // Whether it was committed is found out by the next session.
            *opened = None;
            match error.code().map(|code| code.code().to_owned()) {
                None => {}
                // 38: a server that stops ends the programs of its sessions, too.
                Some(code) if matches!(code.get(..2), Some("38" | "40" | "53" | "57")) => {}
                Some(code) if code.starts_with("23") => sql = workload::plain(self.number, n),
                Some(_) => return Err(error).with_context(|| format!("writing: {sql}")),
            }
        }
    }

    /// A session, and whether transaction `n` is committed; nothing while the source is away.
    async fn connect(&self, n: u64) -> Option<(SqlClient, bool)> {
        let client = session(&self.source).await.ok()?;
        let last = format!("SELECT n FROM counters WHERE writer = {}", self.number);
        let last: i64 = client.query_one(&last, &[]).await.ok()?.get(0);
        Some((client, u64::try_from(last).is_ok_and(|last| last >= n)))
    }
}
