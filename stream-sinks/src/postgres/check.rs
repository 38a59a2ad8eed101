//! Whether the target can take what the source has, before anything is written.

use stream_core::postgres::SqlClient;
use stream_core::relation::TableName;
use stream_core::source::Inspected;
use stream_core::table::{Table, TableColumn};
use stream_core::{Error, ErrorKind};

use super::error::from_sql;
use super::plan::{TargetColumn, TargetTable};
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

/// Compares the captured tables with those of the target; tells everything that does not fit at once.
pub(super) fn tables(tables: &Tables, source: &Inspected) -> Result<(), Error> {
    let problems: Vec<String> =
        source.tables.iter().flat_map(|table| table_problems(tables, table)).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Configuration, problems.join("\n")))
}

fn table_problems(tables: &Tables, table: &Table) -> Vec<String> {
    let Some(place) = tables.place(&table.name) else {
        return vec![tables.not_there(&table.name).to_string()];
    };
    let mut problems: Vec<String> =
        table.columns.iter().filter_map(|column| column_problem(table, &place, column)).collect();
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
            stream_core::sql::Ident(&column.name)
        )
    }));
    problems
}

fn column_problem(table: &Table, place: &TargetTable, column: &TableColumn) -> Option<String> {
    let Some(target) = place.column(&column.name) else {
        return Some(format!(
            "column `{}` of `{}` is not at the target: run `ALTER TABLE {} ADD COLUMN {} {}` there, or exclude \
             `{}.{}`",
            column.name,
            table.name,
            place.name.quoted(),
            stream_core::sql::Ident(&column.name),
            column.declared_type,
            table.name,
            column.name
        ));
    };
    (!fits(column, target)).then(|| {
        format!(
            "column `{}` of `{}` has type `{}` at the source and `{}` at the target: run `ALTER TABLE {} ALTER \
             COLUMN {} TYPE {}` there, or exclude `{}.{}`",
            column.name,
            table.name,
            column.declared_type,
            target.declared_type,
            place.name.quoted(),
            stream_core::sql::Ident(&column.name),
            column.declared_type,
            table.name,
            column.name
        )
    })
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
    target.generated || (same || wider) && modifier_fits
}

/// Refuses tables that hold rows which are not the stream's.
pub(super) async fn empty(
    client: &SqlClient,
    tables: &Tables,
    names: impl Iterator<Item = &TableName>,
) -> Result<(), Error> {
    let mut filled = Vec::new();
    for name in names {
        let Some(place) = tables.place(name) else { continue };
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
        return Ok(());
    }
    let names: Vec<_> = filled.iter().map(|name| format!("`{name}`")).collect();
    let quoted: Vec<_> = filled.iter().map(TableName::quoted).collect();
    Err(Error::new(
        ErrorKind::Configuration,
        format!(
            "the target is not empty: {} hold rows that this stream did not write; if nobody needs them, run \
             `TRUNCATE {}` there; to keep them and stream only changes, set `snapshotMode: no_data`",
            names.join(", "),
            quoted.join(", ")
        ),
    ))
}
