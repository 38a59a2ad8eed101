//! Columns of the source that the target lacks, and how they are made there.

use stream_core::postgres::SqlClient;
use stream_core::relation::{Column, TableName};
use stream_core::sql::{Ident, Literal};
use stream_core::table::TableColumn;
use stream_core::{Error, ErrorKind};

use super::error::from_sql;
use super::fit::FIRST_OWN_TYPE;
use super::progress::copy_again_sql;

/// How the type of a column of the log is declared: as that of one of the columns that are `known`, or, if every server has it, as the target says.
pub(super) async fn declared_type(
    client: &SqlClient,
    mut known: impl Iterator<Item = &TableColumn>,
    column: &Column,
) -> Result<Option<String>, Error> {
    let is_same = |one: &&TableColumn| {
        one.type_oid == column.type_oid && one.type_modifier == column.type_modifier
    };
    if let Some(same) = known.find(is_same) {
        return Ok(Some(same.declared_type.clone()));
    }
    if column.type_oid >= FIRST_OWN_TYPE {
        return Ok(None);
    }
    let sql = "SELECT format_type(oid, $2) FROM pg_type WHERE oid = $1";
    let row = client.query_opt(sql, &[&column.type_oid, &column.type_modifier]).await;
    let row = row.map_err(|error| from_sql("name a type", &error))?;
    Ok(row.map(|row| row.get(0)))
}

/// The error of a column that comes in mid-stream. Nothing after it was written.
pub(super) fn in_the_log(
    table: &TableName,
    place: &TableName,
    column: &str,
    declared_type: Option<String>,
) -> Error {
    match declared_type {
        Some(declared_type) => {
            Error::new(ErrorKind::Permanent, no_column(table, place, column, &declared_type))
        }
        None => no_column_of_own_type(table, place, column),
    }
}

/// A column of the source is not at the target: it was added at the source, or dropped at the target. Nothing after it was written.
///
/// Remedy: run the statement of the message at the target and start the stream again: it goes on from there. Or exclude the column.
pub(super) fn no_column(
    table: &TableName,
    place: &TableName,
    column: &str,
    declared_type: &str,
) -> String {
    format!(
        "column `{column}` of `{table}` is not at the target: run `ALTER TABLE {} ADD COLUMN {} {declared_type}` there, with \
         the source's DEFAULT if it has one, from which the rows that are there get their value; where that is no constant, \
         have the table copied again, too: `{}`; or exclude `{table}.{column}`",
        place.quoted(),
        Ident(column),
        copy_again_sql(table)
    )
}

/// A column was added at the source and is not at the target, and its type was made at the source: its name is not known here. Nothing after it was
/// written.
///
/// Remedy: add the column at the target, with the type if that is not there either, and start the stream again: it goes on from there. Or exclude
/// the column.
fn no_column_of_own_type(table: &TableName, place: &TableName, column: &str) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "column `{column}` of `{table}` is not at the target: add it to `{place}` there, with the type that the source gives it \
             (`SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = {}::regclass AND attname = {}`) and with \
             its DEFAULT if it has one, from which the rows that are there get their value; where that is no constant, have the \
             table copied again, too: `{}`; or exclude `{table}.{column}`",
            Literal(&table.quoted()),
            Literal(column),
            copy_again_sql(table)
        ),
    )
}
