//! The snapshot that comes with a new slot: sessions of any number can read the same moment.
//!
//! ```text
//!  replication session ── CREATE_REPLICATION_SLOT … EXPORT_SNAPSHOT ─► name, consistent point
//!       (stays open)                                                      │
//!  SQL sessions ── SET TRANSACTION SNAPSHOT name ◄────────────────────────┘
//! ```
//!
//! The snapshot holds exactly the transactions whose commit record begins below the consistent point.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-replication.html>

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;

use super::blocker;
use super::simple_query::SimpleRow;
use super::slot;
use super::wire::Wire;
use super::{ConnectOptions, Session, SqlClient, problem};
use crate::copy::{Chunk, CopyFormat, CopyPiece, CopyStream, Range};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::snapshot::plan::copy_sql;
use crate::source::ChunkReader;
use crate::sql::{Ident, Literal, list};
use crate::table::Table;

/// How long the creation of a slot may take before it is said what it waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The session that holds an exported snapshot, which goes with it.
pub(super) struct Exporter {
    wire: Wire,
    snapshot: String,
    /// The slot's consistent point.
    pub(super) lsn: Lsn,
}

impl Exporter {
    /// Exports a snapshot by a slot of its own, which goes with the session; says after a while what that waits for. Makes
    /// `slot` too where it `is_new`, which then begins at the snapshot.
    ///
    /// No slot is read from its own consistent point on. The server does not see what was altered, emptied or published
    /// while the creation waited for older transactions, and decodes what comes next as if it had not happened, or not at
    /// all: `could not map filenode`. The second slot's consistent point comes after all transactions that this can meet, and
    /// what stays is made of a slot that is advanced to it: whenever that is cut off, there is none.
    pub(super) async fn create(
        connect: &ConnectOptions,
        client: &SqlClient,
        slot: &str,
        is_new: bool,
    ) -> Result<Self, Error> {
        let first = slot::temporary_name(slot, "new");
        let mut making = None;
        if is_new {
            let mut session =
                Wire::connect(connect, Session::Sql).await.map_err(problem::at_source)?;
            create_slot(&mut session, client, &first, &slot::create_sql(&first)).await?;
            making = Some(session);
        }
        let mut wire =
            Wire::connect(connect, Session::Replication).await.map_err(problem::at_source)?;
        let second = slot::temporary_name(slot, "copy");
        let rows = create_slot(&mut wire, client, &second, &slot::export_sql(&second)).await?;
        let row = rows.first();
        let value = |column| row.and_then(|row| row.by_name(column)).unwrap_or_default();
        let lsn = value("consistent_point")
            .parse()
            .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        let snapshot = value("snapshot_name").to_owned();
        if let Some(mut session) = making {
            let kept = session.simple_query(&slot::keep_sql(&first, slot, lsn)).await;
            kept.map_err(|error| problem::from_slot_creation(slot, error))?;
            session.terminate().await;
        }
        Ok(Self { wire, snapshot, lsn })
    }

    /// Opens a session that sees the snapshot.
    pub(super) async fn reader(&self, connect: &ConnectOptions) -> Result<SnapshotReader, Error> {
        let mut wire =
            Wire::connect_for_rows(connect, Session::Sql).await.map_err(problem::at_source)?;
        let sql = format!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {}",
            Literal(&self.snapshot)
        );
        wire.simple_query(&sql).await.map_err(problem::from_import)?;
        Ok(SnapshotReader { wire, connect: connect.clone(), in_chunk: false })
    }

    /// The largest of `tables` that has rows in the snapshot.
    pub(super) async fn last_with_rows(
        &self,
        connect: &ConnectOptions,
        tables: &[Arc<Table>],
    ) -> Result<Option<TableName>, Error> {
        // The largest is hardly ever empty: one question, most of the time.
        let mut tables: Vec<_> = tables.iter().collect();
        tables.sort_by_key(|table| Reverse(table.bytes));
        let mut reader = self.reader(connect).await?;
        let mut last = None;
        for table in tables {
            let condition = table.row_filter.as_ref().map(|filter| format!("WHERE ({filter})"));
            let condition = condition.unwrap_or_default();
            let sql = format!("SELECT 1 FROM {} {condition} LIMIT 1", rows_of(table));
            // Not locked any longer than that.
            reader.enter(table, Range::Whole).await?;
            let found = reader.wire.simple_query(&sql).await.map_err(problem::from_snapshot)?;
            reader.leave().await?;
            if !found.is_empty() {
                last = Some(table.name.clone());
                break;
            }
        }
        reader.wire.terminate().await;
        Ok(last)
    }

    /// Ends the session; readers that are open keep the snapshot.
    pub(super) async fn close(self) {
        self.wire.terminate().await;
    }
}

