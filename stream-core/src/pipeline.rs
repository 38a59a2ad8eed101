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

/// How often the position of an idle stream is saved, and then confirmed.
const IDLE_SAVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

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

    /// Runs until the stream is complete, is told to end, or cannot go on.
    ///
    /// # Errors
    /// The first failure of source, sink or store. A retryable one can be followed by a new pipeline
    /// over the same store.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream as a crash would: nothing confirmed is lost.
    pub async fn run(mut self, mut control: mpsc::Receiver<Control>) -> Result<Outcome, Error> {
        let mut complete = false;
        let mut start = Box::pin(self.start_up());
        let started = loop {
            tokio::select! {
                biased;
                command = control.recv() => match command {
                    Some(Control::Complete) => complete = true,
                    Some(Control::Stop) | None => return Ok(Outcome::Stopped),
                },
                started = &mut start => break started?,
            }
        };
        drop(start);
        let Some(started) = started else {
            return self.complete().await;
        };
        self.stats.update(|stats| {
            stats.phase = Phase::Streaming;
            // Until the first confirmation the stream is where it starts, not at the log's beginning.
            stats.confirmed = started.start;
        });
        let (ended, this) = self.stream(started, control, complete).await?;
        match ended {
            Outcome::Completed => this.complete().await,
            Outcome::Stopped => Ok(Outcome::Stopped),
        }
    }

    /// Everything before the stream. `None`: there will be no stream.
    async fn start_up(&mut self) -> Result<Option<Started>, Error> {
        let mut checkpoint = self.offsets.load().await?;
        let inspected = self.source.inspect(&checkpoint, &self.stats).await?;
        check_identity(&checkpoint, &inspected.identity)?;
        self.sink.prepare(&inspected, &checkpoint).await?;
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
        let consistent_at = (consistent_at > beginning.start).then_some(consistent_at);
        self.stats.update(|stats| stats.phase = Phase::Finishing);
        self.sink.snapshot_completed(consistent_at).await?;
        // Tables copied at different positions are brought to the last of them first.
        let complete_at = consistent_at.filter(|_| beginning.snapshot_only);
        if beginning.snapshot_only && complete_at.is_none() {
            return Ok(None);
        }
        self.source.start(beginning.start, synced, self.sink.stream_format()).await?;
        Ok(Some(Started { start: beginning.start, consistent_at, complete_at }))
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

    async fn complete(mut self) -> Result<Outcome, Error> {
        self.sink.finish().await?;
        self.source.remove().await?;
        self.stats.update(|stats| stats.phase = Phase::Completed);
        Ok(Outcome::Completed)
    }

    /// Runs the two halves; gives the parts back when both have ended well.
    async fn stream(
        self,
        started: Started,
        control: mpsc::Receiver<Control>,
        complete: bool,
    ) -> Result<(Outcome, Self), Error> {
        let Self { source, sink, offsets, batch_bytes, stats } = self;
        let (batches, received) = mpsc::channel(1);
        let (flushed, seen) = watch::channel(Flushed { batches: 0, position: started.start });
        let read = ReadHalf {
            source,
            batcher: Batcher::new(batch_bytes),
            progress: Progress::new(started.start),
            sent: 0,
            flushed: seen,
            consistent_at: started.consistent_at,
            complete_at: started.complete_at,
            saved_at: Instant::now(),
            stopping: false,
            stats: stats.clone(),
        };
        let write = WriteHalf { sink, offsets, batches: received, flushed, stats: stats.clone() };
        let mut halves = JoinSet::new();
        halves.spawn(async move { read.run(batches, control, complete).await.map(End::Read) });
        halves.spawn(async move { write.run().await.map(End::Write) });
        let (mut source, mut sink) = (None, None);
        while let Some(end) = halves.join_next().await {
            let end = end.map_err(|error| Error::new(ErrorKind::Permanent, error))?;
            match end? {
                End::Read(ended) => source = Some(ended),
                End::Write(ended) => sink = Some(ended),
            }
        }
        let (Some((outcome, source)), Some((sink, offsets))) = (source, sink) else {
            return Err(Error::new(ErrorKind::Permanent, "a half of the stream did not end"));
        };
        Ok((outcome, Self { source, sink, offsets, batch_bytes, stats }))
    }
}

