//! Partitions whose rows have their place in another table of the target: in their root's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stream_core::checkpoint::{Checkpoint, TableSync};
use stream_core::postgres::SqlClient;
use stream_core::relation::{RelationId, TableName};
use stream_core::source::Inspected;
use stream_core::table::Table;
use stream_core::{Error, ErrorKind};

use super::error::from_sql;
use super::plan::TargetTable;
use super::progress::copy_again_sql;

/// A partition that was copied, and is not captured any more.
#[derive(Clone, Debug)]
pub(super) struct Former {
    /// The table that it was of.
    pub(super) root: TableName,
    pub(super) id: RelationId,
}

/// The partitions of the checkpoint that are not among `captured`.
pub(super) fn former(
    checkpoint: &Checkpoint,
    captured: &[Arc<Table>],
) -> HashMap<TableName, Former> {
    let former = checkpoint.tables.iter().filter_map(|(name, sync)| {
        let TableSync::Synced { origin, .. } = sync else { return None };
        Some((name.clone(), Former { root: origin.root.clone()?, id: origin.relation }))
    });
    former.filter(|(name, _)| captured.iter().all(|table| table.name != *name)).collect()
}

/// Partitions that the target lacks, of tables that it lacks too, or has divided as the source has, or not at all yet. Of others the
/// rows find their place by themselves.
pub(super) async fn missing<'a>(
    client: &SqlClient,
    source: &'a Inspected,
    found: &HashMap<TableName, Arc<TargetTable>>,
) -> Result<Vec<&'a TableName>, Error> {
    let (there, lacking): (Vec<_>, Vec<_>) =
        source.parts.iter().partition(|(part, _)| found.contains_key(*part));
    let there: BTreeSet<&TableName> = there.into_iter().map(|(_, root)| root).collect();
    let mut missing = Vec::new();
    for (part, root) in lacking {
        let is_made_here = match found.get(root) {
            None => true,
            Some(place) if !place.partitioned => false,
            Some(place) => there.contains(root) || is_undivided(client, &place.name).await?,
        };
        if is_made_here {
            missing.push(part);
        }
    }
    Ok(missing)
}

/// Whether a partitioned table of the target has no partition.
async fn is_undivided(client: &SqlClient, table: &TableName) -> Result<bool, Error> {
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = $1::text::regclass)";
    let row = client.query_one(sql, &[&table.quoted()]).await;
    Ok(row.map_err(|error| from_sql("look for partitions", &error))?.get(0))
}

/// A partition was emptied at the source, and the target has its rows in its root, with those of others.
///
/// Remedy: remove the partition's rows at the target, create it there, and start the stream again. If the other partition is gone at the source, and
/// nobody needs its rows, run the statement of the message instead, which gives them up.
pub(super) fn kept(name: &TableName, root: &TableName, other: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "`{name}` was truncated, but its rows are in `{root}` of the target, with those of `{other}`: remove the rows of `{name}` there, and \
             create it at the target; or, if `{other}` is gone and nobody needs its rows, run `{}` there, and start the stream again",
            copy_again_sql(other)
        ),
    )
}

/// The rows of a table that is to be copied again are in a table of the target with those of another one, which cannot be emptied.
///
/// Remedy: remove the table's rows at the target, create it there as a partition of its own, and start the stream again. If the other one is gone at
/// the source, and nobody needs its rows, run the statement of the message instead, which gives them up.
pub(super) fn mixed(name: &TableName, place: &TableName, other: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "`{name}` has to be copied again, but its rows are in `{place}` of the target together with those of `{other}`, which is not: remove the \
             rows of `{name}` there and create it as a partition of its own; or, if `{other}` is gone and nobody needs its rows, run `{}` there; then \
             start the stream again",
            copy_again_sql(other)
        ),
    )
}

/// A partition has another name than when it was copied, and is to be copied under that one, but its rows are in its root's table at the target, which
/// others have too.
///
/// Remedy: remove the partition's rows at the target, run the statement of the message, and start the stream again.
pub(super) fn renamed(name: &TableName, place: &TableName, before: &TableName) -> String {
    format!(
        "`{name}`, which was called `{before}`, has to be copied under its new name, but its rows are in `{place}` of the target already: remove them \
         there, and run `{}`",
        copy_again_sql(before)
    )
}
