//! How a stream is doing: plain numbers, published on a watch channel.
//!
//! Whoever shows them (a progress bar, a status, a metrics page) holds a receiver; the engine knows none
//! of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::lsn::Lsn;
use crate::relation::TableName;

/// What the stream is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Looks at source and target, makes slot and publication.
    #[default]
    Starting,
    /// Copies tables.
    Snapshot,
    /// Builds indexes and constraints at the target.
    Finishing,
    /// Follows the log.
    Streaming,
    /// Has nothing left to do.
    Completed,
}

/// The snapshot of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableProgress {
    /// Rows copied.
    pub rows: u64,
    /// Bytes copied, as the wire carries them.
    pub bytes: u64,
    /// Bytes that the table takes at the source: what `bytes` goes towards, roughly.
    pub source_bytes: u64,
    /// Whether all of it is at the target.
    pub done: bool,
}

/// The numbers of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// What the stream is doing.
    pub phase: Phase,
    /// Tables of the snapshot.
    pub tables: BTreeMap<TableName, TableProgress>,
    /// All below was received.
    pub received: Lsn,
    /// All below is durable at the target, and was noted as such by this process: a restart does not deliver it again.
    pub saved: Lsn,
    /// All below was confirmed to the source.
    pub confirmed: Lsn,
    /// The end of the source's log, as it last said.
    pub source_end: Lsn,
    /// Transactions that are durable at the target.
    pub transactions: u64,
    /// Changes that are durable at the target.
    pub changes: u64,
    /// The source's clock at the last transaction that is durable at the target: microseconds since
    /// 2000-01-01 00:00 UTC; 0 before the first.
    pub last_commit_time_us: i64,
    /// Something that waits for a person, with the remedy; `None` when nothing does.
    pub waiting_for: Option<String>,
}

/// Publishes [`StreamStats`]; clones share the same numbers.
#[derive(Clone, Debug)]
pub struct Stats(Arc<watch::Sender<StreamStats>>);

impl Default for Stats {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(StreamStats::default())))
    }
}

impl Stats {
    /// Changes the numbers.
    pub fn update(&self, change: impl FnOnce(&mut StreamStats)) {
        self.0.send_modify(change);
    }

    /// Changes the numbers of one table of the snapshot.
    pub fn update_table(&self, table: &TableName, change: impl FnOnce(&mut TableProgress)) {
        self.0.send_modify(|stats| {
            if let Some(progress) = stats.tables.get_mut(table) {
                change(progress);
            }
        });
    }

    /// A receiver that sees every later change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<StreamStats> {
        self.0.subscribe()
    }
}
