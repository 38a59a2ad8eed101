//! The questions with which a stream begins, each asked once here: by a source that starts, and by a [survey](super::survey).

use std::collections::HashMap;
use std::sync::Arc;

use super::capture::{Captured, capture};
use super::catalog::read_tables;
use super::publication::{self, Publication};
use super::roots::{LogTable, LogTables};
use super::slot::{self, SlotState};
use super::slot_problem::{self, Expected, Fork, SlotProblem};
use super::source_problem::SourceProblem;
use super::tables::table;
use super::{
    ConnectOptions, PostgresSourceOptions, Session, SnapshotMode, SqlClient, Wire, preflight,
    problem, tables,
};
use crate::checkpoint::{Checkpoint, SourceIdentity};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::table::{Table, TableColumn};
use crate::types::Types;

/// What the catalogue says of the captured tables, and of whether they can be streamed.
pub(super) struct Look {
    /// The captured tables under the names that the log gives them.
    pub(super) log: LogTables,
    /// The same tables in the engine's words.
    pub(super) tables: Vec<Arc<Table>>,
    /// The types that are not built in.
    pub(super) types: Arc<Types>,
    /// The publication, if it is there.
    pub(super) publication: Option<Publication>,
    /// What stands in the way, and what can be lived with.
    pub(super) problems: Vec<SourceProblem>,
}

/// Looks at the captured tables, which are as of `looked_at` or newer. To be called before the replication connection is open, which takes a WAL sender.
pub(super) async fn look(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    captured: &Captured,
    looked_at: Lsn,
) -> Result<Look, Error> {
    let publication =
        publication::read(client, &options.publication).await.map_err(problem::from_query)?;
    let mut problems = preflight::check(client, captured, &options.slot, publication.as_ref())
        .await
        .map_err(problem::from_query)?;
    if options.snapshot == SnapshotMode::RowsOnly {
        problems.retain(|problem| !matches!(problem, SourceProblem::NoReplicaIdentity { .. }));
    }
    let log = LogTables::new(captured, publication.as_ref(), options);
    problems.extend(log.problems(captured, publication.as_ref(), options));
    let mut tables = in_words(&log, publication.as_ref(), options);
    tables::describe_types(client, &mut tables).await?;
    let types = Arc::new(tables::read_types(client, looked_at).await?);
    Ok(Look { log, tables, types, publication, problems })
}

/// The tables of the log in the engine's words.
fn in_words(
    log: &LogTables,
    publication: Option<&Publication>,
    options: &PostgresSourceOptions,
) -> Vec<Arc<Table>> {
    let word = |found: &LogTable| {
        let rule = publication.and_then(|publication| publication.rule(&found.table));
        Arc::new(table(found, rule, options.generated_columns))
    };
    log.tables.iter().map(word).collect()
}

/// Refuses a snapshot of `tables` that were altered since they were looked at, in their columns or in what is published of
/// them: they would be copied as they were, and the log does not begin before the snapshot. To be called after it was taken.
pub(super) async fn assert_unaltered(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    tables: &[Arc<Table>],
) -> Result<(), Error> {
    let catalog = read_tables(client).await.map_err(problem::from_query)?;
    let publication =
        publication::read(client, &options.publication).await.map_err(problem::from_query)?;
    let captured = capture(&catalog, &options.filter);
    let log = LogTables::new(&captured, publication.as_ref(), options);
    let now: HashMap<_, _> = in_words(&log, publication.as_ref(), options)
        .into_iter()
        .map(|table| (table.id, table))
        .collect();
    let columns = |table: &Table| -> Vec<_> {
        let of = |c: &TableColumn| (c.name.clone(), c.number, c.type_oid, c.type_modifier);
        table.columns.iter().map(of).collect()
    };
    for table in tables {
        let is_same = now.get(&table.id).is_some_and(|now| {
            now.name == table.name
                && columns(now) == columns(table)
                && now.row_filter == table.row_filter
        });
        if !is_same {
            return Err(altered(&table.name));
        }
    }
    Ok(())
}

