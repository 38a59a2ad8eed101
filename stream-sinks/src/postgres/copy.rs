//! The snapshot's road into the target: `COPY` data goes from server to server as it is.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use stream_core::copy::{CopyFormat, TableCopy};
use stream_core::failpoint::{Step, reached};
use stream_core::postgres::{Wire, WireError};
use stream_core::relation::TableName;
use stream_core::sql::{Ident, list};
use stream_core::{Error, ErrorKind};

use super::Shared;
use super::error::{fenced, from_sql, from_wire, refused};
use super::plan::copy_in_sql;
use super::progress::Ownership;
use super::tables::Tables;

/// Those of the tables `$1` that others, which are not among them, refer to: no `TRUNCATE` empties them.
const REFERENCED: &str = "
SELECT DISTINCT place FROM unnest($1::text[]) place JOIN pg_constraint ON contype = 'f' AND confrelid = place::regclass
WHERE conrelid <> ALL ($1::regclass[])";

/// Empties tables whose earlier copy was not completed; never those that hold rows of tables to be `kept`.
pub(super) async fn empty(
    shared: &Shared,
    tables: &Tables,
    names: &[&TableName],
    kept: impl Fn(&TableName) -> bool,
) -> Result<(), Error> {
    for name in names {
        let Some(place) = tables.place(name) else { continue };
        if let Some(other) = tables.others_at(&place.name, name).find(|other| kept(other)) {
            return Err(mixed(name, &place.name, other));
        }
    }
    let places: BTreeMap<_, _> = names
        .iter()
        .filter_map(|name| tables.place(name))
        .map(|place| {
            let only = if place.partitioned { "" } else { "ONLY " };
            (place.name.quoted().to_string(), only)
        })
        .collect();
    if places.is_empty() {
        return Ok(());
    }
    let failed = |error: tokio_postgres::Error| from_sql("empty tables", &error);
    let quoted: Vec<_> = places.keys().collect();
    let rows = shared.client.query(REFERENCED, &[&quoted]).await.map_err(failed)?;
    let referenced: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let (referenced, others): (Vec<_>, Vec<_>) =
        places.into_iter().partition(|(place, _)| referenced.contains(place));
    let whole = |(place, only): (String, &str)| format!("{only}{place}");
    let mut statements = vec!["BEGIN".to_owned(), shared.ownership.assert_sql()];
    if !referenced.is_empty() {
        // The rows that refer to them find them again when they are copied.
        statements.push("SET LOCAL session_replication_role = replica".to_owned());
    }
    let deletes = referenced.into_iter().map(|place| format!("DELETE FROM {}", whole(place)));
    statements.extend(deletes);
    if !others.is_empty() {
        statements.push(format!("TRUNCATE {}", list(others.into_iter().map(whole))));
    }
    statements.push("COMMIT".to_owned());
    shared.client.batch_execute(&statements.join("; ")).await.map_err(failed)
}

/// The rows of a partition that is to be copied again are in a table of the target with those of another one, which cannot be emptied.
///
/// Remedy: remove the partition's rows at the target, create it there as a partition of its own, and start the stream again.
fn mixed(name: &TableName, place: &TableName, other: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "partition `{name}` has to be copied again, but its rows are in `{place}` of the target together with those of \
             `{other}`, which is complete: remove the rows of `{name}` there and create it as a partition of its own, then start \
             the stream again"
        ),
    )
}

/// Copies a chunk in a transaction of its own; returns its rows.
pub(super) async fn run(
    wire: &mut Wire,
    ownership: &Ownership,
    tables: &Tables,
    mut copy: TableCopy<'_>,
) -> Result<u64, Error> {
    let place = tables.place(&copy.table.name).ok_or_else(|| tables.not_there(&copy.table.name))?;
    let columns = list(copy.table.columns.iter().map(|column| Ident(&column.name)));
    let binary = copy.format == CopyFormat::Binary;
    let begin = format!("BEGIN; {}", ownership.share_sql());
    if wire.simple_query(&begin).await.map_err(from_wire)?.is_empty() {
        return Err(fenced());
    }
    let refused_copy = |error: WireError| match error {
        WireError::Server(error) => refused("take copied rows", &error),
        other => from_wire(other),
    };
    wire.copy_in_start(&copy_in_sql(&place.name, &columns, binary)).await.map_err(refused_copy)?;
    while let Some(piece) = copy.data.next().await {
        wire.copy_in_write(&piece?.bytes).await.map_err(refused_copy)?;
    }
    let rows = wire.copy_in_finish().await.map_err(refused_copy)?;
    reached(Step::ChunkCopied);
    wire.simple_query("COMMIT").await.map_err(from_wire)?;
    Ok(rows)
}
