//! Which changes of the log belong to the stream. Pure.
//!
//! A table's changes count from the position of its own snapshot on. What must never happen is that a
//! change of a captured table is left out without a word: a table that is new, or has another name, is an
//! error that makes the stream look at the catalogue again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::capture::Captured;
use super::{PostgresSourceOptions, SnapshotMode};
use crate::change::{Change, Transaction};
use crate::checkpoint::TableSync;
use crate::columns::Attributes;
use crate::error::{Error, ErrorKind};
use crate::filter::{Selection, TableFilter};
use crate::lsn::Lsn;
use crate::relation::{Column, Relation, RelationId, TableName};
use crate::source::{CountsFrom, SourceEvent};
use crate::table::{Table, TableColumn};

/// A received buffer is at most about this large, apart from long messages: what a small change pins.
const PINNED_BYTES: usize = 256 << 10;

/// Decides about each change.
#[derive(Debug, Default)]
pub(super) struct Gate {
    synced: CountsFrom,
    tables: HashMap<RelationId, Arc<Table>>,
    /// Partitions that come under their root's name. The log describes them too.
    parts: BTreeSet<RelationId>,
    /// Tables that are copied after what is read now.
    settling: BTreeSet<TableName>,
    /// Where the log stood when the catalogue was looked at: what is older and not known is gone.
    looked_at: Lsn,
    /// Tables that had another name for a while, as they are called now.
    as_called_now: HashMap<RelationId, Arc<Relation>>,
    filter: Option<TableFilter>,
    /// Whether tables can be copied again.
    copies: bool,
    /// Tables that the filter asks for and that cannot be captured; said at the start.
    impossible: BTreeSet<TableName>,
    /// The partitioned tables above each partition: a pattern for one of them is one for the partition.
    ancestors: BTreeMap<RelationId, Vec<TableName>>,
    /// For each table that the log has described: from which position its changes count.
    counts_from: HashMap<RelationId, Option<Lsn>>,
    /// Those that are not captured any more, and are followed up to the look that has not found them.
    until_looked_at: BTreeSet<RelationId>,
    transaction: Option<Transaction>,
    ordinal: u64,
    /// Bytes received since the last change that passed.
    received_bytes: usize,
}

impl Gate {
    pub(super) fn new(
        tables: &[Arc<Table>],
        captured: &Captured,
        synced: CountsFrom,
        options: &PostgresSourceOptions,
        looked_at: Lsn,
    ) -> Self {
        let parts = tables.iter().flat_map(|table| table.parts.iter().flatten());
        let parts = parts.map(|part| part.origin.relation).collect();
        let tables = tables.iter().map(|table| (table.id, Arc::clone(table))).collect();
        let impossible = captured.left_out.iter().map(|table| table.name.clone()).collect();
        let ancestors = captured.ancestors.clone();
        let filter = Some(options.filter.clone());
        let copies = options.snapshot != SnapshotMode::Never;
        Self {
            synced,
            tables,
            parts,
            looked_at,
            impossible,
            ancestors,
            filter,
            copies,
            ..Self::default()
        }
    }

    /// The log is read before these tables are copied.
    pub(super) fn settle(&mut self, tables: BTreeSet<TableName>) {
        self.settling = tables;
    }

    pub(super) const fn begin(&mut self, transaction: Transaction) {
        self.transaction = Some(transaction);
        self.ordinal = 0;
    }

    pub(super) const fn end(&mut self) {
        self.transaction = None;
    }

