//! The write half: writes, saves, and only then tells the read half.

use tokio::sync::{mpsc, watch};

use crate::batch::{Batch, Entry};
use crate::checkpoint::OffsetStore;
use crate::error::Error;
use crate::failpoint::{Step, reached};
use crate::pipeline::Flushed;
use crate::sink::Sink;
use crate::stats::Stats;

pub(super) struct WriteHalf<K, O> {
    pub(super) sink: K,
    pub(super) offsets: O,
    pub(super) batches: mpsc::Receiver<Batch>,
    pub(super) flushed: watch::Sender<Flushed>,
    pub(super) stats: Stats,
}

impl<K: Sink, O: OffsetStore> WriteHalf<K, O> {
    pub(super) async fn run(mut self) -> Result<(K, O), Error> {
        while let Some(batch) = self.batches.recv().await {
            self.sink.write(&batch).await?;
            reached(Step::Written);
            // Saved before it is confirmed: the source may forget it at once.
            if let Some(position) = batch.ack {
                self.offsets.save_position(position).await?;
            }
            reached(Step::Saved);
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
