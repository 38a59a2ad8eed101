//! Whether the target can take what the source has, before anything is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use stream_core::checkpoint::{Checkpoint, TableSync};
use stream_core::postgres::catalog::Generated;
use stream_core::postgres::{ConnectOptions, SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::source::Inspected;
use stream_core::sql::{Ident, Literal};
use stream_core::table::{Table, TableColumn};
use stream_core::{Error, ErrorKind};

use super::PostgresSinkOptions;
use super::error::from_sql;
use super::fit::{Base, FIRST_OWN_TYPE};
use super::lacking::no_column;
use super::makeup;
use super::money;
use super::parts;
use super::persistence;
use super::plan::{TargetColumn, TargetTable};
use super::progress::copy_again_sql;
use super::tables::Tables;

/// Types to which values of another type can go as text without loss: `(source, target)`, as
/// `format_type` prints them.
const WIDENING: &[(&str, &str)] = &[
    ("smallint", "integer"),
    ("smallint", "bigint"),
    ("smallint", "numeric"),
    ("integer", "bigint"),
    ("integer", "numeric"),
    ("bigint", "numeric"),
    ("real", "double precision"),
    ("character varying", "text"),
    ("bpchar", "text"),
    ("name", "text"),
    ("json", "jsonb"),
    ("uuid", "text"),
    ("cidr", "inet"),
    ("text", "citext"),
];

/// What does not fit between the captured tables and those of the target, rows that are not the stream's and missing rights
/// included. A table that is not there is no problem when `may_lack`. `fresh` are the tables that will be copied for the first
/// time, `known` those that the stream had taken up before.
pub(super) async fn problems(
    client: &SqlClient,
    tables: &Tables,
    source: &Inspected,
    options: &PostgresSinkOptions,
    known: &BTreeSet<TableName>,
    may_lack: bool,
) -> Result<Vec<String>, Error> {
    let compared =
        source.tables.iter().filter(|table| !may_lack || tables.place(&table.name).is_some());
    let mut problems: Vec<_> = compared.flat_map(|table| table_problems(tables, table)).collect();
    problems.extend(persistence::unlogged(client, tables).await?);
    let denied = rights(client, tables, &options.target.user).await?;
    problems.extend(money::problems(client, &options.source, source).await?);
    problems.extend(makeup::problems(client, &options.source, source, tables).await?);
    // Rows can only be looked at where they may be read.
    if denied.is_none() {
        let fresh = source.to_copy.iter().filter(|name| !known.contains(*name));
        problems.extend(empty(client, tables, fresh, known).await?);
        problems.extend(interrupted(client, tables, source, &options.stream, known).await?);
    }
    let to_copy = |table: &&Arc<Table>| source.to_copy.contains(&table.name);
    problems
        .extend(source.tables.iter().filter(to_copy).filter_map(|table| renamed(tables, table)));
    problems.extend(denied);
    Ok(problems)
}

/// The tables of `missing` that have been copied, and are not to be copied again: made anew, they would lack those rows.
pub(super) fn gone(
    missing: &[TableName],
    source: &Inspected,
    checkpoint: &Checkpoint,
) -> Vec<String> {
    let is_copied =
        |name: &&TableName| matches!(checkpoint.tables.get(*name), Some(TableSync::Synced { .. }));
    let is_kept = |name: &&TableName| !source.to_copy.contains(*name);
    missing.iter().filter(is_copied).filter(is_kept).map(gone_at_target).collect()
}

/// A table was copied, and is not at the target any more: somebody dropped or renamed it, or the target was set back. Nothing is made in its place, because
/// the rows that do not change would be missing there.
///
/// Remedy: bring it back, or run the statement of the message: it is made and copied again at the next start. Or exclude it.
fn gone_at_target(name: &TableName) -> String {
    format!(
        "table `{name}` was copied and is not at the target any more: bring it back there, or have it made and copied again: `{}`; or exclude it",
        copy_again_sql(name)
    )
}

/// Rows of a table that is to be copied are at the target under the name that it had before, in a place that it shares.
fn renamed(tables: &Tables, table: &Table) -> Option<String> {
    let place = tables.place(&table.name)?;
    let mut former = tables.former_at(&place.name, &table.name);
    let (before, _) = former.find(|(_, former)| former.id == table.id)?;
    Some(parts::renamed(&table.name, &place.name, before))
}

/// What the copy of the table with number `$2` was noted as that was interrupted.
const INTERRUPTED: &str = "SELECT table_schema, table_name FROM sgstream.table_sync \
                           WHERE stream = $1 AND synced_at IS NULL AND source_oid = $2";

/// Tables whose copy was interrupted under another name, in a place that they share: their first rows are there.
async fn interrupted(
    client: &SqlClient,
    tables: &Tables,
    source: &Inspected,
    stream: &str,
    known: &BTreeSet<TableName>,
) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for table in &source.tables {
        let is_fresh = source.to_copy.contains(&table.name) && !known.contains(&table.name);
        let Some(place) = tables.place(&table.name) else { continue };
        if !is_fresh || !keeps_others(tables, source, known, &place.name, &table.name) {
            continue;
        }
        let rows = client.query(INTERRUPTED, &[&stream, &i64::from(table.id.0)]).await;
        let rows = rows.map_err(|error| from_sql("look for interrupted copies", &error))?;
        problems.extend(rows.iter().map(|row| {
            let before = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            parts::renamed(&table.name, &place.name, &before)
        }));
    }
    Ok(problems)
}

