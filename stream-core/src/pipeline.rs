//! The loop: source to sink.
//!
//! ```text
//! read half                                            write half
//!   Source::next -> Batcher ==== channel of one ====> Sink::write -> OffsetStore::save_position
//!   Source::confirm <- Progress <------ watch <------------------------'
//! ```
//!
//! The halves are two tasks. Nothing in the read half waits for the sink, so that a slow target never
//! keeps the source without its sign of life; and nothing is confirmed that is not written and saved.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::batch::{Batch, Batcher, Entry};
use crate::checkpoint::{Checkpoint, OffsetStore, TableSync};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::progress::Progress;
use crate::relation::TableName;
use crate::sink::Sink;
use crate::snapshot;
use crate::source::{Beginning, Source, SourceEvent};
use crate::stats::{Phase, Stats};

/// How often a stream that drains asks the source how far it is.
const PING_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// How a pipeline is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Stop where it stands; it will go on later.
    Stop,
    /// Deliver all that the source holds now, finish the target, and remove what the source keeps for
    /// the stream.
    Complete,
}

/// How a pipeline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has delivered all that it was to deliver.
    Completed,
    /// It was told to stop, and can go on.
    Stopped,
}

/// Moves changes from one source to one sink.
#[derive(Debug)]
pub struct Pipeline<S, K, O> {
    /// Where changes come from.
    pub source: S,
    /// Where they go.
    pub sink: K,
    /// Where positions are kept.
    pub offsets: O,
    /// Bytes of changes in one batch. Three batches exist at most: one collects, one waits, one is written.
    pub batch_bytes: usize,
    /// Where the numbers are published.
    pub stats: Stats,
}

impl<S: Source, K: Sink, O: OffsetStore> Pipeline<S, K, O> {
    /// A pipeline with batches of 4 MiB.
    pub fn new(source: S, sink: K, offsets: O) -> Self {
        Self { source, sink, offsets, batch_bytes: 4 << 20, stats: Stats::default() }
    }

    /// Runs until the stream is complete, is told to end, or cannot go on. A stop wins over a completion that
    /// has not come to the source's removal. Dropping the controller is a stop, unless it has asked for
    /// completion.
    ///
    /// # Errors
    /// The first failure of source, sink or store. A retryable one can be followed by a new pipeline
    /// over the same store.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream as a crash would: nothing confirmed is lost.
    pub async fn run(mut self, control: mpsc::Receiver<Control>) -> Result<Outcome, Error> {
        let mut commands = Commands { control, complete: false };
        let started = tokio::select! {
            biased;
            () = commands.stop() => return Ok(Outcome::Stopped),
            started = Box::pin(self.start_up()) => started?,
        };
        let Some(started) = started else {
            return self.complete(commands).await;
        };
        self.stats.update(|stats| stats.phase = Phase::Streaming);
        let (ended, this, commands) = self.stream(started, commands).await?;
        match ended {
            Outcome::Completed => this.complete(commands).await,
            Outcome::Stopped => Ok(Outcome::Stopped),
        }
    }

    /// Everything before the stream. `None`: there will be no stream.
    async fn start_up(&mut self) -> Result<Option<Started>, Error> {
        let mut checkpoint = self.offsets.load().await?;
        let inspected = self.source.inspect(&checkpoint).await?;
        check_identity(&checkpoint, &inspected.identity)?;
        self.sink.prepare(&inspected.identity, &inspected.tables, &checkpoint).await?;
        let beginning = self.source.begin(&checkpoint, &self.stats).await?;
        if checkpoint.position.is_none() {
            self.offsets.save_start(&inspected.identity, beginning.start).await?;
        }
        let taken_up = self.take_up(&beginning).await?;
        checkpoint.tables.extend(taken_up);
        if let Some(snapshot) = &beginning.snapshot {
            self.stats.update(|stats| stats.phase = Phase::Snapshot);
            snapshot::copy::run(
                &mut self.source,
                &mut self.sink,
                &mut self.offsets,
                snapshot,
                &self.stats,
            )
            .await?;
            let synced = TableSync::Synced { lsn: snapshot.lsn };
            checkpoint
                .tables
                .extend(snapshot.tables.iter().map(|table| (table.name.clone(), synced)));
        }
        let synced = synced(&checkpoint);
        let consistent_at = synced.values().copied().max().unwrap_or(beginning.start);
        self.stats.update(|stats| stats.phase = Phase::Finishing);
        self.sink.snapshot_completed(consistent_at).await?;
        if beginning.snapshot_only {
            return Ok(None);
        }
        self.source.start(beginning.start, synced).await?;
        Ok(Some(Started { start: beginning.start, consistent_at }))
    }

