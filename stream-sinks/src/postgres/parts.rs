//! Partitions whose rows have their place in another table of the target: in their root's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stream_core::checkpoint::{Checkpoint, TableSync};
use stream_core::postgres::SqlClient;
use stream_core::relation::{RelationId, TableName};
use stream_core::source::Inspected;
use stream_core::sql::list;
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

/// The partitions of the checkpoint that are not captured, neither by themselves nor with their root.
pub(super) fn former(checkpoint: &Checkpoint, source: &Inspected) -> HashMap<TableName, Former> {
    let former = checkpoint.tables.iter().filter_map(|(name, sync)| {
        let TableSync::Synced { origin, .. } = sync else { return None };
        Some((name.clone(), Former { root: origin.root.clone()?, id: origin.relation }))
    });
    let is_captured = |name: &TableName| {
        source.parts.contains_key(name) || source.tables.iter().any(|table| table.name == *name)
    };
    former.filter(|(name, _)| !is_captured(name)).collect()
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
/// Remedy: remove the partition's rows at the target, create it there, and start the stream again.
pub(super) fn kept(name: &TableName, root: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "partition `{name}` was truncated, but the target has no table of that name, only its root `{root}`: remove the \
             partition's rows there, and create it at the target"
        ),
    )
}

/// The rows of a partition that is to be copied again are in a table of the target with those of another one, which cannot be emptied.
///
/// Remedy: remove the partition's rows at the target, create it there as a partition of its own, and start the stream again.
pub(super) fn mixed(name: &TableName, place: &TableName, other: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "partition `{name}` has to be copied again, but its rows are in `{place}` of the target together with those of \
             `{other}`, which is complete: remove the rows of `{name}` there and create it as a partition of its own, then start \
             the stream again"
        ),
    )
}

/// Checks that `place` of the target has no rows of partitions that are not captured any more, before it is emptied.
pub(super) fn assert_alone<'a>(
    name: &TableName,
    place: &TableName,
    former: impl Iterator<Item = &'a TableName>,
) -> Result<(), Error> {
    let former: BTreeSet<_> = former.collect();
    if former.is_empty() { Ok(()) } else { Err(beside_former(name, place, &former)) }
}

/// A partition was emptied at the source, or is to be copied again, and the target has its rows in its root, with those of partitions that are not
/// captured any more: these stay, and nobody can tell them from the others.
///
/// Remedy: if nobody needs the rows of those that are not captured any more, run the statement of the message, and start the stream again. Otherwise
/// remove the partition's own rows at the target first, and create it there as a table of its own.
fn beside_former(name: &TableName, place: &TableName, former: &BTreeSet<&TableName>) -> Error {
    let names = list(former.iter().map(|name| format!("`{name}`")));
    let statements: Vec<_> = former.iter().map(|name| copy_again_sql(name)).collect();
    Error::new(
        ErrorKind::Permanent,
        format!(
            "partition `{name}` has to be emptied, but its rows are in `{place}` of the target together with those of {names}, not captured any more: \
             if nobody needs these, run `{}` there, and start the stream again; or remove the rows of `{name}` there and create it as a table of its own",
            statements.join("; ")
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