/// A table was altered, or published otherwise, between the look at the catalogue and the snapshot, at which the log begins.
///
/// Remedy: nothing, the stream looks again, and copies the table as it is.
pub(super) fn altered(table: &TableName) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!(
            "table `{table}` was altered before its snapshot was taken: looking at the catalogue again"
        ),
    )
}

/// Which server it is, and on which timeline.
#[derive(Default)]
pub(super) struct System {
    /// Its `system_identifier`.
    pub(super) id: String,
    timeline: Option<u32>,
    /// Where its log left the timeline of the saved position.
    pub(super) fork: Option<Fork>,
}

impl System {
    pub(super) fn identity(self, slot: &str) -> SourceIdentity {
        let Self { id, timeline, fork: _ } = self;
        SourceIdentity { system_id: id, slot: slot.to_owned(), timeline }
    }
}

/// Asks which server it is by a replication connection: that it can be opened is known then, too.
///
/// Source: <https://www.postgresql.org/docs/current/protocol-replication.html>
pub(super) async fn system(
    connect: &ConnectOptions,
    checkpoint: &Checkpoint,
) -> Result<System, Error> {
    let mut wire =
        Wire::connect(connect, Session::Replication).await.map_err(problem::from_connect)?;
    let ask = async |wire: &mut Wire, question: &str, column: &str| {
        let rows = wire.simple_query(question).await.map_err(problem::from_wire)?;
        let answer = rows.first().and_then(|row| row.by_name(column)).unwrap_or_default();
        Ok::<_, Error>(answer.to_owned())
    };
    let id = ask(&mut wire, "IDENTIFY_SYSTEM", "systemid").await?;
    let timeline = ask(&mut wire, "IDENTIFY_SYSTEM", "timeline").await?.parse().ok();
    let standby = ask(&mut wire, "SELECT pg_is_in_recovery() AS standby", "standby").await?;
    let timeline: Option<u32> = timeline.filter(|_| standby == "f");
    let saved = checkpoint.source.as_ref().filter(|source| source.system_id == id);
    let mut fork = None;
    if let (Some(timeline), Some(saved)) = (timeline, saved.and_then(|source| source.timeline))
        && timeline != saved
    {
        // The first timeline has no history.
        let history = match timeline {
            0 | 1 => String::new(),
            _ => ask(&mut wire, &format!("TIMELINE_HISTORY {timeline}"), "content").await?,
        };
        fork = Some(Fork::new(&history, saved, timeline));
    }
    wire.terminate().await;
    Ok(System { id, timeline, fork })
}

/// The slot, and why the stream of `checkpoint` cannot go on with it at this server.
pub(super) async fn slot(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    checkpoint: &Checkpoint,
    system: &System,
) -> Result<(Option<SlotState>, Option<SlotProblem>), Error> {
    if options.snapshot == SnapshotMode::RowsOnly {
        return Ok((None, None));
    }
    let state = slot::state(client, &options.slot).await.map_err(problem::from_query)?;
    let expected = Expected {
        slot: &options.slot,
        database: &options.connect.database,
        stored: checkpoint.position,
        server: slot::server_position(client).await.map_err(problem::from_query)?,
        fork: system.fork,
    };
    // Positions of another server say nothing here.
    let same_server = checkpoint.source.as_ref().is_none_or(|source| source.system_id == system.id);
    let is_lost = checkpoint.source.is_some() && checkpoint.position.is_none();
    let problem = match same_server {
        // Whoever lost the position has only the slot's.
        true if is_lost && state.is_none() => {
            Some(SlotProblem::Dropped { slot: options.slot.clone(), stored: Lsn::default() })
        }
        true => slot_problem::judge(state.as_ref(), &expected).err(),
        false => None,
    };
    Ok((state, problem))
}
