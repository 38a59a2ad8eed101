//! What must be known to go on after a stop.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::lsn::Lsn;
use crate::relation::{RelationId, TableName};
use crate::table::{Table, TableOrigin};

/// Which log a position belongs to: positions of another server or slot mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceIdentity {
    /// The server's `system_identifier`.
    pub system_id: String,
    /// The replication slot's name.
    pub slot: String,
    /// The timeline of the server's log; `None` where it is not known, and for a standby, which takes another when it is
    /// promoted while it is read.
    pub timeline: Option<u32>,
}

/// How far one table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableSync {
    /// Its snapshot is not complete: what the target holds of it is worthless.
    Copying {
        /// Where it was taken: what an endpoint knows of the table is of then, or of later. Not kept where nobody needs it.
        lsn: Lsn,
        /// Of which table, which may have another name by now; `None` where nobody noted it.
        relation: Option<RelationId>,
    },
    /// The target holds a snapshot taken at `lsn`. The stream skips the table's changes of transactions
    /// whose commit record begins below it.
    Synced {
        /// Where the snapshot was taken.
        lsn: Lsn,
        /// Of which table.
        origin: TableOrigin,
    },
}

impl TableSync {
    /// What is to be saved once the target holds the rows of `table` as of `lsn`: of the table, and of its parts.
    #[must_use]
    pub fn synced(table: &Table, lsn: Lsn) -> Vec<(TableName, Self)> {
        let synced = |origin| Self::Synced { lsn, origin };
        let parts = table.parts.iter().flatten();
        let parts = parts.map(|part| (part.name.clone(), synced(part.origin.clone())));
        std::iter::once((table.name.clone(), synced(table.origin()))).chain(parts).collect()
    }
}

/// How far a stream is on the way to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// There is more to come.
    #[default]
    Open,
    /// All is delivered and the target is finished; what the source keeps for the stream may be there still.
    Delivered,
    /// Nothing is left to do.
    Completed,
}

/// The position of a stream and of each of its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose positions these are; `None` before the first start.
    pub source: Option<SourceIdentity>,
    /// All below is durable at the target; `None` before the stream has a slot, and, with a `source`, when the position was
    /// lost: then it is that of the slot.
    pub position: Option<Lsn>,
    /// The tables that the stream has taken up.
    pub tables: BTreeMap<TableName, TableSync>,
    /// How far the stream is on the way to its end.
    pub completion: Completion,
}

impl Checkpoint {
    /// What tables were part of when they were copied.
    #[must_use]
    pub fn roots(&self) -> BTreeMap<RelationId, TableName> {
        let root = |sync: &TableSync| match sync {
            TableSync::Synced { origin, .. } => Some((origin.relation, origin.root.clone()?)),
            TableSync::Copying { .. } => None,
        };
        self.tables.values().filter_map(root).collect()
    }
}

/// Keeps a [`Checkpoint`].
///
/// A sink that commits the position with its data has a store of its own, whose `save_position` has
/// nothing left to do.
pub trait OffsetStore: Send + 'static {
    /// What was saved last; the default when nothing was.
    ///
    /// # Errors
    /// When the store cannot be read. One that is lost may be an empty checkpoint: where a slot is there all the same, the log from its position on
    /// comes before the copy to sinks that keep copied rows.
    fn load(&mut self) -> impl Future<Output = Result<Checkpoint, Error>> + Send;

    /// Saves that the stream belongs to `source` and starts at `position`.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn save_start(
        &mut self,
        source: &SourceIdentity,
        position: Lsn,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Saves that all below `position` is durable at the target. Called after the `Sink::write` that made it so, while the next may
    /// be under way already, and before it is confirmed to the source. Where saving takes longer than writing, only the last of
    /// several positions is saved.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn save_position(&mut self, position: Lsn) -> impl Future<Output = Result<(), Error>> + Send;

    /// How long to wait after a position was saved before the next is, in a store where that has a price. What is written in between
    /// comes again after a crash, to sinks that keep no position of their own. No time by default.
    fn save_interval(&self) -> Duration {
        Duration::ZERO
    }

    /// Saves how far tables are.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn save_tables(
        &mut self,
        tables: &[(TableName, TableSync)],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Saves how far the stream is on the way to its end. From [`Completion::Delivered`] on it is never streamed
    /// again, because the source may have forgotten it.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn save_completion(
        &mut self,
        completion: Completion,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Keeps a checkpoint in memory: for tests, and for streams that always start anew.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    checkpoint: Checkpoint,
}

impl OffsetStore for MemoryStore {
    async fn load(&mut self) -> Result<Checkpoint, Error> {
        Ok(self.checkpoint.clone())
    }

    async fn save_start(&mut self, source: &SourceIdentity, position: Lsn) -> Result<(), Error> {
        self.checkpoint.source = Some(source.clone());
        self.checkpoint.position = Some(position);
        Ok(())
    }

    async fn save_position(&mut self, position: Lsn) -> Result<(), Error> {
        self.checkpoint.position = Some(position);
        Ok(())
    }

    async fn save_tables(&mut self, tables: &[(TableName, TableSync)]) -> Result<(), Error> {
        self.checkpoint.tables.extend(tables.iter().cloned());
        Ok(())
    }

    async fn save_completion(&mut self, completion: Completion) -> Result<(), Error> {
        self.checkpoint.completion = completion;
        Ok(())
    }
}
