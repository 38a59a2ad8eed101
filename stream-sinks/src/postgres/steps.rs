//! Groups the changes of a batch, so that many rows go to the target in one statement. Pure.
//!
//! A reader of the target sees a batch's changes all at once. So changes of different tables need not keep
//! their order among each other, and of several updates of one row that set the same columns only the last
//! one matters. Changes of one table keep their order otherwise. That holds only while nothing at the target
//! watches single changes: with triggers or foreign keys at work, every change is sent in its place.

use std::collections::HashMap;
use std::sync::Arc;

use stream_core::batch::Entry;
use stream_core::change::{Change, OldTuple, Tuple, TupleData};
use stream_core::relation::{Relation, TableName};

use super::change::{changes_identity_always, set_columns};
use super::encode::{Form, form};
use super::plan::{Key, Plan};

/// Fewer inserts than this are not worth a `COPY`.
const MIN_COPY_ROWS: usize = 16;
/// Fewer rows than this are not worth an array.
const MIN_ARRAY_ROWS: usize = 4;
/// Rows of one statement with arrays.
const MAX_ARRAY_ROWS: usize = 1_000;
/// Values of one statement with arrays.
const MAX_ARRAY_VALUES: usize = 20_000;

/// What is sent at once; entries by their place in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Inserts into one table, by `COPY`.
    Copy(Vec<usize>),
    /// Updates that set the same columns of rows of one table.
    Updates { set: Vec<usize>, entries: Vec<usize> },
    /// Deletes from one table.
    Deletes(Vec<usize>),
    /// One change.
    One(usize),
}

/// Groups `entries`. `plan_of` knows how a relation goes into its table; `independent` says whether nothing
/// at the target watches single changes.
pub(super) fn steps<'a>(
    entries: &'a [Entry],
    plan_of: impl Fn(&Relation) -> Option<&'a Arc<Plan>>,
    independent: bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lanes = Lanes::default();
    for (at, entry) in entries.iter().enumerate() {
        let Entry::Change { change, .. } = entry else { continue };
        let relation = match change {
            Change::Read { relation, .. }
            | Change::Insert { relation, .. }
            | Change::Update { relation, .. }
            | Change::Delete { relation, .. } => relation,
            Change::Truncate { .. } => {
                lanes.drain_into(&mut steps);
                steps.push(Step::One(at));
                continue;
            }
            Change::Message { .. } => continue,
        };
        let Some(plan) = plan_of(relation) else {
            lanes.drain_into(&mut steps);
            steps.push(Step::One(at));
            continue;
        };
        let lane = lanes.of(independent.then_some(&plan.table.name));
        lane.add(at, Kind::of(change, plan, independent), relation);
    }
    lanes.drain_into(&mut steps);
    steps
}

/// One lane for each table of the target; a single one when the order of all changes matters.
#[derive(Default)]
struct Lanes<'a> {
    places: HashMap<Option<&'a TableName>, usize>,
    lanes: Vec<Lane<'a>>,
}

impl<'a> Lanes<'a> {
    fn of(&mut self, table: Option<&'a TableName>) -> &mut Lane<'a> {
        let next = self.lanes.len();
        let place = *self.places.entry(table).or_insert(next);
        if place == next {
            self.lanes.push(Lane::default());
        }
        &mut self.lanes[place]
    }

    fn drain_into(&mut self, steps: &mut Vec<Step>) {
        self.places.clear();
        for mut lane in self.lanes.drain(..) {
            lane.close();
            steps.append(&mut lane.steps);
        }
    }
}

#[derive(Default)]
struct Lane<'a> {
    steps: Vec<Step>,
    run: Option<Run<'a>>,
}

/// Changes that may go together.
struct Run<'a> {
    relation: &'a Arc<Relation>,
    together: Together,
    entries: Vec<usize>,
    /// Where in `entries` the row with a key stands.
    keys: HashMap<Vec<u8>, usize>,
}

#[derive(PartialEq, Eq)]
enum Together {
    Inserts(Form),
    Updates(Vec<usize>),
    Deletes,
}

