//! Columns of the log that are not captured. Pure.

use std::collections::{BTreeSet, HashMap};

use stream_core::checkpoint::{Checkpoint, TableSync};
use stream_core::filter::TableFilter;
use stream_core::relation::{Column, Relation, RelationId, ReplicaIdentity};
use stream_core::source::Inspected;
use stream_core::table::Table;

/// What is known of columns that the stream leaves out.
pub(super) struct Excluded {
    filter: TableFilter,
    /// What was noted of tables, which may be gone by now.
    noted: HashMap<RelationId, BTreeSet<String>>,
}

impl Excluded {
    pub(super) fn new(source: &Inspected, checkpoint: &Checkpoint) -> Self {
        let noted = |sync: &TableSync| match sync {
            TableSync::Synced { origin, .. } => {
                Some((origin.relation, origin.columns.excluded.keys().cloned().collect()))
            }
            TableSync::Copying { .. } => None,
        };
        let noted = checkpoint.tables.values().filter_map(noted).collect();
        Self { filter: source.filter.clone(), noted }
    }

    /// The names of those of `relation`. `table` is what is captured under its name.
    pub(super) fn of(&self, relation: &Relation, table: Option<&Table>) -> BTreeSet<String> {
        match table {
            Some(table) => self.of_captured(relation, table),
            None => self.noted.get(&relation.id).cloned().unwrap_or_default(),
        }
    }

    /// A column that the table has not any more is judged as it would be there.
    fn of_captured(&self, relation: &Relation, table: &Table) -> BTreeSet<String> {
        let names: Vec<_> = std::iter::once(&table.name).chain(&table.root).collect();
        let taken = self.filter.takes(&names, relation);
        if !taken.contains(&true) {
            // It is captured by a name between its own and its root's.
            return table.left_out.iter().cloned().collect();
        }
        let columns = relation.columns.iter().zip(taken);
        let is_known = |name: &String| table.columns.iter().any(|column| column.name == *name);
        // By what is left out no row is found.
        let finds =
            |column: &Column| column.is_key && relation.replica_identity != ReplicaIdentity::Full;
        let unknown = columns
            .filter(|(column, is_taken)| !is_taken && !is_known(&column.name) && !finds(column));
        let unknown = unknown.map(|(column, _)| column.name.clone());
        unknown.chain(table.left_out.iter().cloned()).collect()
    }
}