/// Whether `place` has rows of others than of `name`, and none of them is copied again, for which all would be removed.
fn keeps_others(
    tables: &Tables,
    source: &Inspected,
    known: &BTreeSet<TableName>,
    place: &TableName,
    name: &TableName,
) -> bool {
    let is_there = |other: &TableName| tables.place(other).is_some_and(|own| own.name == *place);
    let others = tables.others_at(place, name);
    let others: Vec<_> = others.filter(|name| known.contains(*name) && is_there(name)).collect();
    !others.is_empty() && others.iter().all(|other| !source.to_copy.contains(*other))
}

/// Which database of which running server it is. Copies of a server's files have its identifier, and are no less a target for that.
const DATABASE: &str = "SELECT extract(epoch FROM pg_postmaster_start_time())::text, \
                        (SELECT oid::text FROM pg_database WHERE datname = current_database())";

/// A session with the source where its database has the name of the target's.
pub(super) async fn namesake(options: &PostgresSinkOptions) -> Result<Option<SqlClient>, Error> {
    if options.source.database != options.target.database {
        return Ok(None);
    }
    let source = SqlClient::connect(&options.source).await;
    source.map(Some).map_err(|error| problem::from_connect(error).context("source"))
}

/// The error of a target that is the database of its [`namesake`], whatever the names of its host.
pub(super) async fn own_source(
    client: &SqlClient,
    source: Option<SqlClient>,
    target: &ConnectOptions,
) -> Result<Option<Error>, Error> {
    let Some(source) = source else { return Ok(None) };
    let which = async |client: &SqlClient| {
        let failed = |error| from_sql("tell the server from the source's", &error);
        let row = client.query_one(DATABASE, &[]).await.map_err(failed)?;
        Ok::<[String; 2], Error>([row.get(0), row.get(1)])
    };
    let is_same = which(&source).await? == which(client).await?;
    source.close().await;
    Ok(is_same.then(|| same_database(target)))
}

/// The addresses of source and target lead to the same database of the same server. Nothing was written.
///
/// Remedy: correct the address, or the database, of one of them. Empty no table there: it is the source.
fn same_database(target: &ConnectOptions) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "source and target are the same database, `{}`: name another one for the target",
            target.server()
        ),
    )
}

/// An error of all `problems`, each of which is explained where it is found.
pub(super) fn refuse(problems: &[String]) -> Result<(), Error> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Configuration, problems.join("\n")))
}