/// How a change may be grouped.
enum Kind {
    Alone,
    Insert(Form),
    Update { set: Vec<usize>, key: Vec<u8> },
    Delete { key: Vec<u8> },
}

impl Kind {
    fn of(change: &Change, plan: &Plan, independent: bool) -> Self {
        match change {
            Change::Read { new, .. } | Change::Insert { new, .. } => match form(new, Form::Text) {
                Form::Mixed => Self::Alone,
                form => Self::Insert(form),
            },
            Change::Update { old, new, .. } if independent => {
                Self::of_update(plan, old.as_ref(), new).unwrap_or(Self::Alone)
            }
            Change::Delete { old, .. } if independent => {
                key_bytes(plan, old.tuple()).map_or(Self::Alone, |key| Self::Delete { key })
            }
            _ => Self::Alone,
        }
    }

    /// An update that keeps its key, all of whose values can be elements of binary arrays.
    fn of_update(plan: &Plan, old: Option<&OldTuple>, new: &Tuple) -> Option<Self> {
        let found_by = old.map_or(new, OldTuple::tuple);
        let key = key_bytes(plan, found_by)?;
        let new_values: Vec<_> = new.iter().collect();
        if let Some(old) = old {
            let Key::Columns(columns) = &plan.key else { return None };
            let kept = columns.iter().all(|&at| {
                let new = new_values.get(at);
                new == Some(&TupleData::UnchangedToast) || new == old.tuple().get(at).as_ref()
            });
            if !kept || changes_identity_always(plan, old.tuple(), new) {
                return None;
            }
        }
        let set = set_columns(plan, true, &new_values);
        let fit = plan.guards.is_empty()
            && set.iter().all(|&at| {
                plan.has_array(at)
                    && matches!(new_values.get(at), Some(TupleData::Binary(_) | TupleData::Null))
            });
        (fit && !set.is_empty()).then_some(Self::Update { set, key })
    }
}

/// The key of a row, when it can be an element of binary arrays: for each column its length and value.
fn key_bytes(plan: &Plan, row: &Tuple) -> Option<Vec<u8>> {
    let Key::Columns(columns) = &plan.key else { return None };
    let mut key = Vec::new();
    for &at in columns {
        let Some(TupleData::Binary(value)) = row.get(at) else { return None };
        if !plan.has_array(at) {
            return None;
        }
        key.extend_from_slice(&value.len().to_be_bytes());
        key.extend_from_slice(value);
    }
    plan.takes_binary.then_some(key)
}

impl<'a> Lane<'a> {
    fn add(&mut self, at: usize, kind: Kind, relation: &'a Arc<Relation>) {
        let (together, key) = match kind {
            Kind::Alone => {
                self.close();
                self.steps.push(Step::One(at));
                return;
            }
            Kind::Insert(form) => (Together::Inserts(form), None),
            Kind::Update { set, key } => (Together::Updates(set), Some(key)),
            Kind::Delete { key } => (Together::Deletes, Some(key)),
        };
        let fits =
            self.run.as_ref().is_some_and(|run| run.takes(&together, relation, key.as_ref()));
        if !fits {
            self.close();
        }
        self.run
            .get_or_insert_with(|| Run {
                relation,
                together,
                entries: Vec::new(),
                keys: HashMap::new(),
            })
            .push(at, key);
    }

    fn close(&mut self) {
        let Some(Run { together, entries, .. }) = self.run.take() else { return };
        let enough = match together {
            Together::Inserts(_) => MIN_COPY_ROWS,
            Together::Updates(_) | Together::Deletes => MIN_ARRAY_ROWS,
        };
        if entries.len() < enough {
            self.steps.extend(entries.into_iter().map(Step::One));
            return;
        }
        self.steps.push(match together {
            Together::Inserts(_) => Step::Copy(entries),
            Together::Updates(set) => Step::Updates { set, entries },
            Together::Deletes => Step::Deletes(entries),
        });
    }
}

