//! Decides which tables are captured, and as which tables the publication lists them.
//!
//! In: the catalogue and the filter. Out: the tables that hold rows, each once, and the partitioned
//! tables above them. Pure.
//!
//! ```text
//! orders (partitioned)         published: orders, so that later partitions are in it
//! ├── orders_2024 (leaf)       copied and streamed
//! └── orders_2025 (divided)
//!     └── orders_2025_01       copied and streamed
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::catalog::{Catalog, CatalogColumn, CatalogTable, Generated, Obstacle, TableKind};
use crate::columns::Attributes;
use crate::filter::{ColumnDef, Selection, TableFilter, Unmatched};
use crate::relation::{RelationId, ReplicaIdentity, TableName};
use crate::snapshot::plan::TableExtent;

/// A table that the stream captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedTable {
    /// Its identifier on the source.
    pub id: RelationId,
    /// Its name; a partition's own.
    pub name: TableName,
    /// The captured columns in table order; never a generated one.
    pub columns: Vec<CatalogColumn>,
    /// The generated columns that the filter takes, also such as may not be read, in table order.
    pub generated: Vec<CatalogColumn>,
    /// Columns that it has had.
    pub attributes: Attributes,
    /// Whether these are all columns that can be captured.
    pub all_columns: bool,
    /// The other columns: generated, or left out by the filter.
    pub left_out_columns: Vec<String>,
    /// How its generated columns come by their values, one entry for each.
    pub computed: Vec<Generated>,
    /// The partitioned tables that it is part of: parent first, root last.
    pub ancestors: Vec<TableName>,
    /// The transactions that attached it and its ancestors, each to the next one.
    pub attached_by: Vec<u32>,
    /// The transactions that put it and its ancestors into their schemas, its own first.
    pub placed_by: Vec<u32>,
    /// Whether it, or an ancestor, was attached after it was made.
    pub attached_later: bool,
    /// Tables that are part of it and not captured: excluded, or impossible.
    pub uncaptured: Vec<TableName>,
    /// The name that the publication has to list: the uppermost captured ancestor, or its own.
    pub published_as: TableName,
    /// The primary key's columns in key order; empty when there is none, or when not all of them
    /// are captured.
    pub primary_key: Vec<String>,
    /// Without a primary key, the columns of a unique index that tells rows apart, in the index's order; empty when there is
    /// none, or when not all of them are captured.
    pub unique_key: Vec<String>,
    /// Columns of the primary key or the replica identity that the filter leaves out.
    pub missing_key_columns: Vec<String>,
    /// What the log holds of old rows, as set.
    pub replica_identity: ReplicaIdentity,
    /// The columns whose old values the log really holds, in table order. Empty: an UPDATE or DELETE
    /// of a published table is refused by the server.
    pub identity_columns: Vec<String>,
    /// Pages of the table itself; an estimate until [`measure`](super::measure::measure) has looked.
    pub pages: u32,
    /// Bytes to copy; an estimate until [`measure`](super::measure::measure) has looked, which counts TOAST too.
    pub bytes: u64,
    /// Whether it can be read by ranges of `ctid`.
    pub by_ctid: bool,
    /// Whether we may read every captured column.
    pub readable: bool,
    /// Whether we may use its schema.
    pub schema_usable: bool,
    /// Whether policies would hide rows from us.
    pub rows_hidden: bool,
    /// Its owner.
    pub owner: String,
    /// Whether we have the owner's rights.
    pub owned: bool,
}

impl CapturedTable {
    /// The uppermost partitioned table that it is part of, captured or not.
    #[must_use]
    pub fn root(&self) -> Option<&TableName> {
        self.ancestors.last()
    }

    /// Whether the server lets rows be updated and deleted while the table is published.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.replica_identity == ReplicaIdentity::Full || !self.identity_columns.is_empty()
    }

    /// Whether its primary key can be its replica identity, as which it is not set.
    pub(super) fn has_usable_key(&self) -> bool {
        self.replica_identity != ReplicaIdentity::Default && !self.primary_key.is_empty()
    }

    /// Whether the log holds whole rows of it, once it has got an identity where it has none.
    pub(super) fn is_logged_whole(&self) -> bool {
        self.replica_identity == ReplicaIdentity::Full
            || !self.has_identity() && !self.has_usable_key()
    }

    /// What a snapshot has to copy.
    #[must_use]
    pub fn extent(&self) -> TableExtent {
        let pages = self.by_ctid.then_some(self.pages);
        TableExtent { table: self.name.clone(), bytes: self.bytes, pages }
    }
}

/// A table that the filter asks for and that cannot be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The table.
    pub name: TableName,
    /// Why.
    pub obstacle: Obstacle,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table `{}` is not captured: {}", self.name, self.obstacle)
    }
}

