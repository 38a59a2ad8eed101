//! The contract of a source of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::change::{Change, Transaction};
use crate::checkpoint::{Checkpoint, SourceIdentity, TableSync};
use crate::copy::{Chunk, CopyFormat, CopyStream};
use crate::error::Error;
use crate::filter::TableFilter;
use crate::lsn::Lsn;
use crate::relation::{RelationId, TableName};

use crate::stats::Stats;
use crate::table::Table;
use crate::types::Types;

/// What a source found when it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// Whose positions the source speaks of.
    pub identity: SourceIdentity,
    /// The captured tables.
    pub tables: Vec<Arc<Table>>,
    /// The types that are not built in. What was committed before they were read is seen in the tables, too.
    pub types: Arc<Types>,
    /// Captured partitioned tables: they hold no rows themselves, and may have no partition yet.
    pub partitioned: Vec<TableName>,
    /// Partitions whose rows come under another name, each with that name: the schema brings them along, and no row does.
    pub parts: BTreeMap<TableName, TableName>,
    /// Tables that were copied, and whose changes are in no log for the time being: what is noted of them is worthless.
    pub unlogged: BTreeSet<TableName>,
    /// Those of the tables that will be copied first.
    pub to_copy: BTreeSet<TableName>,
    /// What is captured: by it a column is judged that the log has, and the table has not any more.
    pub filter: TableFilter,
}

/// Where a stream begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// All below it is in the target, or in the snapshot, or not wanted. Before the snapshot where the source kept the log for an earlier run.
    pub start: Lsn,
    /// The snapshot to copy first; `None` when every table has one.
    pub snapshot: Option<Snapshot>,
    /// Tables that are taken up without a copy: their changes count from `start` on.
    pub taken_up: Vec<Arc<Table>>,
    /// Tables that the source itself has had published otherwise: what their checkpoint notes of it is to be brought up to date.
    pub republished: Vec<Arc<Table>>,
    /// Whether the stream is complete once the snapshot is.
    pub snapshot_only: bool,
}

/// A snapshot that is there to be copied.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where it was taken: it holds exactly the transactions whose commit record begins below.
    pub lsn: Lsn,
    /// The tables to copy.
    pub tables: Vec<Arc<Table>>,
    /// The parts to copy them in, begun in this order.
    pub chunks: Vec<Chunk>,
    /// The table that comes last and has rows, for sinks that mark the last row of all. `None` when nobody asked for it, or
    /// when no table has rows.
    pub last: Option<TableName>,
    /// When it was taken, by our clock.
    pub taken_at: SystemTime,
    /// How many parts may be read at once.
    pub readers: usize,
}

/// What comes out of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// A transaction begins.
    Begin(Transaction),
    /// A change of it, or a message outside of transactions.
    Change {
        /// The change's number in its transaction, from 0.
        ordinal: u64,
        /// Where the change stands in the log.
        lsn: Lsn,
        /// What happened.
        change: Change,
        /// Bytes of received buffers that the change keeps from being freed.
        held_bytes: usize,
    },
    /// The transaction is complete.
    Commit {
        /// That transaction.
        transaction: Transaction,
        /// Where its commit record ends.
        end: Lsn,
    },
    /// From here on the log's changes of these tables do not make the target's rows those of the source: only a copy does, and there must be
    /// one before the next event. Each with what is to be saved of it.
    Stale(Vec<(TableName, TableSync)>),
    /// Nothing to send below this position.
    Heartbeat {
        /// The end of the log that the source has looked through.
        wal_end: Lsn,
        /// Whether the source asks for an answer.
        reply: bool,
    },
    /// The source has ended for good: the stream is complete, and will be removed. A server that shuts down is
    /// an error instead.
    End,
}

/// From which position changes count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountsFrom {
    /// Those of the table that has the name now; where none has, of the one that had it.
    pub names: BTreeMap<TableName, Lsn>,
    /// What had a name when it was copied, where that is known: of another one, which had it only for a while, nobody knows a row.
    pub owners: BTreeMap<TableName, RelationId>,
    /// What tables were part of when they were copied, where that is known: a pattern for it was one for them.
    pub roots: BTreeMap<RelationId, TableName>,
    /// Those of tables for which another position holds than for what had their name before.
    pub relations: BTreeMap<RelationId, Lsn>,
    /// Tables of which everything is known under the name that they have now, whatever the log calls them.
    pub as_called_now: BTreeSet<RelationId>,
}

