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
        let fit = set.iter().all(|&at| {
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