/// Has standbys keep a slot that is there; says so where the server has no such slots.
pub(super) async fn keep_on_standbys(
    connect: &ConnectOptions,
    client: &SqlClient,
    name: &str,
) -> Result<(), Error> {
    if !slot::has_failover(client).await.map_err(problem::from_query)? {
        tracing::warn!(
            "standbys do not keep the slot, because that takes PostgreSQL 17 or newer, and a primary: after a failover the \
             stream would have to begin anew"
        );
        return Ok(());
    }
    let mut wire =
        Wire::connect(connect, Session::Replication).await.map_err(problem::at_source)?;
    wire.simple_query(&slot::failover_sql(name)).await.map_err(problem::from_wire)?;
    wire.terminate().await;
    Ok(())
}

/// A session that reads an exported snapshot, chunk after chunk. Each has a savepoint, so that the lock of its table goes with
/// it: a statement that wants this table waits for one chunk and not for the whole copy, and does not keep another reader waiting that long which
/// wants a table that the statement's transaction has locked already. (The server sees no deadlock where a reader only waits for
/// its fellow.)
pub struct SnapshotReader {
    wire: Wire,
    connect: ConnectOptions,
    /// Whether a chunk was begun and not left.
    in_chunk: bool,
}

impl SnapshotReader {
    /// Locks the table, until the chunk is left. Refuses one whose name, or that of a column, stands for another one by now; one that an ALTER
    /// TABLE has written anew since the snapshot, which sees no row of it then; and one that anything has written anew, if only a range of its
    /// pages is wanted: the rows are in other pages.
    ///
    /// Source: <https://www.postgresql.org/docs/current/mvcc-caveats.html>
    async fn enter(&mut self, table: &Table, range: Range) -> Result<(), Error> {
        self.leave().await?;
        let parts = table.parts.iter().flatten().map(|part| part.origin.relation);
        let ids = list(std::iter::once(table.id).chain(parts).map(|id| id.0));
        // LOCK TABLE would want the right to read all columns.
        let names = match table.columns.as_slice() {
            [] => "tableoid".to_owned(),
            columns => list(columns.iter().map(|column| Ident(&column.name))),
        };
        let lock = format!("SAVEPOINT chunk; SELECT {names} FROM {} LIMIT 0", rows_of(table));
        let found = self.wire.field_origins(&lock).await.map_err(problem::from_snapshot)?;
        self.in_chunk = true;
        let is_other = found.iter().any(|origin| origin.table != table.id.0);
        let numbers = table.columns.iter().map(|column| column.number);
        let are_others = found.iter().zip(numbers).any(|(origin, number)| origin.column != number);
        if found.is_empty() || is_other || are_others {
            return Err(renamed(&table.name));
        }
        // The function tells of now, the catalogue of the snapshot.
        let file = format!(
            "SELECT bool_and(relfilenode = pg_relation_filenode(oid)) AS same FROM pg_class WHERE oid IN ({ids}) AND relkind = 'r'"
        );
        let rows = self.wire.simple_query(&file).await.map_err(problem::from_wire)?;
        if rows.first().and_then(|row| row.by_name("same")) == Some("t") {
            return Ok(());
        }
        if range != Range::Whole {
            return Err(rewritten(&table.name));
        }
        // So does TRUNCATE, which is in the log, and what keeps rows visible, such as VACUUM FULL: these leave the columns' entries
        // alone. Every ALTER TABLE that writes rows anew makes new ones, even where a type stays what it was, or shows in `pg_class`.
        let columns = format!(
            "SELECT string_agg(concat_ws(' ', c.oid, c.relam, c.relpersistence, (
                 SELECT string_agg(concat_ws(' ', attname, xmin), ',' ORDER BY attnum)
                   FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)), ';' ORDER BY c.oid) AS columns
             FROM pg_class c WHERE c.oid IN ({ids})"
        );
        let then = self.wire.simple_query(&columns).await.map_err(problem::from_wire)?;
        let mut other =
            Wire::connect(&self.connect, Session::Sql).await.map_err(problem::at_source)?;
        let now = other.simple_query(&columns).await.map_err(problem::from_wire)?;
        other.terminate().await;
        let text = |rows: &[SimpleRow]| {
            rows.first().and_then(|row| row.by_name("columns").map(str::to_owned))
        };
        if text(&then) == text(&now) {
            return Ok(());
        }
        Err(rewritten(&table.name))
    }

    /// Gives the lock of the chunk's table back.
    async fn leave(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.in_chunk) {
            let leave = "ROLLBACK TO SAVEPOINT chunk; RELEASE SAVEPOINT chunk";
            self.wire.simple_query(leave).await.map_err(problem::from_wire)?;
        }
        Ok(())
    }

    /// The next piece of the chunk, which ends when there is none.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = self.wire.reader.copy_piece().await.map_err(problem::from_wire)?;
        if piece.is_none() {
            self.leave().await?;
        }
        Ok(piece)
    }
}

