//! A sink that remembers what it got.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::{Batch, Entry};
use crate::change::{Change, TupleData};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::sink::Sink;
use crate::source::Inspected;
use crate::testing::faults::Faults;

/// A [`Sink`] whose clones share one target. Copies a snapshot by the default of [`Sink::copy`].
#[derive(Clone, Debug, Default)]
pub struct RecordingSink {
    written: Arc<Mutex<Vec<Batch>>>,
    completed: Arc<Mutex<Vec<Option<Lsn>>>>,
    /// What [`Sink::keeps_copied_rows`] says.
    pub keeps_copied_rows: bool,
    /// Whether several of them may copy at once.
    pub forks: bool,
    /// Trouble of `prepare`.
    pub prepares: Faults,
    /// Trouble of `write`, the rows of a snapshot among it.
    pub writes: Faults,
    /// Trouble of `finish`.
    pub finishes: Faults,
}

impl RecordingSink {
    /// The batches written, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch> {
        self.written().clone()
    }

    /// The positions from which on the target was said to be consistent.
    #[must_use]
    pub fn completed(&self) -> Vec<Option<Lsn>> {
        self.completed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The batches written as text: `B` begin, `c` change, `C` commit, `r` row of a snapshot, and the ack.
    #[must_use]
    pub fn shapes(&self) -> Vec<String> {
        self.written().iter().map(shape).collect()
    }

    /// The first column of every snapshot row, sorted.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        let mut rows: Vec<_> = self
            .written()
            .iter()
            .flat_map(|batch| &batch.entries)
            .filter_map(|entry| match entry {
                Entry::Change { change: Change::Read { new, .. }, .. } => match new.get(0) {
                    Some(TupleData::Text(text)) => Some(String::from_utf8_lossy(text).into()),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        rows.sort();
        rows
    }

    fn written(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for RecordingSink {
    async fn prepare(
        &mut self,
        _source: &Inspected,
        _checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        self.prepares.meet("prepare").await
    }

    fn keeps_copied_rows(&self) -> bool {
        self.keeps_copied_rows
    }

    async fn fork(&self) -> Result<Option<Self>, Error> {
        Ok(self.forks.then(|| self.clone()))
    }

    async fn snapshot_completed(&mut self, consistent_at: Option<Lsn>) -> Result<(), Error> {
        self.completed.lock().unwrap_or_else(PoisonError::into_inner).push(consistent_at);
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        self.writes.meet("write").await?;
        self.written().push(batch.clone());
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.finishes.meet("finish").await
    }
}

fn shape(batch: &Batch) -> String {
    let mut shape: String = batch
        .entries
        .iter()
        .map(|entry| match entry {
            Entry::Begin(_) => 'B',
            Entry::Change { change: Change::Read { .. }, .. } => 'r',
            Entry::Change { .. } => 'c',
            Entry::Commit { .. } => 'C',
        })
        .collect();
    if let Some(ack) = batch.ack {
        shape.push_str(&format!("@{ack}"));
    }
    shape
}
