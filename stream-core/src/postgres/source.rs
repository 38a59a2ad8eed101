//! PostgreSQL as a source.
//!
//! ```text
//!  inspect ─► begin ─► (reader …) ─► start ─► next … confirm … ─► close | remove
//!  catalogue   publication, slot,     replication stream,
//!  preflight   snapshot               decoded and assembled
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::capture::{Captured, CapturedTable};
use super::exporter::{self, Exporter, SnapshotReader};
use super::gate::Gate;
use super::look::{self, Look};
use super::lookout::{self, Known, Lookout};
use super::publication::Publication;
use super::replication::{ReplicationStream, StreamMessage};
use super::roots::LogTables;
use super::spool::{Logged, Spool, SpoolError};
use super::{
    PostgresSourceOptions, Session, SnapshotMode, SqlClient, Streaming, Wire, origin, problem,
    published, removal, slot, tables, wait,
};
use crate::assemble::{Assembled, Assembler};
use crate::checkpoint::Checkpoint;
use crate::clock;
use crate::copy::CopyFormat;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::snapshot::plan::plan;
use crate::source::{Beginning, CountsFrom, Inspected, Snapshot, Source, SourceEvent};
use crate::stats::Stats;
use crate::table::Table;

/// A PostgreSQL database as a source of changes.
pub struct PostgresSource {
    options: PostgresSourceOptions,
    captured: Captured,
    /// What is captured under the names that the log gives it.
    log: LogTables,
    /// The same tables in the engine's words.
    tables: Vec<Arc<Table>>,
    confirm_interval: Duration,
    exporter: Option<Exporter>,
    stream: Option<ReplicationStream>,
    /// Transactions that are not committed yet, where they are asked for.
    spool: Option<Spool>,
    assembler: Assembler,
    gate: Gate,
    lookout: Lookout,
    last_known_end: Lsn,
    /// Where the slot stands; `None` while it is not there.
    confirmed_flush: Option<Lsn>,
    /// Where the events are to end: they are read before the snapshot of `to_copy`.
    until: Option<Lsn>,
    to_copy: BTreeSet<TableName>,
    /// Where the log stood when the catalogue was looked at.
    looked_at: Lsn,
    /// Tables that were copied before and of which the log lacks changes.
    copy_again: BTreeSet<TableName>,
    /// What the stream knows of the tables, of now and of before.
    known: Known,
}

impl PostgresSource {
    /// A source that has not connected yet.
    #[must_use]
    pub fn new(options: PostgresSourceOptions) -> Self {
        let confirm_interval = options.confirm_interval;
        Self {
            options,
            captured: Captured::default(),
            log: LogTables::default(),
            tables: Vec::new(),
            confirm_interval,
            exporter: None,
            stream: None,
            spool: None,
            assembler: Assembler::new(),
            gate: Gate::default(),
            lookout: Lookout::default(),
            last_known_end: Lsn::default(),
            confirmed_flush: None,
            until: None,
            to_copy: BTreeSet::new(),
            looked_at: Lsn::default(),
            copy_again: BTreeSet::new(),
            known: Known::default(),
        }
    }

    async fn sql(&self) -> Result<SqlClient, Error> {
        SqlClient::connect(&self.options.connect).await.map_err(problem::at_source)
    }

    async fn replication(&self) -> Result<Wire, Error> {
        Wire::connect_for_rows(&self.options.connect, Session::Replication)
            .await
            .map_err(problem::at_source)
    }

    /// Which tables a run with this checkpoint copies.
    fn to_copy(&self, checkpoint: &Checkpoint) -> BTreeSet<TableName> {
        let mut names = tables::to_copy(self.options.snapshot, &self.tables, checkpoint);
        names.extend(self.copy_again.iter().cloned());
        names
    }

    /// Takes note of what publishes each table.
    fn note_publication(&mut self, publication: &Publication) {
        for (table, found) in self.tables.iter_mut().zip(&self.log.tables) {
            tables::note_publication(Arc::make_mut(table), found, publication);
        }
    }

    /// The plan of a snapshot of the tables `to_copy` taken at `lsn`.
    async fn snapshot(
        &self,
        to_copy: &BTreeSet<TableName>,
        exporter: &Exporter,
    ) -> Result<Snapshot, Error> {
        let tables: Vec<_> =
            self.tables.iter().filter(|table| to_copy.contains(&table.name)).cloned().collect();
        let found = self.log.tables.iter().map(|found| &found.table);
        let wanted = found.filter(|table| to_copy.contains(&table.name));
        let extents: Vec<_> = wanted.map(CapturedTable::extent).collect();
        let readers = self.options.readers;
        let mut chunks = plan(&extents, readers, self.options.chunk_bytes);
        let mut last = None;
        if self.options.finds_last_table {
            last = exporter.last_with_rows(&self.options.connect, &tables).await?;
            // The sort keeps the order among the others.
            chunks.sort_by_key(|chunk| Some(&chunk.table) == last.as_ref());
        }
        Ok(Snapshot { lsn: exporter.lsn, tables, chunks, last, taken_at: clock::now(), readers })
    }