/// What a query reads a table's rows from.
fn rows_of(table: &Table) -> String {
    let only = if table.parts.is_some() { "" } else { "ONLY " };
    format!("{only}{}", table.name.quoted())
}

/// The name of a table, or of one of its columns, was given to another one while tables were copied.
///
/// Remedy: nothing, the table is copied from a new snapshot. Wait with such statements until the first copy is complete.
fn renamed(table: &TableName) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!(
            "`{table}`, or a column of it, has a name that was another's when the snapshot was taken: taking a new one"
        ),
    )
}

/// An `ALTER TABLE` wrote the table anew between the snapshot and its copy, and PostgreSQL shows such a table as empty to older snapshots; or
/// any statement did, while parts of the table were copied.
///
/// Remedy: nothing, the table is copied from a new snapshot. Wait with such statements until the first copy is complete.
fn rewritten(table: &TableName) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!(
            "table `{table}` was written anew after the snapshot was taken, which does not see its rows any more, or not where they were: taking a new one"
        ),
    )
}

impl ChunkReader for SnapshotReader {
    async fn read<'a>(
        &'a mut self,
        table: &'a Table,
        chunk: &'a Chunk,
        format: CopyFormat,
    ) -> Result<CopyStream<'a>, Error> {
        self.enter(table, chunk.range).await?;
        let columns: Vec<_> = table.columns.iter().map(|column| &column.name).collect();
        // A query may read generated columns; `COPY table (…)` refuses to.
        let is_computed = table.columns.iter().any(|column| column.generated);
        let filter = table.row_filter.as_deref().or_else(|| is_computed.then_some("true"));
        let sql = copy_sql(chunk, &columns, format, filter, table.parts.is_some());
        self.wire.copy_out(&sql).await.map_err(problem::from_snapshot)?;
        // The end of the binary form is a message that is no row.
        let no_rows = u64::from(format == CopyFormat::Binary);
        Ok(Box::pin(stream::try_unfold((self, no_rows), next_piece)))
    }
}

/// The next piece, and the state that follows it: `no_rows` messages that are no rows are still to be left out.
async fn next_piece(
    (reader, no_rows): (&mut SnapshotReader, u64),
) -> Result<Option<(CopyPiece, (&mut SnapshotReader, u64))>, Error> {
    let piece = reader.piece().await?;
    Ok(piece.map(|bytes| {
        let messages = reader.wire.reader.take_copy_messages();
        let left_out = messages.min(no_rows);
        (CopyPiece { bytes, rows: messages - left_out }, (reader, no_rows - left_out))
    }))
}

async fn create_slot(
    wire: &mut Wire,
    client: &SqlClient,
    name: &str,
    sql: &str,
) -> Result<Vec<SimpleRow>, Error> {
    let pid = wire.process_id();
    let create = wire.simple_query(sql);
    tokio::pin!(create);
    loop {
        tokio::select! {
            created = &mut create => {
                return created.map_err(|error| problem::from_slot_creation(name, error));
            }
            () = tokio::time::sleep(PATIENCE) => say_blockers(client, pid).await,
        }
    }
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
