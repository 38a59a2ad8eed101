//! The read half: takes events, lets batches leave, confirms what is durable. Waits for no sink.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::batch::{Batch, Batcher};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::pipeline::{Commands, Control, Flushed, Outcome, ReadEnd};
use crate::progress::Progress;
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
    /// A position that the sink waits for.
    pub(super) consistent_at: Option<Lsn>,
    /// When a position was last sent on to be saved while the stream was idle.
    pub(super) saved_at: Instant,
    /// The stream is complete when all below is durable.
    pub(super) complete_at: Option<Lsn>,
    pub(super) stopping: bool,
    pub(super) stats: Stats,
}

impl<S: Source> ReadHalf<S> {
    pub(super) async fn run(
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
                    Control::Complete if self.complete_at.is_some() => {}
                    Control::Complete => self.complete_at = Some(self.source.current_lsn().await?),
                    Control::Stop => self.stopping = true,
                },
                _ = ping.tick(), if self.complete_at.is_some() => self.ping().await?,
                permit = batches.reserve(), if self.batcher.is_ready() && !self.stopping => {
                    let Ok(permit) = permit else { return writer_failed().await };
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
        if self.stopping {
            return Some(Outcome::Stopped);
        }
        (self.has_all() && self.batcher.is_idle()).then_some(Outcome::Completed)
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
        let position = self.flushed.borrow_and_update().position;
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
