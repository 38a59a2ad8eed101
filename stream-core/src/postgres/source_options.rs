//! What a PostgreSQL source needs to know.

use std::path::PathBuf;
use std::time::Duration;

use super::ConnectOptions;
use super::publication::AutoCreate;
use crate::filter::TableFilter;

/// Which tables are copied before the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Those that were not copied yet.
    Initial,
    /// Those that were not copied yet; then the stream is complete.
    InitialOnly,
    /// None of those that are there when the stream begins; those that come later are.
    Never,
    /// All, at every start.
    Always,
    /// Those that were not copied yet, and nothing else: no log is read, and neither slot nor publication is made. Tables that are
    /// left over by a run that ended early are copied as they are at the next.
    RowsOnly,
}

/// Which protocol the plugin speaks, and when it sends a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginOptions {
    /// `proto_version`, 1 to 4; the lowest that does when it is not set. Version 2 came with PostgreSQL 14, 3 with 15, 4 with 16.
    pub proto_version: Option<u8>,
    /// When a transaction is sent.
    pub streaming: Streaming,
}

/// When the server sends a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Streaming {
    /// After its commit. The server keeps what is larger than its `logical_decoding_work_mem` on its own disk until then.
    #[default]
    Committed,
    /// While it runs, once it is larger than that. It is kept here until its commit.
    InProgress {
        /// Where what is larger than a few megabytes is kept.
        directory: PathBuf,
        /// Whether the server says more than is needed here, for those who apply such transactions at once.
        parallel: bool,
    },
}

impl PluginOptions {
    /// The options of `START_REPLICATION`, and a comma behind them.
    pub(super) fn to_sql(&self) -> String {
        let (lowest, streaming) = match self.streaming {
            Streaming::Committed => (1, ""),
            Streaming::InProgress { parallel: false, .. } => (2, "streaming 'on', "),
            Streaming::InProgress { parallel: true, .. } => (4, "streaming 'parallel', "),
        };
        format!("proto_version '{}', {streaming}", self.proto_version.unwrap_or(lowest))
    }
}

/// What large tables are cut into; smaller where streams are made to fail, so that it happens there.
const CHUNK_BYTES: u64 = if cfg!(feature = "failpoints") { 1 << 20 } else { 256 << 20 };

/// What a [`PostgresSource`](super::PostgresSource) needs to know.
#[derive(Clone, Debug)]
pub struct PostgresSourceOptions {
    /// Where the server is.
    pub connect: ConnectOptions,
    /// The replication slot's name.
    pub slot: String,
    /// Whether standbys that synchronise slots keep it too, where the server has such slots (17 and later).
    pub failover: bool,
    /// The publication's name.
    pub publication: String,
    /// Whether the publication is made here.
    pub auto_create: AutoCreate,
    /// Whether one that is made here publishes partitions under the names of their roots, each with all its partitions as one table.
    pub via_partition_root: bool,
    /// Whether the publication goes when the stream is complete.
    pub remove_publication: bool,
    /// Whether the slot goes when the stream is complete.
    pub remove_slot: bool,
    /// Which tables are captured.
    pub filter: TableFilter,
    /// Which of them are copied first.
    pub snapshot: SnapshotMode,
    /// What the plugin is asked for.
    pub plugin: PluginOptions,
    /// How many chunks are read at once.
    pub readers: usize,
    /// Bytes of a table, TOAST included, from which on it is copied in chunks of about that many, where there are several readers.
    pub chunk_bytes: u64,
    /// Whether the last table with rows is found before the snapshot is copied, for sinks that mark the last row of all.
    pub finds_last_table: bool,
    /// Whether generated columns are captured where the log has them, for sinks that do not compute them.
    pub generated_columns: bool,
    /// How long the server may go without a sign of life, at most; less when its
    /// `wal_sender_timeout` asks for it.
    pub confirm_interval: Duration,
    /// How often the catalogue is looked at for new tables.
    pub look_interval: Duration,
}

impl PostgresSourceOptions {
    /// A stream of every table of a database, existing rows first. Slot and publication are called `name`, are
    /// made when they are missing, and go when the stream is complete.
    #[must_use]
    pub fn new(connect: ConnectOptions, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            connect,
            slot: name.clone(),
            failover: false,
            publication: name,
            auto_create: AutoCreate::Filtered,
            via_partition_root: false,
            remove_publication: true,
            remove_slot: true,
            filter: TableFilter::default(),
            snapshot: SnapshotMode::Initial,
            plugin: PluginOptions::default(),
            readers: 2,
            chunk_bytes: CHUNK_BYTES,
            finds_last_table: false,
            generated_columns: false,
            confirm_interval: Duration::from_secs(10),
            look_interval: Duration::from_secs(30),
        }
    }
}
