//! One run: a stream from its beginning to its end, through the faults of its seed.

mod inject;
mod second;

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use stream_core::failpoint::Step;
use stream_core::postgres::ConnectOptions;

use super::events;
use super::eyes::{Eyes, Session, Watched};
use super::faults::{End, Fault, Phase, Planned};
use super::lab::{self, Lab, session};
use super::ledger::{self, Scope};
use super::migration;
use super::reader::Reader;
use super::receiver::Receiver;
use super::worker::{Launch, Worker, died};
use super::writers::Writers;
use crate::compare::{self, Sequences};

/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a stream may take to come to its next phase (an endpoint is told of the log before each copy that was interrupted), or to its end.
const REST_PATIENCE: Duration = Duration::from_secs(240);
/// After so long in one phase the schema is left alone until the next: renames after a snapshot was taken make a new one necessary, an endpoint is told of
/// the log before it, and a worker that is slower at that than the next rename never comes to the copy.
const SCHEMA_PATIENCE: Duration = Duration::from_secs(60);
/// Transactions that an endpoint is told of after the last fault before the end.
const STREAMED: u64 = 300;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a worker may come to a step at which it is to die.
const DEATH_PATIENCE: Duration = Duration::from_secs(6);
/// One seed of so many has a native subscription beside the stream, unless its schema changes, which that does not
/// follow.
const NATIVE: u64 = 5;
/// What a worker says of a row that was not as it had left it.
const DIVERGED: &str = "the target differs from the source";
/// Exit codes of a worker that was told to stop, and of one that another has taken the stream from.
const TERMINATED: i32 = 143;
const FENCED: i32 = 3;

/// What a run was.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Each fault's name, and the phase in which it struck.
    pub(super) hits: Vec<(&'static str, Phase)>,
    /// Transactions that were committed at the source.
    pub(super) transactions: u64,
    /// States of the target that were read and found right; events that an endpoint took.
    pub(super) states: u64,
    /// Workers that were started.
    pub(super) starts: u64,
}

/// Runs a seed; tells what was done and whether all is well.
pub(super) async fn run(
    lab: &mut Lab,
    launch: &Launch,
    seed: u64,
    plan: Vec<Planned>,
) -> (Record, Result<()>) {
    let mut record = Record::default();
    let ended = match &launch.receiver {
        None => to_postgres(lab, launch, seed, plan, &mut record).await,
        Some(receiver) => to_receiver(lab, launch, seed, plan, receiver, &mut record).await,
    };
    (record, ended)
}

async fn to_postgres(
    lab: &mut Lab,
    launch: &Launch,
    seed: u64,
    plan: Vec<Planned>,
    record: &mut Record,
) -> Result<()> {
    lab.prepare(seed).await?;
    let (source, target) = (lab.direct(End::Source)?, lab.direct(End::Target)?);
    let is_native = seed.is_multiple_of(NATIVE) && !migration::has(seed);
    let native = if is_native { Some(lab.native(seed).await?) } else { None };
    let mut reader = Reader::new(&target);
    let eyes = Eyes::new(&source, Watched::Postgres(Box::new(Session::new(&target))));
    let mut run = Run::new(lab, launch, eyes, Writers::start(&source, Some(&target), seed), record);
    let ended = tokio::select! {
        wrong = reader.run() => Err(wrong),
        ended = run.whole(plan) => ended,
    };
    if ended.is_err() {
        launch.note(&lab::sessions(&source).await)?;
        launch.note(&lab::sessions(&target).await)?;
    }
    drop(run);
    record.states = reader.states;
    ended?;
    ensure!(reader.states > 0, "no state of the target was read while the stream ran");
    reader.look().await?;
    migration::finish(&source, &target).await?;
    // A server that crashed leaves out numbers, perhaps after the stream was complete.
    let crashed = (Fault::Crash(End::Source).name(), Phase::Finishing);
    let sequences = match record.hits.contains(&crashed) {
        true => Sequences::Ignored,
        false => Sequences::Compared,
    };
    let differences = compare::differences(&source, &target, sequences).await?;
    ensure!(differences.is_empty(), "source and target differ:\n{}", differences.join("\n"));
    nothing_is_left(&source).await?;
    if let Some(native) = native {
        native.check().await?;
    }
    let log = std::fs::read_to_string(launch.log())?;
    let diverged = log.lines().find(|line| line.contains(DIVERGED));
    ensure!(
        diverged.is_none(),
        "nobody else writes to the target: {}",
        diverged.unwrap_or_default()
    );
    Ok(())
}

