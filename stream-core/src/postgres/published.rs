//! Whether what the publication says of the tables is what it said when they were copied.
//!
//! ```text
//! less than then                          an error: it is put back, or the tables are copied as it publishes them now
//! altered, and not less; or put back      copied again: see `origin`
//! by the stream itself                    noted
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use super::look;
use super::origin::origin_of;
use super::publication::Publication;
use super::roots::LogTables;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, ErrorKind};
use crate::relation::TableName;
use crate::sql::{Ident, Literal, list};
use crate::table::Table;

/// Refuses a publication that publishes less of tables that were copied than it did then.
pub(super) fn assert_not_less(
    publication: &Publication,
    log: &LogTables,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let (mut gone, mut restricted) = (BTreeSet::new(), BTreeSet::new());
    let mut tables = Vec::new();
    for table in log.tables.iter().map(|found| &found.table) {
        let origin =
            origin_of(&table.name, checkpoint).filter(|origin| origin.relation == table.id);
        let then = origin.and_then(|origin| origin.published_as.as_ref());
        let (Some(then), Some(now)) = (then, publication.published_as(table)) else { continue };
        let missing = then.operations.iter().filter(|one| !now.operations.contains(one));
        let missing: Vec<_> = missing.cloned().collect();
        let is_restricted = then.restricted_by == 0 && now.restricted_by != 0;
        if is_restricted {
            restricted.extend(publication.comes_as(table));
        }
        if is_restricted || !missing.is_empty() {
            tables.push(&table.name);
        }
        gone.extend(missing);
    }
    if tables.is_empty() {
        return Ok(());
    }
    Err(less(publication, &gone, &restricted, &tables))
}

/// The publication was altered while the stream ran, or since, and publishes less than it did: fewer operations, or only some rows or
/// columns of a table. What it leaves out would be missing without a word.
///
/// Remedy: run the first statement of the message as the publication's owner, and start the stream again: it copies these tables again,
/// because it has missed changes. If you want what is published now, run the second one instead at a PostgreSQL target, or remove
/// `offsets` and `offsets.backup` in the data directory; the tables are then copied as they are published.
///
/// Message: publication `<name>` was altered since its tables were copied: it `<what it leaves out>`; run `<statements>` as its owner, and the
/// stream copies the tables again that lack changes (with `snapshotMode: never` once the next statement has been run, too); or, if that is wanted, have them copied as they are published now: `<update>` at a
/// PostgreSQL target, or remove `offsets` and `offsets.backup` in the data directory
fn less(
    publication: &Publication,
    gone: &BTreeSet<String>,
    restricted: &BTreeSet<&TableName>,
    tables: &[&TableName],
) -> Error {
    let name = &publication.name;
    let (mut what, mut statements) = (Vec::new(), Vec::new());
    if !gone.is_empty() {
        what.push(format!("does not publish {} any more", and(gone.iter())));
        let kept = publication.operations.names();
        let all = list(kept.iter().chain(gone));
        let all = Literal(&all).to_string();
        statements.push(format!("ALTER PUBLICATION {} SET (publish = {all})", Ident(name)));
    }
    if !restricted.is_empty() {
        let names = and(restricted.iter().copied());
        what.push(format!("publishes only some rows or columns of {names}"));
        let only = list(restricted.iter().map(|table| format!("ONLY {}", table.quoted())));
        for action in ["DROP", "ADD"] {
            statements.push(format!("ALTER PUBLICATION {} {action} TABLE {only}", Ident(name)));
        }
    }
    let names = list(
        tables
            .iter()
            .map(|table| format!("({}, {})", Literal(&table.schema), Literal(&table.name))),
    );
    Error::new(
        ErrorKind::Configuration,
        format!(
            "publication `{name}` was altered since its tables were copied: it {}; run `{}` as its owner, and the stream copies the \
             tables again that lack changes (with `snapshotMode: never` once the next statement has been run, too); or, if that is wanted, \
             have them copied as they are published now: `UPDATE sgstream.table_sync SET synced_at = NULL WHERE (table_schema, table_name) \
             IN ({names})` at a PostgreSQL target, or remove `offsets` and `offsets.backup` in the data directory",
            what.join(", and "),
            statements.join("; "),
        ),
    )
}

fn and(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    list(names.map(|name| format!("`{name}`")))
}

/// Tables that the stream itself has had published otherwise, just now: nothing of them is missing. `altered_from`: the version of the
/// publication that it altered.
///
/// # Errors
/// When somebody else did it, since the tables were looked at.
pub(super) fn by_ourselves(
    looked_at: &[Arc<Table>],
    now: &[Arc<Table>],
    altered_from: Option<u32>,
) -> Result<Vec<Arc<Table>>, Error> {
    let mut ours = Vec::new();
    for (before, now) in looked_at.iter().zip(now) {
        let entry = before.published_by.first();
        let (Some(then), Some(is)) = (&before.published_as, &now.published_as) else { continue };
        let is_same = then.operations == is.operations && then.restricted_by == is.restricted_by;
        let is_ours = then.version == is.version || altered_from == Some(then.version);
        if !(is_same && is_ours && entry.is_some_and(|entry| now.published_by.contains(entry))) {
            return Err(look::altered(&now.name));
        }
        if then != is {
            ours.push(Arc::clone(now));
        }
    }
    Ok(ours)
}
