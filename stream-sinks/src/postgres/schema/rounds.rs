//! Decides which statements can be run side by side.

use std::collections::{HashMap, HashSet};

use stream_core::relation::TableName;

use super::Statement;

/// Puts post-data statements into rounds. Those of one round can be run at the same time, in any order,
/// and do not wait for each other's locks; a round begins when the one before is done.
///
/// `statements` are those of [`Import::post_data`](super::Import::post_data) that are not done yet, in
/// their order: what is no longer listed counts as done.
#[must_use]
pub fn rounds(statements: &[Statement]) -> Vec<Vec<&Statement>> {
    let mut rounds: Vec<Round<'_>> = Vec::new();
    let mut round_of: HashMap<u32, usize> = HashMap::new();
    let mut phase = None;
    let mut first_of_phase = 0;
    for statement in statements {
        if phase != Some(statement.phase) {
            phase = Some(statement.phase);
            first_of_phase = rounds.len();
        }
        let after = statement.after.iter().filter_map(|id| round_of.get(id)).map(|round| round + 1);
        let earliest = after.max().unwrap_or_default().max(first_of_phase);
        let free = rounds
            .iter()
            .enumerate()
            .skip(earliest)
            .find(|(_, round)| round.admits(statement))
            .map(|(number, _)| number);
        let number = free.unwrap_or_else(|| {
            rounds.push(Round::default());
            rounds.len() - 1
        });
        round_of.insert(statement.id, number);
        if let Some(round) = rounds.get_mut(number) {
            round.admit(statement);
        }
    }
    rounds.into_iter().map(|round| round.statements).collect()
}

#[derive(Default)]
struct Round<'a> {
    statements: Vec<&'a Statement>,
    shared: HashSet<&'a TableName>,
    exclusive: HashSet<&'a TableName>,
}

impl<'a> Round<'a> {
    fn admits(&self, statement: &Statement) -> bool {
        statement.locks.iter().all(|lock| {
            let shared = lock.exclusive && self.shared.contains(&lock.table);
            !(shared || self.exclusive.contains(&lock.table))
        })
    }

    fn admit(&mut self, statement: &'a Statement) {
        for lock in &statement.locks {
            let locked = if lock.exclusive { &mut self.exclusive } else { &mut self.shared };
            locked.insert(&lock.table);
        }
        self.statements.push(statement);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lock, Phase};
    use super::*;

    fn statement(id: u32, after: &[u32], phase: Phase, locks: &[(&str, bool)]) -> Statement {
        let lock = |&(table, exclusive): &(&str, bool)| Lock {
            table: TableName::new("s", table),
            exclusive,
        };
        Statement {
            id,
            after: after.to_vec(),
            kind: String::new(),
            table: None,
            name: String::new(),
            sql: String::new(),
            phase,
            soft: false,
            locks: locks.iter().map(lock).collect(),
        }
    }

    fn check(statements: &[Statement], expected: &[&[u32]]) {
        let rounds = rounds(statements);
        let ids: Vec<Vec<u32>> =
            rounds.iter().map(|round| round.iter().map(|each| each.id).collect()).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn indexes_of_one_table_are_built_side_by_side_and_marked_one_by_one() {
        check(
            &[
                statement(0, &[], Phase::Index, &[("a", false)]),
                statement(1, &[0], Phase::Index, &[("a", true)]),
                statement(2, &[], Phase::Index, &[("a", false)]),
                statement(3, &[2], Phase::Index, &[("a", true)]),
                statement(4, &[], Phase::Index, &[("b", false)]),
            ],
            &[&[0, 2, 4], &[1], &[3]],
        );
    }

    #[test]
    fn a_phase_waits_for_the_one_before() {
        check(
            &[
                statement(0, &[], Phase::Index, &[("a", false)]),
                statement(1, &[], Phase::Constraint, &[("b", true), ("c", true)]),
                statement(2, &[], Phase::Constraint, &[("c", true)]),
                statement(3, &[], Phase::Constraint, &[("d", true)]),
                statement(4, &[], Phase::EventTrigger, &[]),
            ],
            &[&[0], &[1, 3], &[2], &[4]],
        );
    }

    #[test]
    fn what_is_done_holds_nobody_up() {
        check(&[statement(7, &[3], Phase::Index, &[("a", true)])], &[&[7]]);
        check(&[], &[]);
    }
}
