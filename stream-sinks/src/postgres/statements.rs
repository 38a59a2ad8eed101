//! Prepared statements of one session.

use std::collections::HashMap;
use std::sync::Arc;

use super::plan::Plan;

/// Prepared statements that a session keeps.
const MAX_STATEMENTS: usize = 1_000;

/// What makes two statements of a plan differ. The columns are those of the relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// A row.
    Insert,
    /// A row, unless one with its key is there.
    InsertIfAbsent,
    /// Sets these columns of a row; none of them: looks whether the row is there.
    Update(Vec<usize>),
    /// Sets these columns of many rows; each parameter is an array.
    UpdateMany(Vec<usize>),
    /// Removes a row and adds it anew, with its old values in these columns.
    Replace(Vec<usize>),
    /// Removes a row.
    Delete,
    /// Removes many rows; each parameter is an array.
    DeleteMany,
}

/// The names under which statements are prepared.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// By the number of the plan.
    names: HashMap<(u64, Shape), Arc<str>>,
    /// Names are never used twice, so that one left over from a failure is not met.
    made: u64,
}

impl Statements {
    pub(super) fn name(&self, plan: u64, shape: &Shape) -> Option<Arc<str>> {
        // A borrowed pair cannot be looked up; shapes are small.
        self.names.get(&(plan, shape.clone())).cloned()
    }

    /// A new name for a statement that is about to be prepared.
    pub(super) fn add(&mut self, plan: u64, shape: Shape) -> Arc<str> {
        self.made += 1;
        let name: Arc<str> = format!("s{}", self.made).into();
        self.names.insert((plan, shape), Arc::clone(&name));
        name
    }

    pub(super) fn are_many(&self) -> bool {
        self.names.len() > MAX_STATEMENTS
    }

    pub(super) fn forget_plan(&mut self, plan: u64) {
        self.names.retain(|(number, _), _| *number != plan);
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
    }
}

/// The text of a statement, and the types of its parameters.
pub(super) fn statement(plan: &Plan, shape: &Shape) -> (String, Vec<u32>) {
    let written = || plan.written().map(|(at, _)| at);
    let key = || plan.key_columns(&plan.key).into_iter();
    let guards = || plan.guards.iter().copied();
    match shape {
        Shape::Insert => (plan.insert_sql(), plan.types(written())),
        Shape::InsertIfAbsent => (plan.insert_if_absent_sql(), plan.types(written())),
        Shape::Update(set) if set.is_empty() => {
            (plan.exists_sql(), plan.types(key().chain(guards())))
        }
        Shape::Update(set) => {
            (plan.update_sql(set), plan.types(set.iter().copied().chain(key()).chain(guards())))
        }
        Shape::UpdateMany(set) => {
            (plan.update_many_sql(set), plan.array_types(set.iter().copied().chain(key())))
        }
        Shape::Replace(kept) => {
            let given = written().filter(|at| !kept.contains(at));
            (plan.replace_sql(kept), plan.types(key().chain(given)))
        }
        Shape::Delete => (plan.delete_sql(&plan.key), plan.types(key())),
        Shape::DeleteMany => (plan.delete_many_sql(), plan.array_types(key())),
    }
}
