//! Captured tables in the engine's terms, and what the source needs of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::capture::{Captured, CapturedTable};
use super::catalog::{CatalogColumn, Identity as CatalogIdentity};
use super::preflight::identity_sql;
use super::problem::{from_change, from_query, unexpected};
use super::publication::{Ensured, Publication, Rule, add_sql};
use super::query::QueryError;
use super::roots::{LogTable, LogTables};
use super::{SnapshotMode, SqlClient};
use crate::checkpoint::{Checkpoint, TableSync};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::{ReplicaIdentity, TableName};
use crate::table::{Identity, Table, TableColumn};
use crate::types::{Type, TypeKind, Types};

/// Names of types, and for which the binary form means the same everywhere: built-in ones that hold no identifiers of objects,
/// enums, domains over such types, and arrays of built-in ones. The server does not read its own binary form of an empty tsquery. Intervals have
/// no end from 17 on: an older server reads that as so many years, and refuses the word for it.
const TYPES: &str = "
SELECT t.oid, format_type(t.oid, -1), t.typsend <> 0 AND t.typreceive <> 0 AND (
    t.typtype = 'e'
    OR coalesce(b.oid, t.oid) < 10000
       AND coalesce(b.typtype, t.typtype) IN ('b', 'r', 'm')
       AND coalesce(e.typtype, 'b') IN ('b', 'r', 'm')
       AND coalesce(b.typname, e.typname, t.typname) !~ '^_?(reg|aclitem|record|any|tsquery)'),
    CASE WHEN coalesce(b.typname, e.typname, t.typname) ~ '^_?interval$' AND current_setting('server_version_num')::int >= 170000
        THEN 170000::oid ELSE 0 END
FROM pg_type t
LEFT JOIN pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE t.oid = ANY ($1)";

/// Types that a database can have of its own. Below 10000 each `oid` is fixed; those from there on that come with the
/// server are the domains of `information_schema`. A table's row type is of interest where a column has it.
const OWN_TYPES: &str = "
SELECT t.oid, t.typname::text, t.typtype::text, t.typbasetype, t.typtypmod, coalesce(e.oid, 0), coalesce(e.typdelim, ',')::text
FROM pg_type t
LEFT JOIN pg_type e ON e.typarray = t.oid
LEFT JOIN pg_class c ON c.oid = coalesce(e.typrelid, t.typrelid)
WHERE t.oid >= 10000 AND t.typtype <> 'p' AND (
    coalesce(c.relkind, 'c') = 'c'
    OR coalesce(e.oid, t.oid) IN (SELECT atttypid FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0)
    OR t.oid IN (SELECT atttypid FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0))";

/// A captured table as the engine knows it, under what the publication says of it. `generated`: with those generated columns whose
/// values the log has.
pub(super) fn table(found: &LogTable, rule: Option<Rule<'_>>, generated: bool) -> Table {
    let captured = &found.table;
    let is_logged = |column: &CatalogColumn| rule.is_some_and(|rule| rule.publishes(column));
    let computed = captured.generated.iter();
    let mut columns: Vec<_> = captured
        .columns
        .iter()
        .filter(|column| rule.is_none_or(|rule| rule.publishes(column)))
        .chain(computed.filter(|column| generated && column.readable && is_logged(column)))
        .collect();
    columns.sort_by_key(|column| column.number);
    let is_left_out = |name: &&String| columns.iter().all(|column| column.name != **name);
    let left_out = captured.left_out_columns.iter().filter(is_left_out).cloned().collect();
    Table {
        id: captured.id,
        name: captured.name.clone(),
        root: captured.root().cloned(),
        left_out,
        computed: numbers_of(&captured.generated),
        unpublished: rule.map_or_else(Vec::new, |rule| unpublished(captured, rule)),
        attributes: captured.attributes.clone(),
        columns: columns.into_iter().map(table_column).collect(),
        primary_key: captured.primary_key.clone(),
        unique_key: captured.unique_key.clone(),
        has_ctid: captured.by_ctid,
        parts: found.parts.clone(),
        identity_columns: captured.identity_columns.clone(),
        replica_identity: captured.replica_identity,
        bytes: captured.bytes,
        row_filter: rule.and_then(|rule| rule.row_filter).map(str::to_owned),
        published_by: Vec::new(),
        published_as: None,
    }
}