/// What a stream captures of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The tables that hold rows: ordinary ones and leaves. These are copied, and their changes
    /// come under these names unless the publication publishes by way of the root.
    pub tables: Vec<CapturedTable>,
    /// The partitioned tables, which hold no rows; with or without partitions.
    pub partitioned: Vec<CapturedTable>,
    /// What the filter asks for and cannot have.
    pub left_out: Vec<LeftOut>,
    /// The partitioned tables that each partition of the database is part of, captured or not: parent first, root last.
    pub ancestors: BTreeMap<RelationId, Vec<TableName>>,
    /// Patterns that match nothing of the database.
    pub unmatched: Vec<Unmatched>,
    /// Whether the database has large objects; they are never captured.
    pub has_large_objects: bool,
    /// Whether publications can have generated columns.
    pub publishes_generated: bool,
}

impl Captured {
    /// The tables that the publication has to list, each once, sorted: partitioned roots, never
    /// together with their partitions, and ordinary tables.
    #[must_use]
    pub fn published(&self) -> BTreeSet<&TableName> {
        self.all().map(|table| &table.published_as).collect()
    }

    /// Tables with rows whose UPDATE and DELETE the server refuses once they are published, because
    /// they have no replica identity.
    pub fn without_identity(&self) -> impl Iterator<Item = &CapturedTable> {
        self.tables.iter().filter(|table| !table.has_identity())
    }

    /// Whether the publication has to have generated columns, so that the server refuses no UPDATE and DELETE.
    ///
    /// Source: <https://www.postgresql.org/docs/current/logical-replication-gencols.html>
    #[must_use]
    pub fn needs_generated(&self) -> bool {
        self.publishes_generated
            && self
                .tables
                .iter()
                .any(|table| table.is_logged_whole() && table.computed.contains(&Generated::Stored))
    }

    /// Tables with rows whose UPDATE and DELETE the server refuses once they are published, because it logs whole rows of
    /// them, and cannot publish columns that are computed when they are read.
    pub fn with_virtual_identity(&self) -> impl Iterator<Item = &CapturedTable> {
        self.tables
            .iter()
            .filter(|table| table.is_logged_whole() && table.computed.contains(&Generated::Virtual))
    }

    /// The tables with rows and the partitioned ones.
    pub fn all(&self) -> impl Iterator<Item = &CapturedTable> {
        self.tables.iter().chain(&self.partitioned)
    }

    /// Tables that the filter asks for and whose changes are in no log because they are unlogged.
    pub fn unlogged(&self) -> impl Iterator<Item = &TableName> {
        let is_unlogged = |one: &&LeftOut| matches!(one.obstacle, Obstacle::Unlogged { .. });
        self.left_out.iter().filter(is_unlogged).map(|one| &one.name)
    }

    /// The captured table with this identifier.
    #[must_use]
    pub fn get(&self, id: RelationId) -> Option<&CapturedTable> {
        self.all().find(|table| table.id == id)
    }
}

/// Applies a filter to the catalogue.
#[must_use]
pub fn capture(catalog: &Catalog, filter: &TableFilter) -> Captured {
    let by_id: HashMap<_, _> = catalog.tables.iter().map(|table| (table.id, table)).collect();
    let mut captured = Captured {
        has_large_objects: catalog.has_large_objects,
        publishes_generated: catalog.publishes_generated,
        ..Captured::default()
    };
    let defs: Vec<_> = catalog.tables.iter().map(|table| (table, column_defs(table))).collect();
    captured.unmatched = filter.unmatched(defs.iter().map(|(table, defs)| (&table.name, &**defs)));

    let mut uncaptured: HashMap<&TableName, Vec<TableName>> = HashMap::new();
    for (table, columns) in &defs {
        let lineage: Vec<&CatalogTable> = lineage(table, &by_id);
        let names: Vec<&TableName> = lineage.iter().map(|table| &table.name).collect();
        let ancestors: Vec<_> = names.iter().skip(1).map(|&name| name.clone()).collect();
        if !ancestors.is_empty() {
            captured.ancestors.insert(table.id, ancestors);
        }
        let selection = filter.select(&names, columns);
        let obstacle = table.obstacle().filter(|_| selection != Selection::NotCaptured);
        if selection == Selection::NotCaptured || obstacle.is_some() {
            for &ancestor in names.iter().skip(1) {
                uncaptured.entry(ancestor).or_default().push(table.name.clone());
            }
            let name = table.name.clone();
            captured.left_out.extend(obstacle.map(|obstacle| LeftOut { name, obstacle }));
            continue;
        }
        // An ancestor is listed in its place when the filter takes the ancestor itself.
        let listed = (1..lineage.len()).rev().find(|&at| {
            lineage.get(at).is_some_and(|ancestor| {
                let names = names.get(at..).unwrap_or_default();
                ancestor.obstacle().is_none()
                    && filter.select(names, &column_defs(ancestor)) != Selection::NotCaptured
            })
        });
        let published_as = listed.and_then(|at| names.get(at)).map_or(&table.name, |name| name);
        let mut one = captured_table(table, &selection, published_as.clone());
        one.ancestors = names.iter().skip(1).map(|&name| name.clone()).collect();
        let parts = || lineage.iter().filter(|table| table.is_partition);
        one.attached_by = parts().filter_map(|table| table.attached_by.first().copied()).collect();
        one.placed_by = lineage.iter().map(|table| table.placed_by).collect();
        one.attached_later = parts().any(|table| table.attached_later);
        one.generated = generated(table, filter, &names);
        if table.kind == TableKind::Partitioned {
            captured.partitioned.push(one);
        } else {
            captured.tables.push(one);
        }
    }
    for root in &mut captured.partitioned {
        root.uncaptured = uncaptured.remove(&root.name).unwrap_or_default();
    }
    captured
}