    async fn take_up(
        &mut self,
        beginning: &Beginning,
    ) -> Result<Vec<(TableName, TableSync)>, Error> {
        let tables: Vec<_> = beginning
            .taken_up
            .iter()
            .map(|(name, lsn)| (name.clone(), TableSync::Synced { lsn: *lsn }))
            .collect();
        if !tables.is_empty() {
            self.offsets.save_tables(&tables).await?;
        }
        Ok(tables)
    }

    async fn complete(mut self, mut commands: Commands) -> Result<Outcome, Error> {
        tokio::select! {
            biased;
            () = commands.stop() => return Ok(Outcome::Stopped),
            finished = self.sink.finish() => finished?,
        }
        self.source.remove().await?;
        self.stats.update(|stats| stats.phase = Phase::Completed);
        Ok(Outcome::Completed)
    }

    /// Runs the two halves; gives the parts back when both have ended well.
    async fn stream(
        self,
        started: Started,
        commands: Commands,
    ) -> Result<(Outcome, Self, Commands), Error> {
        let Self { source, sink, offsets, batch_bytes, stats } = self;
        let (batches, received) = mpsc::channel(1);
        let (flushed, seen) = watch::channel(Flushed { batches: 0, position: started.start });
        let read = ReadHalf {
            source,
            batcher: Batcher::new(batch_bytes),
            progress: Progress::new(started.start),
            sent: 0,
            flushed: seen,
            consistent_at: (started.consistent_at > started.start).then_some(started.consistent_at),
            complete_at: None,
            stopping: false,
            stats: stats.clone(),
        };
        let write = WriteHalf { sink, offsets, batches: received, flushed, stats: stats.clone() };
        let mut halves = JoinSet::new();
        halves.spawn(async move { read.run(batches, commands).await.map(End::Read) });
        halves.spawn(async move { write.run().await.map(End::Write) });
        let ended = join(&mut halves).await;
        // After a failure the other half may be in the middle of a write: the next run must not meet it.
        halves.shutdown().await;
        let ((outcome, source, commands), (sink, offsets)) = ended?;
        Ok((outcome, Self { source, sink, offsets, batch_bytes, stats }, commands))
    }
}

#[derive(Clone, Copy)]
struct Started {
    start: Lsn,
    consistent_at: Lsn,
}

#[derive(Clone, Copy)]
struct Flushed {
    batches: u64,
    position: Lsn,
}

enum End<S, K, O> {
    Read(ReadEnd<S>),
    Write((K, O)),
}

type ReadEnd<S> = (Outcome, S, Commands);

/// Waits for both halves, or for the first that fails.
async fn join<S: 'static, K: 'static, O: 'static>(
    halves: &mut JoinSet<Result<End<S, K, O>, Error>>,
) -> Result<(ReadEnd<S>, (K, O)), Error> {
    let (mut read, mut write) = (None, None);
    while let Some(end) = halves.join_next().await {
        match end.map_err(|error| Error::new(ErrorKind::Permanent, error))?? {
            End::Read(ended) => read = Some(ended),
            End::Write(ended) => write = Some(ended),
        }
    }
    read.zip(write)
        .ok_or_else(|| Error::new(ErrorKind::Permanent, "a half of the stream did not end"))
}

/// What the pipeline is told.
struct Commands {
    control: mpsc::Receiver<Control>,
    /// Whether completion was asked for.
    complete: bool,
}

