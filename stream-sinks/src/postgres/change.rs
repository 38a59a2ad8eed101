//! Sends changes one by one.

use std::sync::Arc;

use stream_core::change::{Change, OldTuple, Tuple, TupleData};
use stream_core::relation::Relation;
use stream_core::table::Identity;
use stream_core::{Error, ErrorKind};

use super::apply::Applier;
use super::error::from_wire;
use super::pipe::Purpose;
use super::plan::{Key, Plan};
use super::statements::{Shape, statement};

impl Applier {
    pub(super) fn send_change(&mut self, change: &Change, at: usize) -> Result<(), Error> {
        match change {
            Change::Read { relation, new } | Change::Insert { relation, new } => {
                self.send_insert(relation, new, Shape::Insert, at)
            }
            Change::Update { relation, old, new } => {
                self.send_update(relation, old.as_ref(), new, at)
            }
            Change::Delete { relation, old } => self.send_delete(relation, old.tuple(), at),
            Change::Truncate { relations, restart_identity, .. } => {
                match self.tables.truncate_sql(relations, *restart_identity)? {
                    Some(sql) => self.pipe.query(&sql, Purpose::Control, at).map_err(from_wire),
                    None => Ok(()),
                }
            }
            Change::Message { .. } => Ok(()),
        }
    }

    pub(super) fn send_insert(
        &mut self,
        relation: &Relation,
        new: &Tuple,
        shape: Shape,
        at: usize,
    ) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        let values: Vec<_> = written_values(&plan, new).collect();
        self.execute(&plan, shape, &values, Purpose::Insert(1), at)
    }

    fn send_update(
        &mut self,
        relation: &Relation,
        old: Option<&OldTuple>,
        new: &Tuple,
        at: usize,
    ) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        if old.is_some_and(|old| changes_identity_always(&plan, old.tuple(), new)) {
            return self.send_replace(relation, old.map_or(new, OldTuple::tuple), new, at);
        }
        let new_values: Vec<_> = new.iter().collect();
        let set = set_columns(&plan, old.is_none(), &new_values);
        let mut values: Vec<_> = set.iter().filter_map(|&at| new_values.get(at).copied()).collect();
        push_key(&plan, old.map_or(new, OldTuple::tuple), &mut values);
        values.extend(plan.guards.iter().filter_map(|&at| new_values.get(at).copied()));
        self.execute(&plan, Shape::Update(set), &values, Purpose::Update, at)
    }

    /// Replaces a row; values that the log does not hold stay as they are at the target.
    pub(super) fn send_replace(
        &mut self,
        relation: &Relation,
        found_by: &Tuple,
        new: &Tuple,
        at: usize,
    ) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        let new_values: Vec<_> = new.iter().collect();
        let is_kept = |at: &usize| new_values.get(*at) == Some(&TupleData::UnchangedToast);
        let (kept, given): (Vec<_>, Vec<_>) = plan.written().map(|(at, _)| at).partition(is_kept);
        if kept.is_empty() {
            self.send_delete(relation, found_by, at)?;
            return self.send_insert(relation, new, Shape::Insert, at);
        }
        let mut values = Vec::new();
        push_key(&plan, found_by, &mut values);
        values.extend(given.iter().filter_map(|&at| new_values.get(at).copied()));
        self.execute(&plan, Shape::Replace(kept), &values, Purpose::Update, at)
    }

    pub(super) fn send_delete(
        &mut self,
        relation: &Relation,
        old: &Tuple,
        at: usize,
    ) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        let mut values = Vec::new();
        push_key(&plan, old, &mut values);
        self.execute(&plan, Shape::Delete, &values, Purpose::Delete, at)
    }

    fn execute(
        &mut self,
        plan: &Plan,
        shape: Shape,
        values: &[TupleData<'_>],
        purpose: Purpose,
        at: usize,
    ) -> Result<(), Error> {
        let binary = values.iter().any(|value| matches!(value, TupleData::Binary(_)));
        check_binary(plan, binary)?;
        let name = self.prepared(plan, shape)?;
        self.pipe.execute(&name, values.iter().copied(), purpose, at).map_err(from_wire)
    }

    /// The name of a statement, which is prepared if it is new.
    pub(super) fn prepared(&mut self, plan: &Plan, shape: Shape) -> Result<Arc<str>, Error> {
        if let Some(name) = self.statements.name(plan.number, &shape) {
            return Ok(name);
        }
        let (sql, types) = statement(plan, &shape);
        let name = self.statements.add(plan.number, shape);
        self.pipe.prepare(&name, &sql, &types).map_err(from_wire)?;
        Ok(name)
    }
}

/// The columns that an update writes. The key is not among them when it `keeps_key`: a row whose indexed
/// columns are left alone is cheaper to update.
pub(super) fn set_columns(
    plan: &Plan,
    keeps_key: bool,
    new_values: &[TupleData<'_>],
) -> Vec<usize> {
    let is_key = |at| matches!(&plan.key, Key::Columns(columns) if columns.contains(&at));
    plan.written()
        .filter(|(at, column)| {
            column.identity != Identity::Always
                && new_values.get(*at) != Some(&TupleData::UnchangedToast)
                && !(keeps_key && is_key(*at))
        })
        .map(|(at, _)| at)
        .collect()
}

/// Values in another form than the target can take: the types differ since the stream began.
///
/// Remedy: nothing, the values are sent as text. Where the target's type cannot take them, it says so by row.
pub(super) fn check_binary(plan: &Plan, binary: bool) -> Result<(), Error> {
    if binary && !plan.takes_binary {
        return Err(Error::new(
            ErrorKind::Changed,
            format!(
                "a column of `{}` has another type at the target than at the source: starting again with \
                 values in text form",
                plan.relation.name
            ),
        ));
    }
    Ok(())
}

fn written_values<'a>(plan: &'a Plan, tuple: &'a Tuple) -> impl Iterator<Item = TupleData<'a>> {
    tuple.iter().zip(&plan.columns).filter_map(|(data, column)| column.is_some().then_some(data))
}

/// Appends the values by which a row is found.
fn push_key<'a>(plan: &Plan, found_by: &'a Tuple, values: &mut Vec<TupleData<'a>>) {
    match &plan.key {
        Key::Columns(columns) => {
            values.extend(columns.iter().filter_map(|&at| found_by.get(at)));
        }
        Key::Image => values.extend(
            found_by
                .iter()
                .zip(&plan.columns)
                .filter_map(|(data, column)| column.is_some().then_some(data)),
        ),
        Key::Nothing => {}
    }
}

/// Whether a GENERATED ALWAYS identity column gets another value, which no UPDATE can give it.
pub(super) fn changes_identity_always(plan: &Plan, old: &Tuple, new: &Tuple) -> bool {
    plan.columns.iter().zip(old.iter().zip(new)).any(|(column, (old, new))| {
        column.as_ref().is_some_and(|column| column.identity == Identity::Always)
            && old != TupleData::Null
            && new != TupleData::UnchangedToast
            && old != new
    })
}