    /// The log describes a table. An event says that the rows that come now have other columns under their names.
    pub(super) fn relation(&mut self, relation: &Relation) -> Result<Option<SourceEvent>, Error> {
        self.as_called_now.remove(&relation.id);
        self.until_looked_at.remove(&relation.id);
        if self.parts.contains(&relation.id) {
            self.counts_from.insert(relation.id, self.own_from(relation));
            return Ok(None);
        }
        let table = self.tables.get(&relation.id);
        let known = table.map(|table| &table.name);
        let name = known.unwrap_or(&relation.name);
        let of_name = || self.synced.names.get(name);
        let mut counts_from = self.synced.relations.get(&relation.id).or_else(of_name).copied();
        // The look knows what became of an older one.
        let is_seen = self.commit_lsn() < self.looked_at;
        let is_known_by_now =
            known == Some(&relation.name) || self.synced.as_called_now.contains(&relation.id);
        let owner = self.synced.owners.get(&relation.name);
        let is_passing = known.is_none() && owner.is_some_and(|owner| *owner != relation.id);
        if self.settling.contains(name) && !is_known_by_now {
            // Renamed or dropped since: what became of its rows is told under the name of its time.
            let is_told = !is_passing && (self.is_wanted(relation) || self.was_wanted(relation));
            self.counts_from.insert(relation.id, counts_from.filter(|_| is_told));
            return Ok(None);
        }
        let counts = counts_from.is_some_and(|from| self.commit_lsn() >= from);
        if counts && known == Some(&relation.name) && self.settling.contains(name) {
            // From here on something is told of it under that name.
            self.synced.as_called_now.insert(relation.id);
        }
        if known.is_none() && !self.is_wanted(relation) {
            let is_followed = is_seen && self.was_wanted(relation);
            if is_followed {
                self.until_looked_at.insert(relation.id);
            } else if counts {
                tracing::warn!(table = %relation.name, "changes are left out: the table is not captured any more");
            }
            self.counts_from.insert(relation.id, counts_from.filter(|_| is_followed));
            return Ok(None);
        }
        // The log shows the name of its time. Before the table's snapshot that does not matter.
        if let Some(name) = known.filter(|name| counts && **name != relation.name) {
            if !is_seen {
                return Err(renamed(name, &relation.name));
            }
            let called = Relation { name: name.clone(), renamed: true, ..relation.clone() };
            self.as_called_now.insert(relation.id, Arc::new(called));
        }
        if self.is_other(relation) && counts {
            if !is_seen {
                return Err(made_anew(&relation.name));
            }
            counts_from = None;
        }
        counts_from = counts_from.filter(|_| !is_passing);
        if counts_from.is_none() && self.is_wanted(relation) {
            // One that is there after all is found by the next look, and copied.
            if !is_seen {
                return Err(new(&relation.name));
            }
            tracing::info!(table = %relation.name, "a table came and went before it could be taken up");
        }
        if known.is_none() && !is_seen {
            // Its name was that of one that is gone.
            return Err(new(&relation.name));
        }
        // One that the look did not find although it is older is gone.
        if counts
            && !is_seen
            && let Some(name) = table.and_then(|table| new_column(relation, table))
        {
            return Err(grown(&relation.name, name));
        }
        let settles = self.settling.contains(name);
        let stale = table.filter(|table| counts && !settles && self.is_stale(relation, table));
        let stale = stale.and_then(|table| self.stale(table));
        self.counts_from.insert(relation.id, counts_from);
        Ok(stale)
    }

    fn is_stale(&self, relation: &Relation, table: &Table) -> bool {
        stand_for_others(relation, table) || self.is_hidden(relation, table)
    }

    fn stale(&self, table: &Table) -> Option<SourceEvent> {
        if !self.copies {
            say_what_stays_wrong(&table.name);
        }
        self.copies.then(|| SourceEvent::Stale(self.family(table)))
    }

    /// From where a partition's own changes count, which it had before it was attached. A target that is emptied for the copy gets them with
    /// that.
    fn own_from(&self, relation: &Relation) -> Option<Lsn> {
        let tells = !self.settling.is_empty() && self.selects_as_copied(relation);
        self.synced.names.get(&relation.name).filter(|_| tells).copied()
    }

    /// Whether another table has the name now.
    fn is_other(&self, relation: &Relation) -> bool {
        !self.tables.contains_key(&relation.id)
            && self.tables.values().any(|table| table.name == relation.name)
    }