impl Commands {
    /// The next command. Who has asked for completion and is gone has no more to say.
    ///
    /// # Cancel safety
    /// Dropping the future loses no command.
    async fn next(&mut self) -> Control {
        match self.control.recv().await {
            Some(Control::Complete) => {
                self.complete = true;
                Control::Complete
            }
            None if self.complete => std::future::pending().await,
            Some(Control::Stop) | None => Control::Stop,
        }
    }

    /// Waits for a stop; a wish for completion is kept.
    async fn stop(&mut self) {
        while self.next().await != Control::Stop {}
    }
}

fn check_identity(
    checkpoint: &Checkpoint,
    found: &crate::checkpoint::SourceIdentity,
) -> Result<(), Error> {
    match &checkpoint.source {
        Some(saved) if saved != found => Err(Error::new(
            ErrorKind::Permanent,
            format!(
                "the saved position belongs to slot `{}` of server `{}`, but the source is slot `{}` of server `{}`: \
                 point the stream at its old source, or remove its progress at the target to begin anew",
                saved.slot, saved.system_id, found.slot, found.system_id
            ),
        )),
        _ => Ok(()),
    }
}

fn synced(checkpoint: &Checkpoint) -> BTreeMap<TableName, Lsn> {
    checkpoint
        .tables
        .iter()
        .filter_map(|(name, sync)| match sync {
            TableSync::Synced { lsn } => Some((name.clone(), *lsn)),
            TableSync::Copying => None,
        })
        .collect()
}

struct ReadHalf<S> {
    source: S,
    batcher: Batcher,
    progress: Progress,
    sent: u64,
    flushed: watch::Receiver<Flushed>,
    /// A position to tell the sink once the stream has passed it, even when nothing else is to be told.
    consistent_at: Option<Lsn>,
    /// The stream is complete when all below is durable.
    complete_at: Option<Lsn>,
    stopping: bool,
    stats: Stats,
}

impl<S: Source> ReadHalf<S> {
    async fn run(
        mut self,
        batches: mpsc::Sender<Batch>,
        mut commands: Commands,
    ) -> Result<ReadEnd<S>, Error> {
        if commands.complete {
            self.complete_at = Some(self.source.current_lsn().await?);
        }
        let period = self.source.confirm_interval();
        let mut keepalive = interval_at(Instant::now() + period, period);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping = interval_at(Instant::now(), PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(outcome) = self.outcome() {
                self.acknowledge().await?;
                self.source.close().await;
                return Ok((outcome, self.source, commands));
            }
            tokio::select! {
                biased;
                changed = self.flushed.changed() => {
                    if changed.is_err() { return writer_failed().await }
                    self.acknowledge().await?;
                }
                _ = keepalive.tick() => self.confirm().await?,
                command = commands.next(), if !self.stopping => match command {
                    Control::Complete => self.complete_at = Some(self.source.current_lsn().await?),
                    Control::Stop => self.stopping = true,
                },
                _ = ping.tick(), if self.complete_at.is_some() => self.source.ping().await?,
                permit = batches.reserve(), if self.batcher.is_ready() && !self.stopping => {
                    let Ok(permit) = permit else { return writer_failed().await };
                    self.progress.dispatched();
                    self.sent += 1;
                    permit.send(self.batcher.take());
                    self.publish();
                }
                event = self.source.next(), if self.wants_more() => {
                    self.take(event?).await?;
                }
            }
        }
    }

    /// Whether the next event is to be taken. A stream that is to complete takes none after the transaction
    /// that reaches its end: under load it would never come to rest.
    fn wants_more(&self) -> bool {
        let is_last = self.has_all() && !self.batcher.is_in_transaction();
        !self.batcher.is_full() && !self.stopping && !is_last
    }

    /// Whether all that is to be delivered has been received.
    fn has_all(&self) -> bool {
        self.complete_at.is_some_and(|at| self.progress.highest_received() >= at)
    }

    /// How the stream ends, once it does.
    fn outcome(&self) -> Option<Outcome> {
        let nothing_in_flight = self.flushed.borrow().batches == self.sent;
        if !nothing_in_flight {
            return None;
        }
        let drained = self.has_all() && self.batcher.is_idle();
        match (drained, self.stopping) {
            (true, _) => Some(Outcome::Completed),
            (false, true) => Some(Outcome::Stopped),
            (false, false) => None,
        }
    }

