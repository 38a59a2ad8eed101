//! Watches a source, a sink or a store for the ledger.

use std::time::Duration;

use crate::batch::Batch;
use crate::checkpoint::{Checkpoint, Completion, OffsetStore, SourceIdentity, TableSync};
use crate::copy::{CopyFormat, TableCopy};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::sink::Sink;
use crate::source::{Beginning, CountsFrom, Inspected, Snapshot, Source, SourceEvent};
use crate::stats::Stats;
use crate::table::Table;
use crate::testing::ledger::{Call, Ledger};

/// A source, sink or store whose every call is entered in a ledger. A call that breaks a promise fails.
#[derive(Clone, Debug)]
pub struct Observed<T> {
    inner: T,
    ledger: Ledger,
    /// Whether its run was begun: with the first look at what is saved.
    runs: bool,
}

impl<T> Observed<T> {
    /// Watches `inner` for `ledger`.
    pub const fn new(inner: T, ledger: Ledger) -> Self {
        Self { inner, ledger, runs: false }
    }
}

impl<S: Source> Source for Observed<S> {
    type Reader = S::Reader;

    async fn inspect(
        &mut self,
        checkpoint: &Checkpoint,
        stats: &Stats,
    ) -> Result<Inspected, Error> {
        self.inner.inspect(checkpoint, stats).await
    }

    async fn begin(&mut self, checkpoint: &Checkpoint, stats: &Stats) -> Result<Beginning, Error> {
        let beginning = self.inner.begin(checkpoint, stats).await?;
        self.ledger.begins(&beginning);
        Ok(beginning)
    }

    async fn reader(&mut self) -> Result<S::Reader, Error> {
        self.inner.reader().await
    }

    async fn start(
        &mut self,
        position: Lsn,
        counts_from: CountsFrom,
        format: CopyFormat,
        until: Option<Lsn>,
    ) -> Result<(), Error> {
        self.ledger.starts(position, &counts_from.names, until.is_some())?;
        self.inner.start(position, counts_from, format, until).await
    }

    async fn next(&mut self) -> Result<SourceEvent, Error> {
        let event = self.inner.next().await?;
        self.ledger.sends(&event);
        Ok(event)
    }

    async fn confirm(&mut self, flush: Lsn) -> Result<(), Error> {
        self.ledger.confirms(flush)?;
        self.inner.confirm(flush).await
    }

    fn confirm_interval(&self) -> Duration {
        self.inner.confirm_interval()
    }

    async fn ping(&mut self, flush: Lsn) -> Result<(), Error> {
        self.ledger.confirms(flush)?;
        self.inner.ping(flush).await
    }

    fn last_known_end(&self) -> Lsn {
        self.inner.last_known_end()
    }

    async fn current_lsn(&mut self) -> Result<Lsn, Error> {
        self.inner.current_lsn().await
    }

    async fn close(&mut self) {
        self.inner.close().await;
        self.ledger.called(Call::Close);
    }

    async fn remove(&mut self, delivered: Lsn) -> Result<(), Error> {
        self.ledger.removes()?;
        self.inner.remove(delivered).await?;
        self.ledger.called(Call::Remove);
        Ok(())
    }
}

impl<K: Sink + Sync> Sink for Observed<K> {
    async fn prepare(&mut self, source: &Inspected, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.inner.prepare(source, checkpoint).await
    }

    fn keeps_copied_rows(&self) -> bool {
        self.inner.keeps_copied_rows()
    }

    async fn begin_copy(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.ledger.begins_copy(&snapshot.tables)?;
        self.inner.begin_copy(snapshot).await
    }

    fn copy_format(&self, table: &Table) -> CopyFormat {
        self.inner.copy_format(table)
    }

    fn stream_format(&self) -> CopyFormat {
        self.inner.stream_format()
    }

    async fn fork(&self) -> Result<Option<Self>, Error> {
        let inner = self.inner.fork().await?;
        Ok(inner.map(|inner| Self::new(inner, self.ledger.clone())))
    }

    async fn copy(&mut self, copy: TableCopy<'_>) -> Result<u64, Error> {
        let table = copy.table.name.clone();
        let rows = self.inner.copy(copy).await?;
        self.ledger.copied(&table);
        Ok(rows)
    }

    async fn snapshot_completed(&mut self, consistent_at: Option<Lsn>) -> Result<(), Error> {
        self.ledger.completes_snapshot(consistent_at)?;
        self.inner.snapshot_completed(consistent_at).await
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        self.ledger.writes(batch)?;
        self.inner.write(batch).await?;
        self.ledger.wrote(batch);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.ledger.finishes()?;
        self.inner.finish().await?;
        self.ledger.called(Call::Finish);
        Ok(())
    }
}

impl<O: OffsetStore> OffsetStore for Observed<O> {
    async fn load(&mut self) -> Result<Checkpoint, Error> {
        let checkpoint = self.inner.load().await?;
        if !std::mem::replace(&mut self.runs, true) {
            self.ledger.runs(&checkpoint);
        }
        Ok(checkpoint)
    }

    async fn save_start(&mut self, source: &SourceIdentity, position: Lsn) -> Result<(), Error> {
        self.inner.save_start(source, position).await?;
        self.ledger.saved(position);
        Ok(())
    }

    async fn save_position(&mut self, position: Lsn) -> Result<(), Error> {
        self.ledger.saves(position)?;
        self.inner.save_position(position).await?;
        self.ledger.saved(position);
        Ok(())
    }

    async fn save_tables(&mut self, tables: &[(TableName, TableSync)]) -> Result<(), Error> {
        self.ledger.saves_tables(tables)?;
        self.inner.save_tables(tables).await?;
        self.ledger.saved_tables(tables);
        Ok(())
    }

    async fn save_completion(&mut self, completion: Completion) -> Result<(), Error> {
        self.ledger.saves_completion(completion)?;
        self.inner.save_completion(completion).await?;
        self.ledger.saved_completion(completion);
        Ok(())
    }
}
