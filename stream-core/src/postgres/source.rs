//! PostgreSQL as a source.
//!
//! ```text
//!  inspect ─► begin ─► (reader …) ─► start ─► next … confirm … ─► close | remove
//!  catalogue   publication, slot,     replication stream,
//!  preflight   snapshot               decoded and assembled
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;

use super::blocker;
use super::capture::{Captured, capture, measure};
use super::catalog::read_tables;
use super::connect::Session;
use super::preflight;
use super::publication::{self, AutoCreate};
use super::replication::{ReplicationStream, StreamMessage};
use super::slot::{self, Expected};
use super::wire::{Wire, WireReader};
use super::{ConnectError, ConnectOptions, SqlClient, problem, tables};
use crate::assemble::{Assembled, Assembler};
use crate::checkpoint::{Checkpoint, SourceIdentity, TableSync};
use crate::copy::{CopyFormat, CopyPiece, CopyStream};
use crate::error::{Error, ErrorKind};
use crate::filter::TableFilter;
use crate::lsn::Lsn;
use crate::pgoutput::{self, Framing};
use crate::relation::TableName;
use crate::snapshot::plan::{Chunk, copy_sql, plan};
use crate::source::{Beginning, ChunkReader, Inspected, Snapshot, Source, SourceEvent};
use crate::stats::Stats;
use crate::table::Table;

use super::gate::Gate;
use super::lookout::Lookout;

/// How long the creation of a slot may take before it is said what it waits for.
const SLOT_PATIENCE: Duration = Duration::from_secs(2);
/// How often something that a person must do is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Bytes of a large table that are copied at once.
const CHUNK_BYTES: u64 = 256 << 20;

/// Which tables are copied before the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Those that were not copied yet.
    Initial,
    /// Those that were not copied yet; then the stream is complete.
    InitialOnly,
    /// None.
    Never,
    /// All, at every start.
    Always,
}

/// What a [`PostgresSource`] needs to know.
#[derive(Clone, Debug)]
pub struct PostgresSourceOptions {
    /// Where the server is.
    pub connect: ConnectOptions,
    /// The replication slot's name.
    pub slot: String,
    /// The publication's name.
    pub publication: String,
    /// Whether the publication is made here.
    pub auto_create: AutoCreate,
    /// Whether the publication goes when the stream is complete.
    pub remove_publication: bool,
    /// Whether the slot goes when the stream is complete.
    pub remove_slot: bool,
    /// Which tables are captured.
    pub filter: TableFilter,
    /// Which of them are copied first.
    pub snapshot: SnapshotMode,
    /// How many chunks are read at once.
    pub readers: usize,
    /// How long the server may go without a sign of life, at most; less when its
    /// `wal_sender_timeout` asks for it.
    pub confirm_interval: Duration,
    /// How often the catalogue is looked at for new tables.
    pub look_interval: Duration,
}

/// A PostgreSQL database as a source of changes.
pub struct PostgresSource {
    options: PostgresSourceOptions,
    captured: Captured,
    tables: Vec<Arc<Table>>,
    confirm_interval: Duration,
    /// The session that holds the exported snapshot, and the snapshot's name.
    exporter: Option<(Wire, String)>,
    stream: Option<ReplicationStream>,
    assembler: Assembler,
    gate: Gate,
    lookout: Lookout,
    last_known_end: Lsn,
    /// The slot's name, while it is not there yet.
    slot_is_there: bool,
    confirmed_flush: Option<Lsn>,
}

impl PostgresSource {
    /// A source that has not connected yet.
    #[must_use]
    pub fn new(options: PostgresSourceOptions) -> Self {
        let confirm_interval = options.confirm_interval;
        Self {
            options,
            captured: Captured::default(),
            tables: Vec::new(),
            confirm_interval,
            exporter: None,
            stream: None,
            assembler: Assembler::new(),
            gate: Gate::default(),
            lookout: Lookout::default(),
            last_known_end: Lsn::default(),
            slot_is_there: false,
            confirmed_flush: None,
        }
    }

    async fn sql(&self) -> Result<SqlClient, Error> {
        SqlClient::connect(&self.options.connect).await.map_err(at_source)
    }

    async fn replication(&self) -> Result<Wire, Error> {
        Wire::connect(&self.options.connect, Session::Replication).await.map_err(at_source)
    }