async fn to_receiver(
    lab: &mut Lab,
    launch: &Launch,
    seed: u64,
    plan: Vec<Planned>,
    receiver: &Arc<Receiver>,
    record: &mut Record,
) -> Result<()> {
    lab.prepare(seed).await?;
    let source = lab.direct(End::Source)?;
    ledger::open(&source).await?;
    let eyes = Eyes::new(&source, Watched::Receiver(Arc::clone(receiver), launch.offsets()));
    let mut run = Run::new(lab, launch, eyes, Writers::start(&source, None, seed), record);
    run.whole(plan).await?;
    drop(run);
    let events = receiver.events();
    record.states = events.len().try_into()?;
    let scope = Scope { migrated: launch.migrated, large: launch.large };
    events::check(&events, &source, scope).await?;
    nothing_is_left(&source).await
}

/// A stream that is complete leaves neither slot nor publication behind.
async fn nothing_is_left(source: &ConnectOptions) -> Result<()> {
    let client = session(source).await?;
    let left =
        "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'default%') +
        (SELECT count(*) FROM pg_publication WHERE pubname LIKE 'default%')";
    let left: i64 = client.query_one(left, &[]).await?.get(0);
    client.close().await;
    ensure!(left == 0, "a slot or a publication is left at the source");
    Ok(())
}

struct Run<'a> {
    lab: &'a mut Lab,
    launch: &'a Launch,
    eyes: Eyes,
    writers: Option<Writers>,
    worker: Option<Worker>,
    /// Whether the worker was given a step to die at.
    armed: bool,
    /// The newest epoch that was seen, and the one before the worker started.
    epoch: i64,
    before: i64,
    record: &'a mut Record,
}

impl<'a> Run<'a> {
    const fn new(
        lab: &'a mut Lab,
        launch: &'a Launch,
        eyes: Eyes,
        writers: Writers,
        record: &'a mut Record,
    ) -> Self {
        let (worker, armed, epoch, before) = (None, false, 0, 0);
        Self { lab, launch, eyes, writers: Some(writers), worker, armed, epoch, before, record }
    }

    async fn whole(&mut self, plan: Vec<Planned>) -> Result<()> {
        let (finishing, before): (Vec<_>, Vec<_>) =
            plan.into_iter().partition(|planned| planned.phase == Phase::Finishing);
        for planned in before {
            self.launch.note(&format!("{planned:?}"))?;
            match planned.fault {
                Fault::Die(step, times) => self.die(planned.phase, step, times).await?,
                fault => {
                    let phase = self.reach(planned.phase, planned.after).await?;
                    self.inject(fault, phase).await?;
                }
            }
        }
        if self.launch.receiver.is_some() {
            // What was committed before the copies is in them: an endpoint need not be told of it.
            self.reach(Phase::Stream, STREAMED).await?;
        }
        self.launch.note("the writers stop")?;
        if let Some(writers) = self.writers.take() {
            self.record.transactions = writers.stop().await?;
        }
        self.stop_worker().await?;
        for planned in finishing {
            self.launch.note(&format!("{planned:?}"))?;
            self.finish_with(planned).await?;
        }
        if self.worker.is_none() {
            self.start(true, None).await?;
        }
        self.launch.note("the rest without a fault")?;
        loop {
            let Some(mut worker) = self.worker.take() else { return Ok(()) };
            let status = worker.ends(REST_PATIENCE).await?;
            if status.success() {
                return Ok(());
            }
            self.judge(status)?;
            self.start(true, None).await?;
        }
    }

    async fn start(&mut self, complete: bool, die: Option<(Step, u64)>) -> Result<()> {
        // The next epoch is this worker's.
        if let Some(seen) = self.eyes.look().await {
            self.epoch = self.epoch.max(seen.epoch);
        }
        self.before = self.epoch;
        self.worker = Some(self.launch.start(complete, die)?);
        self.armed = die.is_some();
        self.record.starts += 1;
        Ok(())
    }