/// Columns that the log does not have; of the generated ones those that are the stream's as soon as they are not generated any more.
fn unpublished(captured: &CapturedTable, rule: Rule<'_>) -> Vec<String> {
    let is_unlisted = |name: &&String| rule.columns.is_some_and(|listed| !listed.contains(*name));
    let unlisted = captured.attributes.numbers.keys().filter(is_unlisted);
    let computed = captured.generated.iter().filter(|column| !rule.publishes(column));
    unlisted.chain(computed.map(|column| &column.name)).cloned().collect()
}

/// The numbers of columns.
pub(super) fn numbers_of<'a>(
    columns: impl IntoIterator<Item = &'a CatalogColumn>,
) -> BTreeMap<String, i16> {
    columns.into_iter().map(|column| (column.name.clone(), column.number)).collect()
}

/// Notes what publishes a table, and how.
pub(super) fn note_publication(table: &mut Table, found: &LogTable, publication: &Publication) {
    let captured = &found.table;
    table.published_by = publication.entries(captured);
    table.published_as = publication.published_as(captured);
    // The publication may have been made just now.
    let rule = publication.rule(captured);
    table.unpublished = rule.map_or_else(Vec::new, |rule| unpublished(captured, rule));
}

fn table_column(column: &CatalogColumn) -> TableColumn {
    TableColumn {
        name: column.name.clone(),
        number: column.number,
        type_oid: column.type_oid,
        type_name: String::new(),
        type_modifier: column.type_modifier,
        declared_type: column.type_name.clone(),
        binary_safe: false,
        binary_from: 0,
        not_null: column.not_null,
        identity: match column.identity {
            None => Identity::None,
            Some(CatalogIdentity::Always) => Identity::Always,
            Some(CatalogIdentity::ByDefault) => Identity::ByDefault,
        },
        generated: column.generated.is_some(),
    }
}

/// Which of `tables` a run with this checkpoint copies.
pub(super) fn to_copy(
    mode: SnapshotMode,
    tables: &[Arc<Table>],
    checkpoint: &Checkpoint,
) -> BTreeSet<TableName> {
    let synced =
        |name: &TableName| matches!(checkpoint.tables.get(name), Some(TableSync::Synced { .. }));
    let has_begun =
        checkpoint.tables.values().any(|sync| !matches!(sync, TableSync::Copying { .. }));
    let wanted = |name: &TableName| match mode {
        SnapshotMode::Initial | SnapshotMode::InitialOnly | SnapshotMode::RowsOnly => !synced(name),
        // The rows of a table that came after the stream's start are changes: their log begins with the publication of the table.
        SnapshotMode::Never => has_begun && !synced(name),
        SnapshotMode::Always => true,
    };
    tables.iter().map(|table| &table.name).filter(|name| wanted(name)).cloned().collect()
}

/// Those that the stream follows from its start on without a copy; also one whose copy was begun and is not wanted any more.
pub(super) fn taken_up(
    tables: &[Arc<Table>],
    checkpoint: &Checkpoint,
    to_copy: &BTreeSet<TableName>,
) -> Vec<Arc<Table>> {
    let is_new = |table: &&Arc<Table>| {
        let synced = checkpoint.tables.get(&table.name);
        !to_copy.contains(&table.name) && !matches!(synced, Some(TableSync::Synced { .. }))
    };
    tables.iter().filter(is_new).cloned().collect()
}

/// Names the columns' types, and finds out which of them can travel in binary form.
pub(super) async fn describe_types(
    client: &SqlClient,
    tables: &mut [Arc<Table>],
) -> Result<(), Error> {
    let types: BTreeSet<u32> =
        tables.iter().flat_map(|table| &table.columns).map(|column| column.type_oid).collect();
    let types: Vec<u32> = types.into_iter().collect();
    let rows = client.query(TYPES, &[&types]).await.map_err(|source| {
        from_query(QueryError::Failed { what: "read the columns' types", source })
    })?;
    let types: HashMap<u32, (String, bool, u32)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect();
    for table in tables {
        for column in &mut Arc::make_mut(table).columns {
            if let Some((name, binary_safe, binary_from)) = types.get(&column.type_oid) {
                column.type_name.clone_from(name);
                column.binary_safe = *binary_safe;
                column.binary_from = *binary_from;
            }
        }
    }
    Ok(())
}