    /// A table, and the other partitions of its root: what is said of columns of one is true of all. Each is copied again.
    fn family(&self, table: &Table) -> Vec<(TableName, TableSync)> {
        let is_other = |other: &&Arc<Table>| {
            other.id != table.id && other.root.is_some() && other.root == table.root
        };
        let others = self.tables.values().filter(is_other).map(|other| &**other);
        let copying = |table: &Table| {
            let lsn = *self.synced.names.get(&table.name)?;
            Some((table.name.clone(), TableSync::Copying { lsn, relation: Some(table.id) }))
        };
        std::iter::once(table).chain(others).filter_map(copying).collect()
    }

    fn is_wanted(&self, relation: &Relation) -> bool {
        let ancestors = self.ancestors.get(&relation.id).into_iter().flatten();
        self.selects(relation, ancestors)
    }

    /// Whether it was copied under its name, and is captured by that and what it was part of then.
    fn was_wanted(&self, relation: &Relation) -> bool {
        self.synced.owners.get(&relation.name) == Some(&relation.id)
            && self.selects_as_copied(relation)
    }

    fn selects_as_copied(&self, relation: &Relation) -> bool {
        self.selects(relation, self.synced.roots.get(&relation.id))
    }

    fn selects<'a>(
        &self,
        relation: &'a Relation,
        ancestors: impl IntoIterator<Item = &'a TableName>,
    ) -> bool {
        let names: Vec<_> = std::iter::once(&relation.name).chain(ancestors).collect();
        let is_selected =
            |filter: &TableFilter| filter.select_logged(&names, relation) != Selection::NotCaptured;
        !self.impossible.contains(&relation.name) && self.filter.as_ref().is_some_and(is_selected)
    }

    /// Whether a captured column had a name under which it is left out: where it has its place now the log has such a name, which the table
    /// has not any more. One that was dropped there may have been of another type.
    fn is_hidden(&self, relation: &Relation, table: &Table) -> bool {
        let ancestors = self.ancestors.get(&table.id).into_iter().flatten();
        let names: Vec<_> = std::iter::once(&table.name).chain(ancestors).collect();
        let Some(filter) = &self.filter else { return false };
        let Attributes { numbers, dropped, .. } = &table.attributes;
        let columns = relation.columns.iter();
        let number = |column: &Column| numbers.get(&column.name).copied();
        let is_lost = |name: &String| columns.clone().all(|column| column.name != *name);
        let lost: Vec<_> = table.columns.iter().filter(|column| is_lost(&column.name)).collect();
        let mut below = 0;
        columns.clone().zip(filter.takes(&names, relation)).enumerate().any(
            |(at, (column, is_taken))| {
                if let Some(number) = number(column) {
                    below = number;
                    return false;
                }
                let above = columns.clone().skip(at).find_map(number).unwrap_or(i16::MAX);
                let room = below + 1..above;
                let is_unclear = dropped.iter().any(|gone| room.contains(gone));
                let can_be = |lost: &&TableColumn| !is_unclear || lost.type_oid == column.type_oid;
                !is_taken && lost.iter().any(|lost| room.contains(&lost.number) && can_be(lost))
            },
        )
    }

    /// Lets a change through, or not.
    pub(super) fn pass(
        &mut self,
        lsn: Lsn,
        change: Change,
        received_bytes: usize,
    ) -> Option<SourceEvent> {
        self.received_bytes = self.received_bytes.saturating_add(received_bytes);
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let change = self.wanted(change)?;
        let pinned = std::mem::take(&mut self.received_bytes).min(PINNED_BYTES + received_bytes);
        Some(SourceEvent::Change { ordinal, lsn, change, held_bytes: pinned })
    }

    fn wanted(&self, mut change: Change) -> Option<Change> {
        if !self.as_called_now.is_empty() {
            for relation in change.relations_mut() {
                if let Some(called) = self.as_called_now.get(&relation.id) {
                    *relation = Arc::clone(called);
                }
            }
        }
        match change {
            Change::Truncate { relations, cascade, restart_identity } => {
                let relations: Vec<_> =
                    relations.into_iter().filter(|relation| self.counts(relation)).collect();
                (!relations.is_empty()).then_some(Change::Truncate {
                    relations,
                    cascade,
                    restart_identity,
                })
            }
            Change::Message { .. } => Some(change),
            Change::Read { ref relation, .. }
            | Change::Insert { ref relation, .. }
            | Change::Update { ref relation, .. }
            | Change::Delete { ref relation, .. } => self.counts(relation).then_some(change),
        }
    }

    fn counts(&self, relation: &Relation) -> bool {
        let from = self.counts_from.get(&relation.id).copied().flatten();
        let is_in_time =
            self.commit_lsn() < self.looked_at || !self.until_looked_at.contains(&relation.id);
        is_in_time && from.is_some_and(|from| self.commit_lsn() >= from)
    }

    fn commit_lsn(&self) -> Lsn {
        self.transaction.map_or_else(Lsn::default, |open| open.commit_lsn)
    }
}