    /// Stops the worker as a cluster does, if one runs.
    async fn stop_worker(&mut self) -> Result<()> {
        let Some(mut worker) = self.worker.take() else { return Ok(()) };
        if let Some(status) = worker.ended()? {
            return self.judge(status);
        }
        worker.signal(Signal::TERM)?;
        let status = worker.ends(PATIENCE).await?;
        // One that has only begun, and was not seen at work, may not listen yet.
        let only_begun = self.epoch <= self.before;
        let died_of_it = only_begun && status.signal() == Some(Signal::TERM.as_raw());
        // It may have been about to end by itself.
        if status.code() == Some(TERMINATED) || died_of_it { Ok(()) } else { self.judge(status) }
    }

    /// A worker may end by itself only where it was told to, and when the stream is complete.
    fn judge(&mut self, status: ExitStatus) -> Result<()> {
        let is_complete = self.writers.is_none() && status.success();
        ensure!(is_complete || self.armed && died(status), "the worker ended by itself ({status})");
        self.armed = false;
        Ok(())
    }

    /// Waits until the worker is at work in `wanted` or beyond, and `after` transactions longer; gives its phase.
    async fn reach(&mut self, wanted: Phase, after: u64) -> Result<Phase> {
        let start = Instant::now();
        let mut due = None;
        loop {
            if let Some(writers) = &self.writers {
                writers.calm(start.elapsed() > SCHEMA_PATIENCE);
            }
            if let Some(worker) = &mut self.worker
                && let Some(status) = worker.ended()?
            {
                self.judge(status)?;
                self.worker = None;
            }
            if self.worker.is_none() {
                self.start(false, None).await?;
            }
            let commits = self.commits()?;
            let seen = self.eyes.look().await.filter(|seen| seen.epoch > self.before);
            if let Some(seen) = seen {
                self.epoch = self.epoch.max(seen.epoch);
                let beyond = seen.phase > wanted;
                if beyond || seen.phase == wanted && seen.at_work {
                    let due = *due.get_or_insert(commits + after);
                    if commits >= due || beyond && wanted < Phase::Stream {
                        return Ok(seen.phase);
                    }
                }
            }
            ensure!(
                start.elapsed() < REST_PATIENCE,
                "the worker did not come to the {wanted} in time"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How many transactions are committed.
    fn commits(&mut self) -> Result<u64> {
        let Some(writers) = &mut self.writers else { return Ok(0) };
        writers.check()?;
        Ok(writers.commits())
    }

    /// A worker dies at a step, if it comes there.
    async fn die(&mut self, phase: Phase, step: Step, times: u64) -> Result<()> {
        self.stop_worker().await?;
        self.start(phase == Phase::Finishing, Some((step, times))).await?;
        let start = Instant::now();
        let status = loop {
            let Some(worker) = &mut self.worker else { return Ok(()) };
            if let Some(status) = worker.ended()? {
                break status;
            }
            if start.elapsed() > DEATH_PATIENCE {
                return Ok(());
            }
            self.commits()?;
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        self.worker = None;
        if phase == Phase::Finishing && status.success() {
            return Ok(());
        }
        self.judge(status)?;
        self.record.hits.push((Fault::Die(step, times).name(), phase));
        Ok(())
    }

    /// Lets the stream complete, with a fault on the way.
    async fn finish_with(&mut self, planned: Planned) -> Result<()> {
        if let Fault::Die(step, times) = planned.fault {
            // The one that runs may be complete by now.
            if let Some(worker) = self.worker.take() {
                worker.kill().await?;
            }
            return self.die(Phase::Finishing, step, times).await;
        }
        if self.worker.is_none() {
            self.start(true, None).await?;
        }
        let Some(worker) = &mut self.worker else { return Ok(()) };
        if let Some(status) = worker.ends_within(Duration::from_millis(planned.after)).await? {
            if !status.success() {
                // At a step that it came to later than it was waited for.
                self.judge(status)?;
                self.worker = None;
            }
            return Ok(());
        }
        self.inject(planned.fault, Phase::Finishing).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn a_divergence_is_said_in_the_words_that_are_looked_for() {
        let said = "stream-sinks/src/postgres/divergence.rs";
        let said = std::fs::read_to_string(Workspace::load().unwrap().root.join(said)).unwrap();
        assert!(said.contains(&format!("what, count, \"{DIVERGED}\"")), "{said}");
    }
}