/// Reads the types that are not built in; `as_of` is a position of the log from before.
pub(super) async fn read_types(client: &SqlClient, as_of: Lsn) -> Result<Types, Error> {
    let rows = client
        .query(OWN_TYPES, &[])
        .await
        .map_err(|source| from_query(QueryError::Failed { what: "read the types", source }))?;
    let by_oid = rows.iter().map(|row| {
        let letter = |at: usize| row.get::<_, &str>(at).bytes().next().unwrap_or_default();
        let element: u32 = row.get(5);
        let kind = match letter(2) {
            b'd' => TypeKind::Domain { base: row.get(3), modifier: row.get(4) },
            b'e' => TypeKind::Enum,
            b'c' => TypeKind::Composite,
            b'r' => TypeKind::Range,
            b'm' => TypeKind::Multirange,
            _ if element != 0 => TypeKind::Array { element, delimiter: letter(6) },
            _ => TypeKind::Base,
        };
        (row.get(0), Type { name: row.get(1), kind })
    });
    Ok(Types { by_oid: by_oid.collect(), as_of })
}

/// Gives tables without replica identity one, before they are published: the server would refuse the
/// application's own UPDATE and DELETE.
pub(super) async fn give_identities(
    client: &SqlClient,
    captured: &Captured,
    log: &LogTables,
) -> Result<(), Error> {
    // The log describes partitions as their root, where they come under its name.
    let roots = log.tables.iter().filter(|found| found.parts.is_some()).map(|root| &root.table);
    let roots = roots.filter(|root| !root.has_identity());
    for table in captured.without_identity().chain(roots) {
        let statement = identity_sql(table);
        if !table.owned || table.replica_identity == ReplicaIdentity::Nothing {
            // Said already, with the statement, by the preflight check.
            continue;
        }
        let sql = format!("SET lock_timeout = '10s'; {statement}; RESET lock_timeout");
        let set = client.batch_execute(&sql).await;
        match set.map_err(|source| QueryError::Failed { what: "set a replica identity", source }) {
            // Said already as well.
            Err(error) if error.is_of_standby() => continue,
            set => set.map_err(from_change)?,
        }
        tracing::warn!(
            table = %table.name,
            statement,
            "the table has no key: its replica identity was set, because the server would refuse every \
             UPDATE and DELETE of a published table without one"
        );
    }
    Ok(())
}

/// Names what the filter asks for and does not get.
pub(super) fn say_what_is_left_out(captured: &Captured) {
    for left_out in &captured.left_out {
        tracing::warn!("{left_out}");
    }
    for unmatched in &captured.unmatched {
        tracing::warn!("{unmatched}");
    }
}

/// Names generated columns that no event has, because the log does not have them.
pub(super) fn say_what_is_computed(log: &LogTables, tables: &[Arc<Table>]) {
    for (found, table) in log.tables.iter().zip(tables) {
        let is_missing = |column: &&CatalogColumn| table.left_out.contains(&column.name);
        let missing = found.table.generated.iter().filter(is_missing);
        let missing: Vec<_> = missing.map(|column| column.name.as_str()).collect();
        if !missing.is_empty() {
            tracing::info!(
                table = %table.name,
                columns = missing.join(", "),
                "generated columns are left out, of the snapshot too, because the log does not have them: PostgreSQL 18 logs \
                 stored ones for a publication with `publish_generated_columns = stored`, and virtual ones never"
            );
        }
    }
}

/// Refuses a publication that leaves out captured tables.
pub(super) fn check_publication(ensured: &Ensured) -> Result<(), Error> {
    if ensured.missing.is_empty() {
        return Ok(());
    }
    let message = not_published(&ensured.publication.name, &ensured.missing);
    Err(Error::new(ErrorKind::Configuration, message))
}

/// A publication of your own leaves out captured tables, whose changes would never come.
///
/// Remedy: run the statement of the message as the publication's owner, or exclude the tables.
pub(super) fn not_published(publication: &str, missing: &[TableName]) -> String {
    let names: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "publication `{publication}` does not publish captured tables, whose changes would never come: {}; run `{}` as its \
         owner, or exclude them",
        names.join(", "),
        add_sql(publication, missing)
    )
}

/// How often the server wants a sign of life: a third of its `wal_sender_timeout`, at most `limit`.
pub(super) async fn confirm_interval(
    client: &SqlClient,
    limit: Duration,
) -> Result<Duration, Error> {
    let sql = "SELECT setting::int8 FROM pg_settings WHERE name = 'wal_sender_timeout'";
    let rows = client.query(sql, &[]).await.map_err(|source| {
        from_query(QueryError::Failed { what: "read `wal_sender_timeout`", source })
    })?;
    let timeout_ms: i64 = rows.first().map_or(0, |row| row.get(0));
    let timeout_ms = u64::try_from(timeout_ms).map_err(unexpected)?;
    if timeout_ms == 0 {
        return Ok(limit);
    }
    Ok(Duration::from_millis(timeout_ms / 3).min(limit).max(Duration::from_millis(10)))
}