#[derive(Clone, Copy)]
struct Started {
    start: Lsn,
    consistent_at: Option<Lsn>,
    complete_at: Option<Lsn>,
}

#[derive(Clone, Copy)]
struct Flushed {
    batches: u64,
    position: Lsn,
}

enum End<S, K, O> {
    Read((Outcome, S)),
    Write((K, O)),
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
    /// A position that the sink waits for.
    consistent_at: Option<Lsn>,
    /// When a position was last sent on to be saved while the stream was idle.
    saved_at: Instant,
    /// The stream is complete when all below is durable.
    complete_at: Option<Lsn>,
    stopping: bool,
    stats: Stats,
}

impl<S: Source> ReadHalf<S> {
    async fn run(
        mut self,
        batches: mpsc::Sender<Batch>,
        mut control: mpsc::Receiver<Control>,
        complete: bool,
    ) -> Result<(Outcome, S), Error> {
        if complete {
            self.complete_at = Some(self.source.current_lsn().await?);
        }
        let period = self.source.confirm_interval();
        let mut keepalive = interval_at(Instant::now() + period, period);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping = interval_at(Instant::now(), PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(outcome) = self.outcome() {
                self.confirm().await?;
                self.source.close().await;
                return Ok((outcome, self.source));
            }
            tokio::select! {
                biased;
                changed = self.flushed.changed() => {
                    if changed.is_err() { return writer_failed().await }
                    self.acknowledge().await?;
                }
                _ = keepalive.tick() => self.confirm().await?,
                command = control.recv(), if !self.stopping => match command {
                    Some(Control::Complete) => self.complete_at = Some(self.source.current_lsn().await?),
                    Some(Control::Stop) | None => self.stopping = true,
                },
                _ = ping.tick(), if self.complete_at.is_some() => self.ping().await?,
                permit = batches.reserve(), if self.batcher.is_ready() && !self.stopping => {
                    let Ok(permit) = permit else { return writer_failed().await };
                    self.sent += 1;
                    permit.send(self.batcher.take());
                    self.publish();
                }
                event = self.source.next(), if !self.batcher.is_full() && !self.stopping => {
                    self.take(event?).await?;
                }
            }
        }
    }

    /// How the stream ends, once it does.
    fn outcome(&self) -> Option<Outcome> {
        let nothing_in_flight = self.flushed.borrow().batches == self.sent;
        if !nothing_in_flight {
            return None;
        }
        let drained = self
            .complete_at
            .is_some_and(|at| self.progress.highest_received() >= at && self.batcher.is_idle());
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
                    self.save_idle_position();
                }
                self.publish();
                if reply {
                    self.confirm().await?;
                }
            }
            SourceEvent::End => self.complete_at = Some(self.progress.highest_received()),
        }
        Ok(())
    }

    /// Lets an idle stream follow the source's log: an empty batch carries the position to where it is
    /// saved, because nothing is ever confirmed that was not saved.
    fn save_idle_position(&mut self) {
        let received = self.progress.highest_received();
        let awaited = self.consistent_at.is_some_and(|at| received >= at);
        let due = self.saved_at.elapsed() >= IDLE_SAVE_INTERVAL;
        if received > self.flushed.borrow().position && (awaited || due) {
            self.saved_at = Instant::now();
            self.batcher.mark(received);
        }
    }

    async fn acknowledge(&mut self) -> Result<(), Error> {
        let Flushed { position, .. } = *self.flushed.borrow_and_update();
        self.progress.saved(position);
        if self.consistent_at.is_some_and(|at| position >= at) {
            self.consistent_at = None;
        }
        self.confirm().await
    }

    async fn confirm(&mut self) -> Result<(), Error> {
        let position = self.progress.flushed();
        self.source.confirm(position).await?;
        self.stats.update(|stats| stats.confirmed = position);
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Error> {
        self.source.ping(self.progress.flushed()).await
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