/// The target's table has a column that must be given, and the source has none of that name.
///
/// Remedy: run the statement of the message, or capture the column if it is excluded.
fn table_problems(tables: &Tables, table: &Table) -> Vec<String> {
    let Some(place) = tables.place(&table.name) else {
        return vec![tables.not_there(&table.name).to_string()];
    };
    let mut problems: Vec<String> = table
        .columns
        .iter()
        .filter_map(|column| column_problem(tables, table, &place, column))
        .collect();
    let given = |name: &str| table.columns.iter().any(|column| column.name == name);
    let missing =
        place.columns.iter().filter(|column| column.must_be_given && !given(&column.name));
    problems.extend(missing.map(|column| {
        format!(
            "column `{}` of `{}` at the target is NOT NULL without a default, and the stream does not \
             write it: run `ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL` there, or capture the column",
            column.name,
            place.name,
            place.name.quoted(),
            Ident(&column.name)
        )
    }));
    problems
}

/// What does not fit between a column and that of the target.
fn column_problem(
    tables: &Tables,
    table: &Table,
    place: &TargetTable,
    column: &TableColumn,
) -> Option<String> {
    let Some(target) = place.column(&column.name) else {
        let (place, declared_type) = (&place.name, &column.declared_type);
        return Some(no_column(&table.name, place, &column.name, declared_type));
    };
    if let Some(generated) = target.generated {
        return (!column.generated).then(|| computed(table, place, column, generated));
    }
    if !fits(column, target) {
        return Some(no_fit(&table.name, &place.name, target, column));
    }
    let base = Base::at_source(&tables.types, column.type_oid, column.type_modifier);
    base.is_some_and(|base| base.changes_in(&target.base))
        .then(|| other_domain(&table.name, target, &column.declared_type))
}

/// A column of the target has another type, in which the source's values could be changed or refused.
///
/// Remedy: run the statement of the message, or exclude the column. A type of the source's own has to be made at the target first.
fn no_fit(
    table: &TableName,
    place: &TableName,
    target: &TargetColumn,
    column: &TableColumn,
) -> String {
    let own = &column.declared_type;
    let first = if column.type_oid < FIRST_OWN_TYPE { "," } else { ", once that type is there," };
    format!(
        "column `{0}` of `{table}` has type `{own}` at the source and `{1}` at the target: run `ALTER TABLE {2} ALTER \
         COLUMN {3} TYPE {own} USING {3}::{own}` there{first} or exclude `{table}.{0}`",
        target.name,
        target.declared_type,
        place.quoted(),
        Ident(&target.name),
    )
}

/// A domain of the same name is over another type at the target, or over one that takes less.
///
/// Remedy: give the target's domain the source's definition: the column another type first, then the domain dropped and made anew, then the column
/// the domain again. Or exclude the column.
fn other_domain(table: &TableName, target: &TargetColumn, own: &str) -> String {
    format!(
        "column `{0}` of `{table}` has type `{own}` at both ends, but at the target that is over another type, which would change the source's \
         values without a word: compare `SELECT format_type(typbasetype, typtypmod) FROM pg_type WHERE oid = {1}::regtype` at both ends and make \
         the domain at the target as it is at the source, or exclude `{table}.{0}`",
        target.name,
        Literal(own)
    )
}

/// The target computes a column that has values of its own at the source, and takes none of them.
///
/// Remedy: run the statement of the message. Rows that are there keep what was computed, or get NULL where a virtual column is made anew: have
/// the table copied again if they are the stream's. Or exclude the column: then the target goes on to compute it.
fn computed(
    table: &Table,
    place: &TargetTable,
    column: &TableColumn,
    generated: Generated,
) -> String {
    let change = given_sql(column, generated);
    format!(
        "column `{0}` of `{1}` is computed by the target, and has values of its own at the source: run `ALTER TABLE {2} {change}` \
         there, and if the table has rows of the stream, have it copied again: `{3}`; or exclude `{1}.{0}`",
        column.name,
        table.name,
        place.name.quoted(),
        copy_again_sql(&table.name)
    )
}

