//! The snapshot's road into the target: `COPY` data goes from server to server as it is.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use stream_core::Error;
use stream_core::copy::{CopyFormat, CopyStream, TableCopy};
use stream_core::failpoint::{Step, reached};
use stream_core::lsn::Lsn;
use stream_core::postgres::{ServerError, Session, Wire, WireError};
use stream_core::relation::TableName;
use stream_core::sql::{Ident, list};
use stream_core::table::Table;

use super::catalog::unaltered_sql;
use super::error::{altered, fenced, from_sql, from_wire, refused};
use super::frozen;
use super::parts;
use super::plan::{TargetTable, copy_in_sql};
use super::tables::Tables;
use super::{Shared, at_target};

/// Those of the tables `$1` that others, which are not among them, refer to: no `TRUNCATE` empties them.
const REFERENCED: &str = "
SELECT DISTINCT place FROM unnest($1::text[]) place JOIN pg_constraint ON contype = 'f' AND confrelid = place::regclass
WHERE conrelid <> ALL ($1::regclass[])";

/// Empties tables whose earlier copy was not completed; never those that hold rows of tables to be `kept`, or of some that are not captured any more.
pub(super) async fn empty(
    shared: &Shared,
    tables: &Tables,
    names: &[&TableName],
    kept: impl Fn(&TableName) -> bool,
) -> Result<(), Error> {
    for name in names {
        let Some(place) = tables.place(name) else { continue };
        if let Some(other) = tables.others_at(&place.name, name).find(|other| kept(other)) {
            return Err(parts::mixed(name, &place.name, other));
        }
        let former = tables.former_at(&place.name, name).map(|(former, _)| former);
        parts::assert_alone(name, &place.name, former)?;
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

/// Whether a column of the table at the target is gone, or is not of the type that it had when the stream looked at it.
async fn is_altered(wire: &mut Wire, place: &TargetTable, table: &Table) -> Result<bool, Error> {
    let columns = table.columns.iter().filter_map(|column| place.column(&column.name));
    let Some(sql) = unaltered_sql(&place.name, columns) else { return Ok(false) };
    Ok(wire.simple_query(&sql).await.map_err(from_wire)?.is_empty())
}

/// Copies a chunk in a transaction of its own; returns its rows.
pub(super) async fn run(
    wire: &mut Wire,
    shared: &Shared,
    tables: &Tables,
    copy: TableCopy<'_>,
) -> Result<u64, Error> {
    let TableCopy { table, chunk, format, data } = copy;
    let place = tables.place(&table.name).ok_or_else(|| tables.not_there(&table.name))?;
    let columns = list(table.columns.iter().map(|column| Ident(&column.name)));
    let binary = format == CopyFormat::Binary;
    let begin = format!("BEGIN; {}", shared.ownership.share_sql());
    if wire.simple_query(&begin).await.map_err(from_wire)?.is_empty() {
        return Err(fenced());
    }
    let frozen = tables.is_all_of(&chunk, &place) && frozen::begin(wire, &place).await?;
    let sql = copy_in_sql(&place.name, &columns, binary, frozen);
    let mut sent = 0;
    let rows = match send(wire, &sql, data, &mut sent).await? {
        Ok(rows) => rows,
        Err(error) => {
            // The session may be in the middle of a message.
            if binary && is_about_binary_form(&error) {
                let target = &shared.options.target;
                let mut other = Wire::connect(target, Session::Sql).await.map_err(at_target)?;
                let is_altered = is_altered(&mut other, &place, &table).await?;
                other.terminate().await;
                if is_altered {
                    return Err(altered(&place.name));
                }
            }
            return Err(refused("take copied rows", &error));
        }
    };
    // From the copy's begin to the transaction's end nobody can alter the table.
    if is_altered(wire, &place, &table).await? {
        return Err(altered(&place.name));
    }
    reached(Step::ChunkCopied);
    wire.simple_query("COMMIT").await.map_err(from_wire)?;
    if rows < sent {
        tables.divergence.left_out_at(&table.name, sent - rows, Lsn::default());
    }
    Ok(rows)
}

/// Sends the rows, and counts them; the inner error is the server's.
async fn send(
    wire: &mut Wire,
    sql: &str,
    mut data: CopyStream<'_>,
    sent: &mut u64,
) -> Result<Result<u64, Box<ServerError>>, Error> {
    let apart = |error: WireError| match error {
        WireError::Server(error) => Ok(Err(error)),
        other => Err(from_wire(other)),
    };
    if let Err(error) = wire.copy_in_start(sql).await {
        return apart(error);
    }
    while let Some(piece) = data.next().await {
        let piece = piece?;
        *sent += piece.rows;
        if let Err(error) = wire.copy_in_write(&piece.bytes).await {
            return apart(error);
        }
    }
    wire.copy_in_finish().await.map_or_else(apart, |rows| Ok(Ok(rows)))
}

/// Whether a value is none of its column's type in the binary form: `protocol_violation` for its length, `invalid_binary_representation`.
fn is_about_binary_form(error: &ServerError) -> bool {
    matches!(error.code.as_str(), "08P01" | "22P03")
}
