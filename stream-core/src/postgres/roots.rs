//! What the log calls the captured tables: where a publication publishes by way of the root, a partitioned table with all its partitions
//! is one table. Pure.
//!
//! ```text
//! publish_via_partition_root   tables of the log         parts
//! off                          orders_2024, orders_2025
//! on                           orders                    orders_2024, orders_2025 (their rows are those of orders)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::capture::{Captured, CapturedTable};
use super::publication::{AutoCreate, Publication};
use super::source_problem::SourceProblem;
use super::{PostgresSourceOptions, SnapshotMode};
use crate::relation::{ReplicaIdentity, TableName};
use crate::sql::Ident;
use crate::table::{Part, TableOrigin};

/// The captured tables as the log has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogTables {
    /// The tables, each with rows under its own name.
    pub(super) tables: Vec<LogTable>,
    /// Partitions whose rows come under another name, each with that name.
    pub(super) parts: BTreeMap<TableName, TableName>,
}

/// A table of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogTable {
    /// The table; a partitioned one stands for all its partitions.
    pub(super) table: CapturedTable,
    /// Its partitions, then.
    pub(super) parts: Option<Vec<Part>>,
}

impl LogTables {
    /// The captured tables under the names that `publication` gives them, or the one that would be made.
    pub(super) fn new(
        captured: &Captured,
        publication: Option<&Publication>,
        options: &PostgresSourceOptions,
    ) -> Self {
        let name_of = |table: &CapturedTable| name_of(table, publication, options);
        let mut parts = BTreeMap::new();
        let mut tables = Vec::new();
        for table in &captured.tables {
            let name = name_of(table);
            if name == table.name {
                let table = table.clone();
                tables.push(LogTable { table, parts: None });
            } else {
                parts.insert(table.name.clone(), name);
            }
        }
        let is_on =
            publication.map_or(options.via_partition_root, |found| found.via_partition_root);
        for root in captured.partitioned.iter().filter(|_| is_on) {
            let name = name_of(root);
            if name == root.name {
                tables.push(gathered(root, captured, &parts));
            } else {
                parts.insert(root.name.clone(), name);
            }
        }
        Self { tables, parts }
    }

    /// What stands in the way of reading partitions as their root, and what can be lived with.
    pub(super) fn problems(
        &self,
        captured: &Captured,
        publication: Option<&Publication>,
        options: &PostgresSourceOptions,
    ) -> Vec<SourceProblem> {
        let name = &options.publication;
        let statement = |on: bool| {
            format!("ALTER PUBLICATION {} SET (publish_via_partition_root = {on})", Ident(name))
        };
        let mut problems = Vec::new();
        let apart = self.apart(captured);
        if !apart.is_empty() {
            problems.push(SourceProblem::ViaPartitionRoot {
                publication: name.clone(),
                tables: apart.into_iter().collect(),
                remedy: match publication {
                    Some(_) => format!("run `{}`", statement(false)),
                    None => "set `publishViaPartitionRoot: false`".to_owned(),
                },
            });
        }
        let roots: BTreeSet<_> = self.parts.values().cloned().collect();
        if !roots.is_empty() && options.snapshot != SnapshotMode::RowsOnly {
            problems.push(SourceProblem::TruncatedParts { roots: roots.into_iter().collect() });
        }
        if options.via_partition_root
            && publication.is_some_and(|publication| !publication.via_partition_root)
        {
            problems.push(SourceProblem::NotViaPartitionRoot {
                publication: name.clone(),
                sql: statement(true),
            });
        }
        problems
    }

    /// Partitions that are not captured as their root is.
    fn apart(&self, captured: &Captured) -> BTreeSet<TableName> {
        let roots: BTreeMap<_, _> =
            captured.partitioned.iter().map(|root| (&root.name, root)).collect();
        let differs = |part: &CapturedTable| {
            let root = self.parts.get(&part.name).map(|root| roots.get(root));
            root.is_some_and(|root| root.is_none_or(|root| !is_alike(part, root)))
        };
        let different =
            captured.tables.iter().filter(|part| differs(part)).map(|part| part.name.clone());
        let gathered = self.tables.iter().filter(|found| found.parts.is_some());
        let uncaptured = gathered.flat_map(|root| root.table.uncaptured.iter().cloned());
        different.chain(uncaptured).collect()
    }
}

/// The name under which the log has a table's rows.
fn name_of(
    table: &CapturedTable,
    publication: Option<&Publication>,
    options: &PostgresSourceOptions,
) -> TableName {
    let name = match publication {
        Some(publication) => publication.comes_as(table),
        None if !options.via_partition_root => None,
        None if options.auto_create == AutoCreate::AllTables => table.root(),
        None => Some(&table.published_as),
    };
    name.unwrap_or(&table.name).clone()
}

fn gathered(
    root: &CapturedTable,
    captured: &Captured,
    parts: &BTreeMap<TableName, TableName>,
) -> LogTable {
    let below = captured.tables.iter().filter(|part| parts.get(&part.name) == Some(&root.name));
    let below: Vec<&CapturedTable> = below.collect();
    let bytes = below.iter().map(|part| part.bytes).sum();
    let part = |part: &CapturedTable| {
        let links = part.attached_by.iter();
        let published_by = links.fold(0_u32, |mixed, link| mixed.rotate_left(7) ^ link);
        Part {
            name: part.name.clone(),
            origin: TableOrigin { relation: part.id, published_by, ..TableOrigin::default() },
            attached_later: part.attached_later,
        }
    };
    let parts = Some(below.into_iter().map(part).collect());
    let table = CapturedTable { pages: 0, bytes, by_ctid: false, ..root.clone() };
    LogTable { table, parts }
}

/// Whether the log describes a partition's rows as it does those of its root.
fn is_alike(part: &CapturedTable, root: &CapturedTable) -> bool {
    let columns = |table: &CapturedTable| -> BTreeSet<String> {
        table.columns.iter().map(|column| column.name.clone()).collect()
    };
    // One without an identity gets one that holds whole rows, from its owner.
    let is_whole = |table: &CapturedTable| {
        table.is_logged_whole() && (table.owned || table.replica_identity == ReplicaIdentity::Full)
    };
    let identity = |table: &CapturedTable| -> Option<BTreeSet<String>> {
        (!is_whole(table)).then(|| table.identity_columns.iter().cloned().collect())
    };
    columns(part) == columns(root) && identity(part) == identity(root)
}