/// What makes a computed column one that is given its values.
fn given_sql(column: &TableColumn, generated: Generated) -> String {
    let name = Ident(&column.name);
    match generated {
        Generated::Stored => format!("ALTER COLUMN {name} DROP EXPRESSION"),
        // No row holds a value of it, and the server drops no such expression.
        Generated::Virtual => {
            format!("DROP COLUMN {name}, ADD COLUMN {name} {}", column.declared_type)
        }
    }
}

/// Whether the target's type takes the source's values unchanged. A type of a user is known by its name,
/// whatever the schema: it may be another one there.
fn fits(column: &TableColumn, target: &TargetColumn) -> bool {
    let own_name = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let same = own_name(&column.type_name) == own_name(&target.type_name);
    let wider = WIDENING.iter().any(|&(from, to)| {
        column.type_name == from && own_name(&target.type_name).as_deref() == Some(to)
    });
    // A smaller scale or precision would round in silence.
    let modifier_fits = target.type_modifier == -1
        || same && column.type_modifier == target.type_modifier
        || same
            && target.type_name == "character varying"
            && (0..target.type_modifier).contains(&column.type_modifier);
    (same || wider) && modifier_fits
}

/// The target's role may not write tables that the stream has to fill.
///
/// Remedy: run the statement of the message as the tables' owner.
async fn rights(client: &SqlClient, tables: &Tables, role: &str) -> Result<Option<String>, Error> {
    let names: Vec<String> = tables.places().iter().map(TableName::quoted).collect();
    let sql = "SELECT name FROM unnest($1::text[]) AS name WHERE NOT (SELECT bool_and(has_table_privilege(name, wanted)) \
               FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS wanted)";
    let rows = client
        .query(sql, &[&names])
        .await
        .map_err(|error| from_sql("ask for the rights on tables", &error))?;
    let denied: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok((!denied.is_empty()).then(|| {
        format!(
            "role `{role}` may not write {} table(s) of the target: run `GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE \
             ON {} TO {}` there as their owner",
            denied.len(),
            denied.join(", "),
            Ident(role)
        )
    }))
}

/// Tables of the target hold rows that are not the stream's, and a copy would mix them with the source's. (Rows of a partition's root are the
/// stream's when another partition was copied there before.)
///
/// Message: the target is not empty: `<tables>` hold rows that this stream did not write; if nobody needs them, run `TRUNCATE <tables>` there; to keep
/// them and stream only changes, set `snapshotMode: no_data`
///
/// Remedy: make sure that it is the right target; then empty the tables, or keep the rows, as the message says.
async fn empty(
    client: &SqlClient,
    tables: &Tables,
    names: impl Iterator<Item = &TableName>,
    known: &BTreeSet<TableName>,
) -> Result<Option<String>, Error> {
    let mut filled = Vec::new();
    for name in names {
        let Some(place) = tables.place(name) else { continue };
        if tables.others_at(&place.name, name).any(|other| known.contains(other)) {
            continue;
        }
        let sql = format!("SELECT EXISTS (SELECT FROM {})", place.name.quoted());
        let row = client
            .query_one(&sql, &[])
            .await
            .map_err(|error| from_sql("look whether a table is empty", &error))?;
        if row.get::<_, bool>(0) && !filled.contains(&place.name) {
            filled.push(place.name.clone());
        }
    }
    if filled.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = filled.iter().map(|name| format!("`{name}`")).collect();
    let quoted: Vec<_> = filled.iter().map(TableName::quoted).collect();
    Ok(Some(format!(
        "the target is not empty: {} {} rows that this stream did not write; if nobody needs them, run \
         `TRUNCATE {}` there; to keep them and stream only changes, set `snapshotMode: no_data`",
        names.join(", "),
        if names.len() == 1 { "holds" } else { "hold" },
        quoted.join(", ")
    )))
}