    /// Reads the catalogue until there is something to capture.
    async fn capture(&self, client: &SqlClient, stats: &Stats) -> Result<Captured, Error> {
        let mut said = false;
        loop {
            let catalog = read_tables(client).await.map_err(problem::from_query)?;
            let mut captured = capture(&catalog, &self.options.filter);
            if !captured.tables.is_empty() || !captured.partitioned.is_empty() {
                measure(client, &mut captured).await.map_err(problem::from_query)?;
                return Ok(captured);
            }
            if !said {
                said = true;
                let database = &self.options.connect.database;
                let unmatched: Vec<_> =
                    captured.unmatched.iter().map(ToString::to_string).collect();
                let waiting = format!(
                    "database `{database}` has no table to capture{}{}: waiting until there is one; create it, or \
                     stop and correct `includes` and `excludes`",
                    if unmatched.is_empty() { "" } else { "; " },
                    unmatched.join("; ")
                );
                tracing::warn!("{waiting}");
                stats.update(|stats| stats.waiting_for = Some(waiting));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn say_what_is_left_out(captured: &Captured) {
        for left_out in &captured.left_out {
            tracing::warn!("{left_out}");
        }
        for unmatched in &captured.unmatched {
            tracing::warn!("{unmatched}");
        }
    }

    /// Which tables a run with this checkpoint copies.
    fn to_copy(&self, checkpoint: &Checkpoint) -> BTreeSet<TableName> {
        let synced = |name: &TableName| {
            matches!(checkpoint.tables.get(name), Some(TableSync::Synced { .. }))
        };
        let wanted = |name: &TableName| match self.options.snapshot {
            SnapshotMode::Initial | SnapshotMode::InitialOnly => !synced(name),
            SnapshotMode::Never => false,
            SnapshotMode::Always => true,
        };
        self.tables.iter().map(|table| &table.name).filter(|name| wanted(name)).cloned().collect()
    }

    /// Makes the publication hold the captured tables, waiting for its owner where that is needed.
    async fn publish(&self, client: &SqlClient, stats: &Stats) -> Result<(), Error> {
        tables::give_identities(client, &self.captured).await?;
        let mut said = String::new();
        loop {
            let ensured = publication::ensure(
                client,
                &self.options.publication,
                &self.captured,
                false,
                self.options.auto_create,
            )
            .await;
            let error = match ensured {
                Ok(ensured) => {
                    tables::check_publication(&ensured)?;
                    stats.update(|stats| stats.waiting_for = None);
                    return Ok(());
                }
                Err(publication::PublicationError::Query { source, .. }) => {
                    return Err(problem::from_query(source));
                }
                Err(error) => error,
            };
            let waiting = error.to_string();
            if waiting != said {
                tracing::warn!("{waiting}");
                stats.update(|stats| stats.waiting_for = Some(waiting.clone()));
                said = waiting;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Creates a slot with an exported snapshot; says after a while what that waits for.
    async fn create_slot(
        &mut self,
        client: &SqlClient,
        name: &str,
        temporary: bool,
    ) -> Result<Lsn, Error> {
        let mut wire = self.replication().await?;
        let pid = wire.process_id();
        let sql = slot::create_sql(name, temporary);
        let created = {
            let create = wire.simple_query(&sql);
            tokio::pin!(create);
            loop {
                tokio::select! {
                    created = &mut create => break created,
                    () = tokio::time::sleep(SLOT_PATIENCE) => say_blockers(client, pid).await,
                }
            }
        };
        let rows = created.map_err(|error| problem::from_slot_creation(name, error))?;
        let row = rows.first();
        let value = |column| row.and_then(|row| row.by_name(column)).unwrap_or_default().to_owned();
        let lsn = value("consistent_point")
            .parse()
            .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        self.exporter = Some((wire, value("snapshot_name")));
        Ok(lsn)
    }

    fn decode(&mut self, body: bytes::Bytes) -> Result<Option<SourceEvent>, Error> {
        let size = body.len();
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Permanent, format!("cannot decode the source's log: {error}"))
        };
        let message =
            pgoutput::decode(body, Framing::Whole).map_err(|error| failed(error.into()))?;
        let Some(assembled) = self.assembler.push(message).map_err(|error| failed(error.into()))?
        else {
            return Ok(None);
        };
        match assembled {
            Assembled::Begin(transaction) => {
                self.gate.begin(transaction);
                Ok(Some(SourceEvent::Begin(transaction)))
            }
            Assembled::Commit { transaction, end } => {
                self.gate.end();
                Ok(Some(SourceEvent::Commit { transaction, end }))
            }
            Assembled::RelationChanged(relation) => {
                self.gate.relation(&relation)?;
                Ok(None)
            }
            Assembled::Change(change) => Ok(self.gate.pass(change, size)),
        }
    }
}

impl Source for PostgresSource {
    type Reader = SnapshotReader;

    async fn inspect(
        &mut self,
        checkpoint: &Checkpoint,
        stats: &Stats,
    ) -> Result<Inspected, Error> {
        let client = self.sql().await?;
        self.captured = self.capture(&client, stats).await?;
        Self::say_what_is_left_out(&self.captured);
        let publication = publication::read(&client, &self.options.publication)
            .await
            .map_err(problem::from_query)?;
        let found =
            preflight::check(&client, &self.captured, &self.options.slot, publication.as_ref())
                .await;
        problem::judge(found.map_err(problem::from_query)?)?;
        self.tables = self
            .captured
            .tables
            .iter()
            .map(|table| {
                tables::table(table, publication.as_ref().and_then(|found| found.rule(table)))
            })
            .map(Arc::new)
            .collect();
        tables::describe_types(&client, &mut self.tables).await?;
        self.confirm_interval =
            tables::confirm_interval(&client, self.options.confirm_interval).await?;
        let mut wire = self.replication().await?;
        let system = wire.simple_query("IDENTIFY_SYSTEM").await.map_err(problem::from_wire)?;
        let system_id =
            system.first().and_then(|row| row.by_name("systemid")).unwrap_or_default().to_owned();
        wire.terminate().await;
        let state = slot::state(&client, &self.options.slot).await.map_err(problem::from_query)?;
        let expected = Expected {
            slot: &self.options.slot,
            database: &self.options.connect.database,
            stored: checkpoint.position,
            server: slot::server_position(&client).await.map_err(problem::from_query)?,
        };
        let same_server =
            checkpoint.source.as_ref().is_none_or(|source| source.system_id == system_id);
        if same_server {
            slot::judge(state.as_ref(), &expected).map_err(problem::from_slot)?;
        }
        self.slot_is_there = state.is_some();
        self.confirmed_flush = state.and_then(|state| state.confirmed_flush);
        Ok(Inspected {
            identity: SourceIdentity { system_id, slot: self.options.slot.clone() },
            tables: self.tables.clone(),
            to_copy: self.to_copy(checkpoint),
        })
    }

    async fn begin(&mut self, checkpoint: &Checkpoint, stats: &Stats) -> Result<Beginning, Error> {
        let client = self.sql().await?;
        self.publish(&client, stats).await?;
        let to_copy = self.to_copy(checkpoint);
        let slot = self.options.slot.clone();
        let mut snapshot_lsn = None;
        let start = if let (true, Some(confirmed)) = (self.slot_is_there, self.confirmed_flush) {
            checkpoint.position.unwrap_or(confirmed).max(confirmed)
        } else {
            let lsn = self.create_slot(&client, &slot, false).await?;
            self.slot_is_there = true;
            snapshot_lsn = Some(lsn);
            lsn
        };
        if snapshot_lsn.is_none() && !to_copy.is_empty() {
            let name = slot::temporary_name(&slot);
            snapshot_lsn = Some(self.create_slot(&client, &name, true).await?);
        }
        let snapshot = snapshot_lsn.filter(|_| !to_copy.is_empty()).map(|lsn| {
            let tables: Vec<_> =
                self.tables.iter().filter(|table| to_copy.contains(&table.name)).cloned().collect();
            let extents: Vec<_> = self
                .captured
                .tables
                .iter()
                .filter(|table| to_copy.contains(&table.name))
                .map(super::capture::CapturedTable::extent)
                .collect();
            let readers = self.options.readers;
            Snapshot { lsn, tables, chunks: plan(&extents, readers, CHUNK_BYTES), readers }
        });
        let taken_up = self
            .tables
            .iter()
            // One whose copy was begun and is not wanted any more is taken up too.
            .filter(|table| {
                let synced = checkpoint.tables.get(&table.name);
                !to_copy.contains(&table.name) && !matches!(synced, Some(TableSync::Synced { .. }))
            })
            .map(|table| (table.name.clone(), start))
            .collect();
        let snapshot_only = self.options.snapshot == SnapshotMode::InitialOnly;
        Ok(Beginning { start, snapshot, taken_up, snapshot_only })
    }

    async fn reader(&mut self) -> Result<SnapshotReader, Error> {
        let Some((_, snapshot)) = &self.exporter else {
            return Err(Error::new(ErrorKind::Permanent, "there is no snapshot to read"));
        };
        let mut wire =
            Wire::connect(&self.options.connect, Session::Sql).await.map_err(at_source)?;
        let sql = format!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {}",
            crate::sql::Literal(snapshot)
        );
        wire.simple_query(&sql).await.map_err(problem::from_wire)?;
        Ok(SnapshotReader { wire })
    }

    async fn start(
        &mut self,
        position: Lsn,
        synced: BTreeMap<TableName, Lsn>,
        format: CopyFormat,
    ) -> Result<(), Error> {
        if let Some((wire, _)) = self.exporter.take() {
            wire.terminate().await;
        }
        let filter = self.options.filter.clone();
        self.gate = Gate::new(&self.tables, &self.captured, synced, filter);
        let wire = self.replication().await?;
        let slot = &self.options.slot;
        let stream =
            ReplicationStream::start(wire, slot, &self.options.publication, position, format)
                .await
                .map_err(|error| problem::from_stream_start(slot, error))?;
        self.stream = Some(stream);
        let filter = self.options.filter.clone();
        let connect = self.options.connect.clone();
        self.lookout = Lookout::new(connect, filter, &self.captured, self.options.look_interval);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent, Error> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(SourceEvent::End) };
            let message = tokio::select! {
                biased;
                found = self.lookout.found() => return Err(problem::new_tables(&found)),
                message = stream.next() => message,
            };
            let PostgresSourceOptions { slot, publication, .. } = &self.options;
            match message.map_err(|error| problem::from_stream(error, slot, publication))? {
                StreamMessage::Wal { wal_end, body } => {
                    self.last_known_end = self.last_known_end.max(wal_end);
                    if let Some(event) = self.decode(body)? {
                        return Ok(event);
                    }
                }
                StreamMessage::Keepalive { wal_end, reply } => {
                    self.last_known_end = self.last_known_end.max(wal_end);
                    return Ok(SourceEvent::Heartbeat { wal_end, reply });
                }
                StreamMessage::Done => {
                    return Err(Error::new(
                        ErrorKind::Transient,
                        "the source ended the replication stream: its server shuts down",
                    ));
                }
            }
        }
    }

    async fn confirm(&mut self, flush: Lsn) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.status(flush, false).await.map_err(problem::from_wire)
    }

