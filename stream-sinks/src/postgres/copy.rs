//! The snapshot's road into the target: `COPY` data goes from server to server as it is.

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
    let places: std::collections::BTreeSet<_> = names
        .iter()
        .filter_map(|name| tables.place(name))
        .map(|place| {
            let only = if place.partitioned { "" } else { "ONLY " };
            format!("{only}{}", place.name.quoted())
        })
        .collect();
    if places.is_empty() {
        return Ok(());
    }
    let sql =
        format!("BEGIN; {}; TRUNCATE {}; COMMIT", shared.ownership.assert_sql(), list(places));
    shared.client.batch_execute(&sql).await.map_err(|error| from_sql("empty tables", &error))
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
