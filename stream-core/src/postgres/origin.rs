//! Whether the names of a table and of its columns still stand for what was copied, and whether the log has all changes since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::SnapshotMode;
use super::capture::Captured;
use crate::checkpoint::{Checkpoint, TableSync};
use crate::columns::ColumnNumbers;
use crate::error::{Error, ErrorKind};
use crate::relation::TableName;
use crate::table::{Part, Table, TableOrigin};

/// Tables that were copied before and of which the log lacks changes, because the name stands for another table or one of its columns for
/// another column since, or because nothing published the table for a while.
///
/// # Errors
/// When there are such tables, and the stream copies none.
pub(super) fn interrupted(
    tables: &[Arc<Table>],
    checkpoint: &Checkpoint,
    mode: SnapshotMode,
) -> Result<BTreeSet<TableName>, Error> {
    let (found, reasons): (BTreeSet<_>, Vec<_>) = tables
        .iter()
        .filter_map(|table| {
            let reason = interruption(table, checkpoint, mode)?;
            Some((table.name.clone(), format!("`{}` {reason}", table.name)))
        })
        .unzip();
    if found.is_empty() {
        return Ok(found);
    }
    let problem = format!(
        "changes of {} table(s) are missing since the stream began: {}",
        found.len(),
        reasons.join("; ")
    );
    if mode == SnapshotMode::Never {
        return Err(incomplete(&problem));
    }
    tracing::warn!("{problem}: copying anew");
    Ok(found)
}

/// Tables were dropped and made anew, or out of the publication for a while, or the publication was altered, so that the log lacks changes of them; and `snapshotMode` forbids to
/// copy them.
///
/// Remedy: set `snapshotMode: initial` and start again, which copies these tables only; or bring them up to date by other means.
fn incomplete(problem: &str) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!("{problem}; to have them copied, set `snapshotMode: initial` and start again"),
    )
}

/// Why changes of a table are missing in the log; `None`: they are not, or it was not copied yet.
fn interruption(table: &Table, checkpoint: &Checkpoint, mode: SnapshotMode) -> Option<String> {
    let origin = origin_of(&table.name, checkpoint)?;
    if origin.relation != table.id {
        return Some("is another table than the one that was copied".to_owned());
    }
    if mode == SnapshotMode::RowsOnly {
        // Of no interest: no log is read.
        return None;
    }
    if origin.has_left() {
        return Some(
            "was not captured for a while (an endpoint is not told of rows that were removed then)"
                .to_owned(),
        );
    }
    if !table.published_by.contains(&origin.published_by) {
        return Some("was, or is, taken out of the publication".to_owned());
    }
    if let Some(then) = &origin.published_as
        && table.published_as.as_ref().is_some_and(|now| then.is_interrupted(now))
    {
        return Some("is in a publication that was altered".to_owned());
    }
    // What a partition had before it was attached is in no log under the root's name.
    let is_new = |part: &&Part| {
        part.attached_later && origin_of(&part.name, checkpoint) != Some(&part.origin)
    };
    if let Some(attached) = table.parts.iter().flatten().find(is_new) {
        return Some(format!(
            "got partition `{}`, which was attached after it was made",
            attached.name
        ));
    }
    let now = table.origin().columns;
    let given = table.columns.iter().filter(|column| !column.generated);
    let given = given.map(|column| (column.name.as_str(), column.number));
    let reason = match origin.columns.renumbered(&now, &table.attributes.dropped) {
        Some(column) => format!("has another column under the name `{column}` than it had"),
        None => match (origin.columns.freed(given.clone()), origin.columns.included(given)) {
            (Some(column), _) => {
                format!("has values of its own in column `{column}`, which was generated")
            }
            (None, Some(column)) => format!("was followed without its column `{column}`"),
            (None, None) => return None,
        },
    };
    if mode == SnapshotMode::Never {
        // The log has all of its changes.
        tracing::warn!(
            "table `{}` {reason}: rows that do not change keep the old values at the target, because `snapshotMode` is `never`; \
             bring them up to date there by other means",
            table.name
        );
        return None;
    }
    Some(reason)
}

pub(super) fn origin_of<'a>(
    name: &TableName,
    checkpoint: &'a Checkpoint,
) -> Option<&'a TableOrigin> {
    match checkpoint.tables.get(name)? {
        TableSync::Synced { origin, .. } => Some(origin),
        TableSync::Copying { .. } => None,
    }
}

/// What names of columns have stood for since tables whose rows are kept were copied.
pub(super) fn column_numbers(
    checkpoint: &Checkpoint,
    to_copy: &BTreeSet<TableName>,
) -> BTreeMap<TableName, ColumnNumbers> {
    let kept = checkpoint.tables.keys().filter(|name| !to_copy.contains(*name));
    let columns = |name| Some(origin_of(name, checkpoint)?.columns.clone());
    kept.filter_map(|name| Some((name.clone(), columns(name)?))).collect()
}

/// Tables of the checkpoint that are unlogged now: they are copied again once they are logged.
///
/// # Errors
/// When there are such tables that were copied, and the stream copies none.
pub(super) fn unlogged(
    captured: &Captured,
    checkpoint: &Checkpoint,
    mode: SnapshotMode,
) -> Result<BTreeSet<TableName>, Error> {
    let reads_log = mode != SnapshotMode::RowsOnly;
    let known = captured.unlogged().filter(|name| checkpoint.tables.contains_key(*name));
    let known: BTreeSet<_> = known.filter(|_| reads_log).cloned().collect();
    let lost = known.iter().find(|name| origin_of(name, checkpoint).is_some());
    if let Some(name) = lost.filter(|_| mode == SnapshotMode::Never) {
        return Err(out_of_the_log(name));
    }
    for name in &known {
        tracing::warn!(
            "table `{name}` is unlogged at the source, which keeps its changes out of the log: what the target has of it stays as it is \
             until it is copied again, once you have run `ALTER TABLE {} SET LOGGED`",
            name.quoted()
        );
    }
    Ok(known)
}

/// A table was made unlogged after it was taken up: nothing has its changes. And `snapshotMode` forbids to copy it again.
///
/// Remedy: set `snapshotMode: initial` and start again, and run the statement of the message: the table is copied then. Or exclude it.
fn out_of_the_log(table: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "table `{table}` is unlogged at the source, which keeps its changes out of the log: to have it copied again, set \
             `snapshotMode: initial`, start again, and run `ALTER TABLE {} SET LOGGED`; or exclude it",
            table.quoted()
        ),
    )
}

/// Names tables that were captured under a name that no table has any more.
pub(super) fn say_what_is_gone(captured: &Captured, checkpoint: &Checkpoint) {
    let there = captured.all().map(|table| &table.name).chain(captured.unlogged());
    let there: BTreeSet<_> = there.collect();
    for (name, sync) in checkpoint.tables.iter().filter(|(name, _)| !there.contains(name)) {
        let relation = match sync {
            TableSync::Synced { origin, .. } => Some(origin.relation),
            TableSync::Copying { relation, .. } => *relation,
        };
        let renamed = captured.all().find(|table| Some(table.id) == relation);
        let now = renamed.map_or_else(
            || "not among the source's captured tables any more".to_owned(),
            |table| {
                format!("called `{}` at the source now, and copied under that name", table.name)
            },
        );
        tracing::warn!(
            "table `{name}` is {now}: what the target has of `{name}` stays as it is; drop it there if nobody needs it"
        );
    }
}
