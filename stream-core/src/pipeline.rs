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

mod read;
mod start;
mod write;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::batch::Batcher;
use crate::checkpoint::{Checkpoint, Completion, OffsetStore, TableSync};
use crate::error::{Error, ErrorKind};
use crate::failpoint::{Step, reached};
use crate::lsn::Lsn;
use crate::pipeline::read::ReadHalf;
use crate::pipeline::start::StartUp;
use crate::pipeline::write::WriteHalf;
use crate::progress::Progress;
use crate::relation::TableName;
use crate::sink::Sink;
use crate::source::{Beginning, Source};
use crate::stats::{Phase, Stats};

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

    /// Runs until the stream is complete, is told to end, or cannot go on. One that was completed before
    /// touches neither source nor target. A stop wins over a completion that
    /// has not come to the source's removal. Dropping the controller is a stop, unless it has asked for
    /// completion.
    ///
    /// # Errors
    /// The first failure of source, sink or store. A retryable one can be followed by a new pipeline
    /// over the same store.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream as a crash would: nothing confirmed is lost.
    pub async fn run(self, control: mpsc::Receiver<Control>) -> Result<Outcome, Error> {
        // On the heap, because it is large and callers would have to know.
        Box::pin(self.run_whole(control)).await
    }

    async fn run_whole(mut self, control: mpsc::Receiver<Control>) -> Result<Outcome, Error> {
        let mut commands = Commands { control, complete: false };
        let begun = tokio::select! {
            biased;
            () = commands.stop() => return Ok(Outcome::Stopped),
            begun = self.begin() => begun?,
        };
        let mut begun = match begun {
            StartUp::Begun(begun) => *begun,
            StartUp::Remove => return self.remove().await,
            StartUp::Nothing => {
                tracing::info!(
                    "this stream is complete: to begin anew, remove its row of `sgstream.progress` and its tables at a PostgreSQL \
                     target, or `offsets` and `offsets.backup` in its data directory"
                );
                self.stats.update(|stats| stats.phase = Phase::Completed);
                return Ok(Outcome::Completed);
            }
        };
        if let Some(until) = begun.settles_until(&self.sink) {
            tracing::info!(%until, "delivering what has become of copied rows, before the tables are copied again");
            let Beginning { start, .. } = begun.beginning;
            let counts_from = begun.counts_from_while_settling();
            self.source.start(start, counts_from, self.sink.stream_format(), Some(until)).await?;
            let started = Started { start, consistent_at: None, complete_at: Some(until) };
            let ended;
            (ended, self, commands) = self.stream(started, commands).await?;
            if ended.outcome == Outcome::Stopped {
                self.source.close().await;
                return Ok(Outcome::Stopped);
            }
            begun.beginning.start = ended.position.max(start);
        }
        let started = tokio::select! {
            biased;
            () = commands.stop() => return Ok(Outcome::Stopped),
            started = self.copy(begun) => started?,
        };
        let Some(started) = started else {
            return self.complete(commands).await;
        };
        self.stats.update(|stats| {
            stats.phase = Phase::Streaming;
            // Until the first confirmation the stream is where it starts, not at the log's beginning.
            stats.confirmed = started.start;
        });
        let (ended, mut this, commands) = self.stream(started, commands).await?;
        this.source.close().await;
        match ended.outcome {
            Outcome::Completed => this.complete(commands).await,
            Outcome::Stopped => Ok(Outcome::Stopped),
        }
    }

    async fn complete(mut self, mut commands: Commands) -> Result<Outcome, Error> {
        tokio::select! {
            biased;
            () = commands.stop() => return Ok(Outcome::Stopped),
            finished = self.sink.finish() => finished?,
        }
        reached(Step::Finished);
        // Saved on both sides of the removal: before it, because what is half removed cannot be streamed again;
        // after it, because what was removed once may belong to another stream by the next start.
        self.offsets.save_completion(Completion::Delivered).await?;
        reached(Step::DeliveredSaved);
        self.remove().await
    }

    async fn remove(mut self) -> Result<Outcome, Error> {
        // Since all was delivered, another worker may have done the rest, and the stream may have begun anew.
        let Checkpoint { completion, position, .. } = self.offsets.load().await?;
        match completion {
            Completion::Open => return Err(begun_anew()),
            Completion::Delivered => {
                self.source.remove(position.unwrap_or(Lsn::new(u64::MAX))).await?;
            }
            Completion::Completed => {}
        }
        reached(Step::Removed);
        self.offsets.save_completion(Completion::Completed).await?;
        reached(Step::CompletedSaved);
        self.stats.update(|stats| stats.phase = Phase::Completed);
        Ok(Outcome::Completed)
    }

    /// Runs the two halves; gives the parts back when both have ended well.
    async fn stream(
        self,
        started: Started,
        commands: Commands,
    ) -> Result<(Ended, Self, Commands), Error> {
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
            stopping: false,
            stale: Vec::new(),
            stats: stats.clone(),
        };
        let write = WriteHalf { sink, offsets, batches: received, flushed, stats: stats.clone() };
        let mut halves = JoinSet::new();
        halves.spawn(async move { read.run(batches, commands).await.map(End::Read) });
        halves.spawn(async move { write.run().await.map(End::Write) });
        let ended = join(&mut halves).await;
        // After a failure the other half may be in the middle of a write: the next run must not meet it.
        halves.shutdown().await;
        let (ReadEnd { outcome, position, stale, source, commands }, (sink, mut offsets)) = ended?;
        if let Some((first, _)) = stale.first() {
            // A transaction that it has written in part may keep what is saved now.
            drop(sink);
            // The next look may find nothing that is wrong with them.
            offsets.save_tables(&stale).await?;
            return Err(stand_for_others(first, stale.len() - 1));
        }
        let this = Self { source, sink, offsets, batch_bytes, stats };
        Ok((Ended { outcome, position }, this, commands))
    }
}

/// How a stream ended, and what is durable then.
struct Ended {
    outcome: Outcome,
    position: Lsn,
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
    Read(ReadEnd<S>),
    Write((K, O)),
}

struct ReadEnd<S> {
    outcome: Outcome,
    position: Lsn,
    stale: Vec<(TableName, TableSync)>,
    source: S,
    commands: Commands,
}

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
    read.zip(write).ok_or_else(lost_half)
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

/// This worker had delivered the stream, and it was begun anew before the worker came to remove what the source keeps for it. That is the new
/// beginning's now.
///
/// Remedy: nothing, the stream goes on with the other worker.
fn begun_anew() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "the stream was begun anew after this worker had delivered it: slot and publication stay, and this worker ends",
    )
}

/// Names of the table's columns stood for other columns at this point of the log.
///
/// Remedy: nothing, the table is copied again, with all partitions of its root. Rows that are written then would get values of the other column.
fn stand_for_others(table: &TableName, others: usize) -> Error {
    let others = match others {
        0 => String::new(),
        others => format!(" and of {others} other partition(s) of its root"),
    };
    Error::new(
        ErrorKind::Changed,
        format!(
            "names of columns of table `{table}`{others} stood for other columns at this point of the log: copying again"
        ),
    )
}

/// A task of the stream ended without a result, which none does.
///
/// Remedy: start the stream again, and report it.
fn lost_half() -> Error {
    Error::new(ErrorKind::Permanent, "a half of the stream did not end")
}