    async fn take(&mut self, event: SourceEvent) -> Result<(), Error> {
        match event {
            SourceEvent::Begin(transaction) => self.batcher.begin(transaction),
            SourceEvent::Change { ordinal, change, held_bytes } => {
                self.batcher.change(ordinal, change, held_bytes);
            }
            SourceEvent::Commit { transaction, end } => {
                self.progress.received(end);
                self.batcher.commit(transaction, end);
            }
            SourceEvent::Heartbeat { wal_end, reply } => {
                // Inside of a transaction the server may be far beyond what it has sent.
                if self.batcher.is_idle() {
                    self.progress.received(wal_end);
                    self.announce_consistency();
                }
                self.publish();
                if reply || self.batcher.is_idle() {
                    self.confirm().await?;
                }
            }
            SourceEvent::End if self.batcher.is_in_transaction() => {
                return Err(Error::new(
                    ErrorKind::Transient,
                    "the source ended inside of a transaction: start again from the checkpoint",
                ));
            }
            SourceEvent::End => self.complete_at = Some(self.progress.highest_received()),
        }
        Ok(())
    }

    /// Tells the sink, by an empty batch, that the stream has passed the position it waits for.
    fn announce_consistency(&mut self) {
        let received = self.progress.highest_received();
        if self.consistent_at.is_some_and(|at| received >= at) {
            self.consistent_at = None;
            self.batcher.mark(received);
        }
    }

    async fn acknowledge(&mut self) -> Result<(), Error> {
        let Flushed { batches, position } = *self.flushed.borrow_and_update();
        self.progress.flushed(self.sent - batches, position);
        if self.consistent_at.is_some_and(|at| position >= at) {
            self.consistent_at = None;
        }
        self.confirm().await
    }

    async fn confirm(&mut self) -> Result<(), Error> {
        let position = self.progress.confirmable(self.batcher.is_idle());
        self.source.confirm(position).await?;
        self.stats.update(|stats| stats.confirmed = position);
        Ok(())
    }

    fn publish(&self) {
        let (received, end) = (self.progress.highest_received(), self.source.last_known_end());
        self.stats.update(|stats| {
            stats.received = received;
            stats.source_end = stats.source_end.max(end).max(received);
        });
    }
}

/// Waits to be dropped: the pipeline ends with the writer's error, the one that counts.
async fn writer_failed<T>() -> T {
    std::future::pending().await
}

struct WriteHalf<K, O> {
    sink: K,
    offsets: O,
    batches: mpsc::Receiver<Batch>,
    flushed: watch::Sender<Flushed>,
    stats: Stats,
}

impl<K: Sink, O: OffsetStore> WriteHalf<K, O> {
    async fn run(mut self) -> Result<(K, O), Error> {
        while let Some(batch) = self.batches.recv().await {
            self.sink.write(&batch).await?;
            // Saved before it is confirmed: the source may forget it at once.
            if let Some(position) = batch.ack {
                self.offsets.save_position(position).await?;
            }
            self.count(&batch);
            self.flushed.send_modify(|flushed| {
                flushed.batches += 1;
                flushed.position = batch.ack.unwrap_or(flushed.position);
            });
        }
        Ok((self.sink, self.offsets))
    }

    fn count(&self, batch: &Batch) {
        let commits = batch.entries.iter().filter_map(|entry| match entry {
            Entry::Commit { transaction, .. } => Some(transaction.commit_time_us),
            Entry::Begin(_) | Entry::Change { .. } => None,
        });
        let (count, last) = commits.fold((0, None), |(count, _), time| (count + 1, Some(time)));
        let changes = u64::try_from(batch.changes()).unwrap_or(u64::MAX);
        self.stats.update(|stats| {
            stats.transactions += count;
            stats.changes += changes;
            stats.last_commit_time_us = last.unwrap_or(stats.last_commit_time_us);
        });
    }
}