    fn confirm_interval(&self) -> Duration {
        self.confirm_interval
    }

    async fn ping(&mut self, flush: Lsn) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.status(flush, true).await.map_err(problem::from_wire)
    }

    fn last_known_end(&self) -> Lsn {
        self.last_known_end
    }

    async fn current_lsn(&mut self) -> Result<Lsn, Error> {
        let client = self.sql().await?;
        let lsn = slot::server_position(&client).await.map_err(problem::from_query)?;
        client.close().await;
        Ok(lsn)
    }

    async fn close(&mut self) {
        if let Some((wire, _)) = self.exporter.take() {
            wire.terminate().await;
        }
        if let Some(stream) = self.stream.take() {
            stream.close().await;
        }
    }

    async fn remove(&mut self) -> Result<(), Error> {
        self.close().await;
        let client = self.sql().await?;
        if self.options.remove_slot {
            slot::drop_released(&client, &self.options.slot).await.map_err(problem::from_query)?;
        }
        if self.options.remove_publication {
            publication::drop(&client, &self.options.publication)
                .await
                .map_err(problem::from_query)?;
        }
        client.close().await;
        Ok(())
    }
}

fn at_source(error: ConnectError) -> Error {
    problem::from_connect(error).context("source")
}

async fn say_blockers(client: &SqlClient, walsender_pid: i32) {
    match blocker::blockers(client, walsender_pid).await {
        Ok(blockers) if blockers.is_empty() => {}
        Ok(blockers) => {
            let all: Vec<_> = blockers.iter().map(ToString::to_string).collect();
            tracing::warn!(
                "creating the replication slot waits for transactions that were running before: {}",
                all.join("; ")
            );
        }
        Err(error) => tracing::debug!(%error, "cannot see what the slot waits for"),
    }
}