/// A column that the log has and that the table, or what the publication says of it, has not; one that is not generated any more.
fn new_column<'a>(relation: &'a Relation, table: &Table) -> Option<&'a str> {
    let is_known = |name: &String| {
        table.attributes.numbers.contains_key(name) && !table.unpublished.contains(name)
    };
    let mut names = relation.columns.iter().map(|column| &column.name);
    names.find(|name| !is_known(name)).map(String::as_str)
}

/// Whether names stand for other columns in this description than they do now: their order says so, or that the publication would not have
/// them now.
fn stand_for_others(relation: &Relation, table: &Table) -> bool {
    let mut names = relation.columns.iter().map(|column| &column.name);
    !table.attributes.fits(names.clone().map(String::as_str))
        || names.any(|name| table.unpublished.contains(name))
}

fn say_what_stays_wrong(table: &TableName) {
    tracing::warn!(
        "names of columns of table `{table}` stood for other columns at this point of the log: rows that are written now keep what they have \
         under the other name, because `snapshotMode` is `never`; bring them up to date at the target by other means"
    );
}

/// A table was renamed at this point of the log.
///
/// Remedy: nothing, the table is copied under its new name. What was copied under the old one stays at the target until you drop it.
fn renamed(name: &TableName, now: &TableName) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!(
            "table `{name}` has the name `{now}` at this point of the log: looking at the catalogue again"
        ),
    )
}

/// A table was dropped, and another one has its name.
///
/// Remedy: nothing, the new one is copied.
fn made_anew(name: &TableName) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!("table `{name}` was made anew: looking at the catalogue again"),
    )
}

/// A column comes up in the log that the table did not have at the start.
///
/// Remedy: nothing, it is noted, before its name can be given to another one.
fn grown(table: &TableName, column: &str) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!("table `{table}` has a new column `{column}`: looking at the catalogue again"),
    )
}

/// A table that is captured comes up in the log, and was not there at the start.
///
/// Remedy: nothing, it is published, copied and followed.
fn new(name: &TableName) -> Error {
    Error::new(ErrorKind::Changed, format!("table `{name}` is new: looking at the catalogue again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::ReplicaIdentity;

    #[test]
    fn changes_count_from_the_snapshot_s_position_on() {
        let relation = Relation {
            id: RelationId(1),
            name: TableName::new("s", "t"),
            renamed: false,
            replica_identity: ReplicaIdentity::Default,
            columns: Vec::new(),
        };
        let mut gate = Gate {
            synced: CountsFrom {
                names: BTreeMap::from([(relation.name.clone(), Lsn::new(100))]),
                ..CountsFrom::default()
            },
            filter: Some(TableFilter::new(&[], &[]).unwrap()),
            looked_at: Lsn::new(1_000),
            ..Gate::default()
        };
        gate.relation(&relation).unwrap();
        let relation = Arc::new(relation);
        for (commit_lsn, passes) in [(99, false), (100, true), (101, true)] {
            let commit_lsn = Lsn::new(commit_lsn);
            gate.begin(Transaction { xid: 1, commit_lsn, commit_time_us: 0 });
            let relations = vec![Arc::clone(&relation)];
            let change = Change::Truncate { relations, cascade: false, restart_identity: false };
            assert_eq!(gate.pass(Lsn::new(1), change, 0).is_some(), passes, "{commit_lsn}");
            gate.end();
        }
    }
}
