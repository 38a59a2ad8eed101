//! The write half: writes, saves, and only then tells the read half.
//!
//! ```text
//!  batches ─► write ─► saved last ─► tell        two loops, so that a store which takes its time
//!                 └──► (the newest)              does not keep the target waiting
//! ```

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
    pub(super) async fn run(self) -> Result<(K, O), Error> {
        let Self { mut sink, mut offsets, mut batches, flushed, stats } = self;
        let (written, unsaved) = watch::channel(*flushed.borrow());
        let write = async {
            // Taken along, so that the other loop ends when this one has.
            let written = written;
            while let Some(batch) = batches.recv().await {
                sink.write(&batch).await?;
                reached(Step::Written);
                count(&batch, &stats);
                written.send_modify(|written| {
                    written.batches += 1;
                    written.position = batch.ack.unwrap_or(written.position);
                });
            }
            Ok(())
        };
        tokio::try_join!(write, save(&mut offsets, unsaved, &flushed, &stats))?;
        Ok((sink, offsets))
    }
}

/// Saves the newest of the positions that were written, and tells it, again and again.
async fn save<O: OffsetStore>(
    offsets: &mut O,
    mut written: watch::Receiver<Flushed>,
    flushed: &watch::Sender<Flushed>,
    stats: &Stats,
) -> Result<(), Error> {
    let mut saved = flushed.borrow().position;
    while written.changed().await.is_ok() {
        let newest = *written.borrow_and_update();
        // Saved before it is confirmed: the source may forget it at once.
        if newest.position != saved {
            offsets.save_position(newest.position).await?;
            reached(Step::Saved);
            saved = newest.position;
            stats.update(|stats| stats.saved = saved);
        }
        flushed.send_replace(newest);
        let interval = offsets.save_interval();
        if !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
    }
    Ok(())
}

fn count(batch: &Batch, stats: &Stats) {
    let commits = batch.entries.iter().filter_map(|entry| match entry {
        Entry::Commit { transaction, .. } => Some(transaction.commit_time_us),
        Entry::Begin(_) | Entry::Change { .. } => None,
    });
    let (count, last) = commits.fold((0, None), |(count, _), time| (count + 1, Some(time)));
    let changes = u64::try_from(batch.changes()).unwrap_or(u64::MAX);
    stats.update(|stats| {
        stats.transactions += count;
        stats.changes += changes;
        stats.last_commit_time_us = last.unwrap_or(stats.last_commit_time_us);
    });
}