/// A session that reads an exported snapshot.
pub struct SnapshotReader {
    wire: Wire,
}

impl ChunkReader for SnapshotReader {
    async fn read<'a>(
        &'a mut self,
        table: &'a Table,
        chunk: &'a Chunk,
        format: CopyFormat,
    ) -> Result<CopyStream<'a>, Error> {
        let columns: Vec<_> = table.columns.iter().map(|column| &column.name).collect();
        let sql = copy_sql(chunk, &columns, format, table.row_filter.as_deref());
        self.wire.copy_out(&sql).await.map_err(problem::from_wire)?;
        // The end of the binary form is a message that is no row.
        let no_rows = u64::from(format == CopyFormat::Binary);
        Ok(Box::pin(stream::try_unfold((&mut self.wire.reader, no_rows), next_piece)))
    }
}

/// The next piece, and the state that follows it: `no_rows` messages that are no rows are still to be left out.
async fn next_piece(
    (reader, no_rows): (&mut WireReader, u64),
) -> Result<Option<(CopyPiece, (&mut WireReader, u64))>, Error> {
    let piece = reader.copy_piece().await.map_err(problem::from_wire)?;
    Ok(piece.map(|bytes| {
        let messages = reader.take_copy_messages();
        let left_out = messages.min(no_rows);
        (CopyPiece { bytes, rows: messages - left_out }, (reader, no_rows - left_out))
    }))
}