    fn assemble(&mut self, logged: Logged) -> Result<Option<SourceEvent>, Error> {
        let Logged { lsn, message, size_bytes } = logged;
        let assembled =
            self.assembler.push(message).map_err(|error| problem::undecodable(&error))?;
        let Some(assembled) = assembled else { return Ok(None) };
        match assembled {
            Assembled::Begin(transaction)
                if self.until.is_some_and(|until| transaction.commit_lsn >= until) =>
            {
                Ok(Some(SourceEvent::End))
            }
            Assembled::Begin(transaction) => {
                self.gate.begin(transaction);
                Ok(Some(SourceEvent::Begin(transaction)))
            }
            Assembled::Commit { transaction, end } => {
                self.gate.end();
                Ok(Some(SourceEvent::Commit { transaction, end }))
            }
            Assembled::RelationChanged(relation) => self.gate.relation(&relation),
            Assembled::Change(change) => Ok(self.gate.pass(lsn, change, size_bytes)),
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
        (self.looked_at, self.captured) = wait::for_tables(&client, &self.options, stats).await?;
        tables::say_what_is_left_out(&self.captured);
        let Look { log, tables, types, publication, problems } =
            look::look(&client, &self.options, &self.captured, self.looked_at).await?;
        problem::judge(problems)?;
        (self.log, self.tables) = (log, tables);
        if self.options.generated_columns {
            tables::say_what_is_computed(&self.log, &self.tables);
        }
        if let Some(publication) = &publication {
            self.note_publication(publication);
            if self.options.snapshot != SnapshotMode::RowsOnly {
                published::assert_not_less(publication, &self.log, checkpoint)?;
            }
        }
        self.copy_again = origin::interrupted(&self.tables, checkpoint, self.options.snapshot)?;
        let unlogged = origin::unlogged(&self.captured, checkpoint, self.options.snapshot)?;
        origin::say_what_is_gone(&self.captured, checkpoint);
        self.confirm_interval =
            tables::confirm_interval(&client, self.options.confirm_interval).await?;
        let system = look::system(&self.options.connect, checkpoint).await;
        let system = system.map_err(|error| error.context("source"))?;
        let (slot, slot_problem) = look::slot(&client, &self.options, checkpoint, &system).await?;
        slot_problem.map_or(Ok(()), |problem| Err(problem::from_slot(problem)))?;
        if let Some(fork) = &system.fork {
            tracing::warn!("{fork}: the stream goes on, because all that it has read is there");
        }
        self.confirmed_flush = slot.and_then(|slot| slot.confirmed_flush);
        Ok(Inspected {
            identity: system.identity(&self.options.slot),
            tables: self.tables.clone(),
            types,
            partitioned: self.captured.partitioned.iter().map(|root| root.name.clone()).collect(),
            parts: self.log.parts.clone(),
            unlogged,
            to_copy: self.to_copy(checkpoint),
            filter: self.options.filter.clone(),
        })
    }

    async fn begin(&mut self, checkpoint: &Checkpoint, stats: &Stats) -> Result<Beginning, Error> {
        let client = self.sql().await?;
        let reads_log = self.options.snapshot != SnapshotMode::RowsOnly;
        let mut published = None;
        let mut republished = Vec::new();
        if reads_log {
            tables::give_identities(&client, &self.captured, &self.log).await?;
            let ensured =
                wait::for_publication(&client, &self.options, &self.captured, stats).await?;
            let looked_at = self.tables.clone();
            self.note_publication(&ensured.publication);
            republished = published::by_ourselves(&looked_at, &self.tables, ensured.altered_from)?;
            published = Some(ensured.publication);
        }
        let to_copy = self.to_copy(checkpoint);
        self.to_copy.clone_from(&to_copy);
        let noted = origin::column_numbers(checkpoint, &to_copy);
        let mode = self.options.snapshot;
        self.known = Known::new(&self.captured, noted, published.as_ref(), mode);
        let (connect, slot) = (&self.options.connect, &self.options.slot);
        let is_new = reads_log && self.confirmed_flush.is_none();
        if is_new || !to_copy.is_empty() {
            self.exporter = Some(Exporter::create(connect, &client, slot, is_new).await?);
        }
        if reads_log && self.options.failover {
            exporter::keep_on_standbys(connect, &client, slot).await?;
        }
        let start = match (&self.exporter, self.confirmed_flush) {
            (_, Some(confirmed)) => checkpoint.position.unwrap_or(confirmed).max(confirmed),
            (Some(exporter), None) => exporter.lsn,
            (None, None) => Lsn::default(),
        };
        let snapshot = match self.exporter.as_ref().filter(|_| !to_copy.is_empty()) {
            Some(exporter) => {
                look::assert_unaltered(&client, &self.options, &self.tables).await?;
                Some(self.snapshot(&to_copy, exporter).await?)
            }
            None => None,
        };
        let taken_up = tables::taken_up(&self.tables, checkpoint, &to_copy);
        let snapshot_only = self.options.snapshot == SnapshotMode::InitialOnly || !reads_log;
        Ok(Beginning { start, snapshot, taken_up, republished, snapshot_only })
    }

    async fn reader(&mut self) -> Result<SnapshotReader, Error> {
        let Some(exporter) = &self.exporter else {
            return Err(problem::unexpected("there is no snapshot to read: report it"));
        };
        exporter.reader(&self.options.connect).await
    }

    async fn start(
        &mut self,
        position: Lsn,
        counts_from: CountsFrom,
        format: CopyFormat,
        until: Option<Lsn>,
    ) -> Result<(), Error> {
        if let Some(exporter) = self.exporter.take_if(|_| until.is_none()) {
            exporter.close().await;
        }
        if let Some(stream) = self.stream.take() {
            stream.close().await;
            let client = self.sql().await?;
            slot::released(&client, &self.options.slot).await.map_err(problem::from_query)?;
            client.close().await;
        }
        self.until = until;
        self.assembler = Assembler::new();
        let (tables, captured) = (&self.tables, &self.captured);
        self.gate = Gate::new(tables, captured, counts_from, &self.options, self.looked_at);
        if until.is_some() {
            self.gate.settle(self.to_copy.clone());
        }
        let wire = self.replication().await?;
        let slot = &self.options.slot;
        let PostgresSourceOptions { publication, plugin, .. } = &self.options;
        let stream = ReplicationStream::start(wire, slot, publication, position, plugin, format)
            .await
            .map_err(|error| problem::from_stream_start(slot, error))?;
        self.stream = Some(stream);
        self.spool = match &plugin.streaming {
            Streaming::Committed => None,
            Streaming::InProgress { directory, .. } => Some(Spool::new(directory.clone())),
        };
        let filter = self.options.filter.clone();
        let connect = self.options.connect.clone();
        let known = self.known.clone();
        self.lookout = Lookout::new(connect, filter, known, self.options.look_interval);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent, Error> {
        loop {
            if let Some(spool) = &mut self.spool {
                if let Some(logged) = spool.next().await.map_err(SpoolError::into_error)? {
                    match self.assemble(logged)? {
                        Some(event) => return Ok(event),
                        None => continue,
                    }
                }
                spool.settle().await.map_err(SpoolError::into_error)?;
            }
            let Some(stream) = &mut self.stream else { return Ok(SourceEvent::End) };
            let message = tokio::select! {
                biased;
                found = self.lookout.found() => return Err(problem::new_tables(&found)),
                message = stream.next() => message,
            };
            let PostgresSourceOptions { slot, publication, .. } = &self.options;
            match message.map_err(|error| problem::from_stream(error, slot, publication))? {
                StreamMessage::Wal { start, wal_end, body } => {
                    self.last_known_end = self.last_known_end.max(wal_end);
                    let logged = match &mut self.spool {
                        Some(spool) => spool.push(start, body),
                        None => Logged::decode(start, body).map(Some),
                    };
                    if let Some(logged) = logged.map_err(SpoolError::into_error)?
                        && let Some(event) = self.assemble(logged)?
                    {
                        return Ok(event);
                    }
                }
                StreamMessage::Keepalive { wal_end, reply } => {
                    self.last_known_end = self.last_known_end.max(wal_end);
                    let wal_end = self.until.map_or(wal_end, |until| wal_end.min(until));
                    return Ok(SourceEvent::Heartbeat { wal_end, reply });
                }
                StreamMessage::Done => {
                    return Err(problem::shut_down());
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
        let lsn = slot::end_of_commits(&client).await.map_err(problem::from_query)?;
        // What the source holds now includes tables that nobody has looked for yet.
        let found = lookout::find(&client, &self.options.filter, &self.known).await;
        client.close().await;
        let found = found.map_err(problem::from_query)?;
        if !found.is_empty() {
            return Err(problem::new_tables(&found));
        }
        Ok(lsn)
    }

    async fn close(&mut self) {
        if let Some(exporter) = self.exporter.take() {
            exporter.close().await;
        }
        if let Some(stream) = self.stream.take() {
            stream.close().await;
        }
    }

    async fn remove(&mut self, delivered: Lsn) -> Result<(), Error> {
        self.close().await;
        if self.options.snapshot == SnapshotMode::RowsOnly {
            return Ok(());
        }
        let client = self.sql().await?;
        removal::remove(&client, &self.options, delivered).await?;
        client.close().await;
        Ok(())
    }
}