/// Reads chunks of a snapshot, one at a time.
pub trait ChunkReader: Send + 'static {
    /// Reads a chunk of `table`.
    ///
    /// # Errors
    /// When the reading cannot begin; later failures come in the stream.
    fn read<'a>(
        &'a mut self,
        table: &'a Table,
        chunk: &'a Chunk,
        format: CopyFormat,
    ) -> impl Future<Output = Result<CopyStream<'a>, Error>> + Send;
}

/// A source of changes. Used in this order: `inspect`, `begin`, `reader` for the snapshot's parts, `start`, then
/// `next` and `confirm` until the end, `close`, and `remove` when the stream is complete (without `close` when
/// there was only a snapshot).
pub trait Source: Send + 'static {
    /// Reads the snapshot.
    type Reader: ChunkReader;

    /// Looks at the source: whether it can be used, and which tables are captured. Changes nothing.
    /// `stats` shows what it waits for.
    ///
    /// # Errors
    /// When the source cannot be used.
    fn inspect(
        &mut self,
        checkpoint: &Checkpoint,
        stats: &Stats,
    ) -> impl Future<Output = Result<Inspected, Error>> + Send;

    /// Makes what the stream needs at the source, and decides where it begins. `stats` shows what it waits
    /// for.
    ///
    /// # Errors
    /// When the stream cannot begin.
    fn begin(
        &mut self,
        checkpoint: &Checkpoint,
        stats: &Stats,
    ) -> impl Future<Output = Result<Beginning, Error>> + Send;

    /// Opens another reader of the snapshot that `begin` announced.
    ///
    /// # Errors
    /// When the snapshot cannot be reached.
    fn reader(&mut self) -> impl Future<Output = Result<Self::Reader, Error>> + Send;

    /// Begins the stream at `position`. `counts_from` says for each table from which position its changes
    /// count; changes of tables that are not in it are left out. `format` is the form in which the sink wants
    /// values, as far as the types have it.
    ///
    /// With `until` the events end ([`SourceEvent::End`]) before the first transaction whose commit record begins there or above, no position
    /// beyond it is told, and the snapshot of `begin` stays: `start` is called again once it was read.
    ///
    /// # Errors
    /// When the stream cannot begin.
    fn start(
        &mut self,
        position: Lsn,
        counts_from: CountsFrom,
        format: CopyFormat,
        until: Option<Lsn>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The next event.
    ///
    /// # Errors
    /// When the stream breaks.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    fn next(&mut self) -> impl Future<Output = Result<SourceEvent, Error>> + Send;

    /// Lets the source forget what is below `flush`; also the sign of life that it waits for.
    ///
    /// # Errors
    /// When the connection is lost.
    fn confirm(&mut self, flush: Lsn) -> impl Future<Output = Result<(), Error>> + Send;

    /// How long the source may go without a sign of life.
    fn confirm_interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs(10)
    }

    /// As `confirm`, and asks how far the source has looked through its log; the answer comes as a heartbeat.
    ///
    /// # Errors
    /// When the connection is lost.
    fn ping(&mut self, flush: Lsn) -> impl Future<Output = Result<(), Error>> + Send {
        self.confirm(flush)
    }

    /// The end of the source's log as far as its messages have told, to show how far behind the stream is.
    fn last_known_end(&self) -> Lsn {
        Lsn::default()
    }

    /// The end of the source's log now. Nothing is confirmed until it answers: it must have a time limit well
    /// below `confirm_interval`.
    ///
    /// # Errors
    /// When the source does not answer.
    fn current_lsn(&mut self) -> impl Future<Output = Result<Lsn, Error>> + Send;

    /// Ends the session; what the source keeps for the stream stays.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// Ends the session, if there is one, and removes what the source keeps for the stream: it will not go on. What stands beyond `delivered`
    /// is not what the stream had: it was made since, for its next beginning, and stays.
    /// May be called again after it failed, by another run too, and finds only a part then, or nothing.
    ///
    /// # Errors
    /// When something could not be removed, or is not the stream's any more.
    fn remove(&mut self, delivered: Lsn) -> impl Future<Output = Result<(), Error>> + Send;
}
