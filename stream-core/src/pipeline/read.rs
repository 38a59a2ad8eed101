//! The read half: takes events, lets batches leave, confirms what is durable. Waits for no sink.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::batch::{Batch, Batcher};
use crate::checkpoint::TableSync;
use crate::error::{Error, ErrorKind};
use crate::failpoint::{Step, reached};
use crate::lsn::Lsn;
use crate::pipeline::{Commands, Control, Flushed, Outcome, ReadEnd};
use crate::progress::Progress;
use crate::relation::TableName;
use crate::source::{Source, SourceEvent};
use crate::stats::Stats;

/// How often a stream that drains asks the source how far it is.
const PING_INTERVAL: Duration = Duration::from_millis(100);
/// How often the position of an idle stream is saved, and then confirmed.
const IDLE_SAVE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct ReadHalf<S> {
    pub(super) source: S,
    pub(super) batcher: Batcher,
    pub(super) progress: Progress,
    pub(super) sent: u64,
    pub(super) flushed: watch::Receiver<Flushed>,
    /// A position that the sink waits for, from the start on.
    pub(super) consistent_at: Option<Lsn>,
    /// The stream is complete when all below is durable.
    pub(super) complete_at: Option<Lsn>,
    pub(super) stopping: bool,
    /// Why it stops, if the source has said so: tables that are to be copied again.
    pub(super) stale: Vec<(TableName, TableSync)>,
    pub(super) stats: Stats,
}

impl<S: Source> ReadHalf<S> {
    pub(super) async fn run(
        mut self,
        batches: mpsc::Sender<Batch>,
        mut commands: Commands,
    ) -> Result<ReadEnd<S>, Error> {
        if commands.complete {
            self.complete().await?;
        }
        let period = self.source.confirm_interval();
        let mut keepalive = ticks(Instant::now() + period, period);
        let mut ping = ticks(Instant::now(), PING_INTERVAL);
        let mut idle_save = ticks(Instant::now(), IDLE_SAVE_INTERVAL);
        loop {
            if self.is_position_awaited() {
                self.mark();
            }
            if let Some(outcome) = self.outcome() {
                self.acknowledge().await?;
                let position = self.progress.flushed();
                let Self { source, stale, .. } = self;
                return Ok(ReadEnd { outcome, position, stale, source, commands });
            }
            tokio::select! {
                biased;
                changed = self.flushed.changed() => {
                    if changed.is_err() { return writer_failed().await }
                    self.acknowledge().await?;
                }
                _ = keepalive.tick() => self.confirm().await?,
                command = commands.next(), if !self.stopping => match command {
                    Control::Complete => self.complete().await?,
                    Control::Stop => self.stopping = true,
                },
                _ = ping.tick(), if self.complete_at.is_some() => self.ping().await?,
                _ = idle_save.tick(), if self.has_idle_position() => self.mark(),
                permit = batches.reserve(), if self.batcher.is_ready() && !self.stopping => {
                    let Ok(permit) = permit else { return writer_failed().await };
                    self.sent += 1;
                    let batch = self.batcher.take();
                    self.progress.sent(batch.ack.unwrap_or_default());
                    permit.send(batch);
                    reached(Step::Sent);
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
        if self.stopping {
            return Some(Outcome::Stopped);
        }
        (self.has_all() && self.batcher.is_idle()).then_some(Outcome::Completed)
    }

    async fn take(&mut self, event: SourceEvent) -> Result<(), Error> {
        match event {
            SourceEvent::Begin(transaction) => self.batcher.begin(transaction),
            SourceEvent::Change { ordinal, lsn, change, held_bytes } => {
                self.batcher.change(ordinal, lsn, change, held_bytes);
            }
            SourceEvent::Commit { transaction, end } => {
                self.progress.received(end);
                self.batcher.commit(transaction, end);
                reached(Step::Received);
            }
            SourceEvent::Stale(tables) => {
                self.stale = tables;
                self.stopping = true;
            }
            SourceEvent::Heartbeat { wal_end, reply } => {
                // Inside of a transaction the server may be far beyond what it has sent.
                if !self.batcher.is_in_transaction() {
                    self.progress.received(wal_end);
                }
                self.publish();
                if reply {
                    self.confirm().await?;
                }
            }
            SourceEvent::End if self.batcher.is_in_transaction() => {
                return Err(ended_early());
            }
            // Whatever it was to deliver, there is no more.
            SourceEvent::End => self.complete_at = Some(self.progress.highest_received()),
        }
        Ok(())
    }

    /// The stream is to end with what the source holds now, unless its end is known already.
    async fn complete(&mut self) -> Result<(), Error> {
        if self.complete_at.is_none() {
            self.complete_at = Some(self.source.current_lsn().await?);
        }
        Ok(())
    }

    /// Whether the stream is idle, and the source's log has grown without anything that carries its position
    /// to where it is saved. Nothing is ever confirmed that was not saved.
    fn has_idle_position(&self) -> bool {
        self.batcher.is_idle() && self.progress.highest_received() > self.progress.highest_sent()
    }

    /// Whether such a position cannot wait: the sink needs it to be consistent, or it is the stream's last.
    fn is_position_awaited(&self) -> bool {
        let (received, sent) = (self.progress.highest_received(), self.progress.highest_sent());
        let by_sink = self.consistent_at.is_some_and(|at| sent < at && at <= received);
        self.has_idle_position() && (by_sink || self.has_all())
    }

    /// Lets the position leave with the next batch, an empty one if need be.
    fn mark(&mut self) {
        self.batcher.mark(self.progress.highest_received());
    }

    async fn acknowledge(&mut self) -> Result<(), Error> {
        let position = self.flushed.borrow_and_update().position;
        self.progress.saved(position);
        reached(Step::Confirming);
        self.confirm().await?;
        reached(Step::Confirmed);
        Ok(())
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

/// The source went away in the middle of a transaction. Nothing of it counts as delivered.
///
/// Remedy: nothing, the transaction is read again.
fn ended_early() -> Error {
    Error::new(
        ErrorKind::Transient,
        "the source ended inside of a transaction: start again from the checkpoint",
    )
}

/// Ticks that come late rather than several at once.
fn ticks(first: Instant, period: Duration) -> Interval {
    let mut ticks = interval_at(first, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits to be dropped: the pipeline ends with the writer's error, the one that counts.
async fn writer_failed<T>() -> T {
    std::future::pending().await
}