impl Run<'_> {
    fn takes(&self, together: &Together, relation: &Arc<Relation>, key: Option<&Vec<u8>>) -> bool {
        let room = match &self.together {
            Together::Inserts(_) => true,
            Together::Updates(_) | Together::Deletes => {
                let values = self.entries.len() * (relation.columns.len() + 1);
                self.entries.len() < MAX_ARRAY_ROWS && values < MAX_ARRAY_VALUES
            }
        };
        // A row that is deleted twice differs from what the source saw: not together.
        let repeated = self.together == Together::Deletes
            && key.is_some_and(|key| self.keys.contains_key(key));
        room && !repeated && Arc::ptr_eq(self.relation, relation) && self.together == *together
    }

    fn push(&mut self, at: usize, key: Option<Vec<u8>>) {
        let place = self.entries.len();
        if let Some(key) = key {
            let known = *self.keys.entry(key).or_insert(place);
            if let Some(entry) = self.entries.get_mut(known) {
                // The same row with the same columns again: the later values win.
                *entry = at;
                return;
            }
        }
        self.entries.push(at);
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use stream_core::change::Transaction;
    use stream_core::lsn::Lsn;
    use stream_core::relation::{Column, RelationId, ReplicaIdentity};
    use stream_core::table::Identity;
    use stream_core::types::Types;

    use super::*;
    use crate::postgres::fit::Base;
    use crate::postgres::plan::{TargetColumn, TargetTable};

    fn relation(name: &str) -> Arc<Relation> {
        let column = |name: &str, is_key| Column {
            name: name.to_owned(),
            type_oid: 23,
            type_modifier: -1,
            is_key,
        };
        Arc::new(Relation {
            id: RelationId(name.len().try_into().unwrap()),
            name: TableName::new("public", name),
            renamed: false,
            replica_identity: ReplicaIdentity::Default,
            columns: vec![column("id", true), column("a", false), column("b", false)],
        })
    }

    fn plan(relation: &Arc<Relation>) -> Arc<Plan> {
        let column = |name: &str| TargetColumn {
            name: name.to_owned(),
            type_oid: 23,
            array_oid: 1007,
            type_modifier: -1,
            base: Base { oid: 23, modifier: -1, is_array: false, name: String::new() },
            type_name: "integer".to_owned(),
            declared_type: "integer".to_owned(),
            takes_binary: true,
            generated: None,
            identity: Identity::None,
            must_be_given: false,
            equality: "OPERATOR(pg_catalog.=)".to_owned(),
        };
        let table = TargetTable {
            name: relation.name.clone(),
            columns: vec![column("id"), column("a"), column("b")],
            primary_key: vec!["id".to_owned()],
            partitioned: false,
        };
        let types = Types::default();
        let plan = Plan::new(Arc::clone(relation), Arc::new(table), true, |_| true, &types);
        Arc::new(plan.unwrap())
    }

    /// A row of three columns; `None` is an unchanged value.
    fn row(values: [Option<i32>; 3]) -> Tuple {
        let mut bytes = BytesMut::new();
        for value in values {
            match value {
                Some(value) => {
                    bytes.put_slice(b"b\0\0\0\x04");
                    bytes.put_i32(value);
                }
                None => bytes.put_u8(b'u'),
            }
        }
        Tuple::new(bytes.freeze(), 3).unwrap()
    }

    fn update(relation: &Arc<Relation>, id: i32, a: i32) -> Change {
        let new = row([Some(id), Some(a), Some(0)]);
        Change::Update { relation: Arc::clone(relation), old: None, new }
    }

    fn insert(relation: &Arc<Relation>, id: i32) -> Change {
        Change::Insert { relation: Arc::clone(relation), new: row([Some(id), Some(0), Some(0)]) }
    }

    fn delete(relation: &Arc<Relation>, id: i32) -> Change {
        let old = OldTuple::Key(row([Some(id), Some(0), Some(0)]));
        Change::Delete { relation: Arc::clone(relation), old }
    }

    fn grouped(changes: Vec<Change>, independent: bool) -> Vec<Step> {
        let entries: Vec<_> = changes
            .into_iter()
            .map(|change| Entry::Change { ordinal: 0, lsn: Lsn::default(), change })
            .collect();
        let plans: HashMap<_, _> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Change {
                    change:
                        Change::Insert { relation, .. }
                        | Change::Update { relation, .. }
                        | Change::Delete { relation, .. },
                    ..
                } => Some((relation.id, plan(relation))),
                _ => None,
            })
            .collect();
        steps(&entries, |relation| plans.get(&relation.id), independent)
    }

    #[test]
    fn changes_of_several_tables_are_grouped_by_table() {
        let (a, bb) = (relation("a"), relation("bb"));
        let changes = (0..4).flat_map(|n| [update(&a, n, 1), update(&bb, n, 1)]).collect();
        assert_eq!(
            grouped(changes, true),
            [
                Step::Updates { set: vec![1, 2], entries: vec![0, 2, 4, 6] },
                Step::Updates { set: vec![1, 2], entries: vec![1, 3, 5, 7] },
            ]
        );
    }

    #[test]
    fn nothing_is_moved_while_something_watches() {
        let (a, bb) = (relation("a"), relation("bb"));
        let changes: Vec<_> = (0..4).flat_map(|n| [update(&a, n, 1), update(&bb, n, 1)]).collect();
        let expected: Vec<_> = (0..8).map(Step::One).collect();
        assert_eq!(grouped(changes, false), expected);
    }

    #[test]
    fn of_several_updates_of_a_row_the_last_one_wins() {
        let a = relation("a");
        let changes =
            [(1, 10), (2, 10), (3, 10), (4, 10), (2, 20), (1, 20)].map(|(id, v)| update(&a, id, v));
        assert_eq!(
            grouped(changes.into(), true),
            [Step::Updates { set: vec![1, 2], entries: vec![5, 4, 2, 3] }]
        );
    }

    #[test]
    fn an_unchanged_value_and_a_changed_key_are_kept_apart() {
        let a = relation("a");
        let mut changes: Vec<_> = (0..4).map(|n| update(&a, n, 1)).collect();
        let new = row([Some(9), None, Some(0)]);
        changes.push(Change::Update { relation: Arc::clone(&a), old: None, new });
        let (old, new) = (row([Some(1), Some(0), Some(0)]), row([Some(7), Some(1), Some(0)]));
        changes.push(Change::Update {
            relation: Arc::clone(&a),
            old: Some(OldTuple::Key(old)),
            new,
        });
        assert_eq!(
            grouped(changes, true),
            [
                Step::Updates { set: vec![1, 2], entries: vec![0, 1, 2, 3] },
                Step::One(4),
                Step::One(5),
            ]
        );
    }

    #[test]
    fn changes_of_one_table_keep_their_order() {
        let a = relation("a");
        let mut changes: Vec<_> = (0..16).map(|n| insert(&a, n)).collect();
        changes.extend((0..5).map(|n| delete(&a, n)));
        changes.push(delete(&a, 0));
        changes.extend((0..2).map(|n| insert(&a, n)));
        assert_eq!(
            grouped(changes, true),
            [
                Step::Copy((0..16).collect()),
                Step::Deletes((16..21).collect()),
                Step::One(21),
                Step::One(22),
                Step::One(23),
            ]
        );
    }

    #[test]
    fn a_truncate_parts_what_is_before_from_what_is_after() {
        let a = relation("a");
        let mut changes: Vec<_> = (0..2).map(|n| insert(&a, n)).collect();
        changes.push(Change::Truncate {
            relations: vec![Arc::clone(&a)],
            cascade: false,
            restart_identity: false,
        });
        changes.extend((0..2).map(|n| insert(&a, n)));
        let expected: Vec<_> = (0..5).map(Step::One).collect();
        assert_eq!(grouped(changes, true), expected);
    }

    #[test]
    fn transactions_share_a_statement() {
        let a = relation("a");
        let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(1), commit_time_us: 0 };
        let entries: Vec<_> = (0..16)
            .flat_map(|n| {
                [
                    Entry::Begin(transaction),
                    Entry::Change { ordinal: 0, lsn: Lsn::default(), change: insert(&a, n) },
                    Entry::Commit { transaction, end: Lsn::new(2) },
                ]
            })
            .collect();
        let plan = plan(&a);
        let expected = (0..16).map(|n| n * 3 + 1).collect();
        assert_eq!(steps(&entries, |_| Some(&plan), true), [Step::Copy(expected)]);
    }
}