/// The table and the partitioned tables above it, root last.
fn lineage<'a>(
    table: &'a CatalogTable,
    by_id: &HashMap<RelationId, &'a CatalogTable>,
) -> Vec<&'a CatalogTable> {
    let parent = |table: &&'a CatalogTable| {
        let parent = table.parents.first().filter(|_| table.is_partition)?;
        by_id.get(parent).copied()
    };
    std::iter::successors(Some(table), parent).collect()
}

/// The columns that can be captured, as the filter sees them.
fn column_defs(table: &CatalogTable) -> Vec<ColumnDef<'_>> {
    let is_key = |column: &CatalogColumn| {
        column.key_position.is_some()
            || (table.replica_identity == ReplicaIdentity::Index && column.in_replica_identity)
    };
    let capturable = table.columns.iter().filter(|column| column.generated.is_none());
    capturable.map(|column| ColumnDef { name: &column.name, is_key: is_key(column) }).collect()
}

/// The generated columns that the filter takes.
fn generated(
    table: &CatalogTable,
    filter: &TableFilter,
    names: &[&TableName],
) -> Vec<CatalogColumn> {
    let defs: Vec<_> = table
        .columns
        .iter()
        .map(|column| ColumnDef { name: &column.name, is_key: false })
        .collect();
    let selection = filter.select(names, &defs);
    let columns = table.columns.iter().enumerate();
    let generated = columns.filter(|(at, column)| column.generated.is_some() && selection.has(*at));
    generated.map(|(_, column)| column).cloned().collect()
}

fn captured_table(
    table: &CatalogTable,
    selection: &Selection,
    published_as: TableName,
) -> CapturedTable {
    let columns: Vec<CatalogColumn> = table
        .columns
        .iter()
        .filter(|column| column.generated.is_none())
        .enumerate()
        .filter(|(at, _)| selection.has(*at))
        .map(|(_, column)| column.clone())
        .collect();
    let is_captured = |column: &CatalogColumn| columns.iter().any(|one| one.name == column.name);
    let names = |columns: Vec<&CatalogColumn>| -> Vec<String> {
        columns.into_iter().map(|column| column.name.clone()).collect()
    };
    let mut key: Vec<_> =
        table.columns.iter().filter(|column| column.key_position.is_some()).collect();
    key.sort_by_key(|column| column.key_position);
    if !key.iter().all(|column| is_captured(column)) {
        key.clear();
    }
    let is_kept = |name: &String| columns.iter().any(|column| column.name == *name);
    let is_keyed = table.columns.iter().any(|column| column.key_position.is_some());
    let unique_key = match is_keyed || !table.unique_key.iter().all(is_kept) {
        true => Vec::new(),
        false => table.unique_key.clone(),
    };
    let finds_rows = |column: &&CatalogColumn| {
        column.key_position.is_some()
            || (column.in_replica_identity && table.replica_identity != ReplicaIdentity::Full)
    };
    let missing = table.columns.iter().filter(finds_rows).filter(|column| !is_captured(column));
    let identity = table.columns.iter().filter(|column| column.in_replica_identity);
    let left_out = table.columns.iter().filter(|column| !is_captured(column));
    let numbers = table.columns.iter().map(|column| (column.name.clone(), column.number)).collect();
    CapturedTable {
        id: table.id,
        name: table.name.clone(),
        attributes: Attributes { numbers, ..table.attributes.clone() },
        all_columns: *selection == Selection::Whole,
        left_out_columns: names(left_out.collect()),
        computed: table.columns.iter().filter_map(|column| column.generated).collect(),
        ancestors: Vec::new(),
        attached_by: Vec::new(),
        placed_by: vec![table.placed_by],
        attached_later: false,
        uncaptured: Vec::new(),
        published_as,
        primary_key: names(key),
        unique_key,
        missing_key_columns: names(missing.collect()),
        replica_identity: table.replica_identity,
        identity_columns: names(identity.collect()),
        pages: table.pages,
        bytes: table.bytes,
        // Other access methods number their rows as they like; and rights on single columns do not
        // reach `ctid`.
        by_ctid: table.selectable && table.access_method.as_deref() == Some("heap"),
        generated: Vec::new(),
        readable: table.selectable || columns.iter().all(|column| column.readable),
        schema_usable: table.schema_usable,
        rows_hidden: table.rows_hidden,
        owner: table.owner.clone(),
        owned: table.owned,
        columns,
    }
}
