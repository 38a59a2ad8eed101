//! Which column each name of a table stands for. Pure.
//!
//! The log knows columns by their names alone. The catalogue numbers them, and gives no number twice:
//!
//! ```text
//!                                     v  w                v   w
//! DROP COLUMN v; ADD COLUMN v         1  2       ─►       3   2     v is another column
//! RENAME v, w in a circle             1  2       ─►       2   1     both are
//! ADD x; DROP x; ADD x, looked at
//! before and after                    1  2       ─►   x = 4, and 3 was dropped: perhaps it was called x as well
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known of a table's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnNumbers {
    /// `pg_attribute.attnum` of each captured column, and of those that were captured and dropped since.
    pub numbers: BTreeMap<String, i16>,
    /// The highest number that a column of the table has had, captured or not; 0 where it was not noted.
    pub highest: i16,
    /// Those of generated columns that the stream leaves out; absent where an older version noted it.
    #[serde(default)]
    pub computed: BTreeMap<String, i16>,
    /// Those of other columns that the stream leaves out; absent where an older version noted it.
    #[serde(default)]
    pub excluded: BTreeMap<String, i16>,
}

/// The numbers of a table's columns, captured or not, of now and of before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Attributes {
    /// `pg_attribute.attnum` of each column that it has.
    #[serde(skip)]
    pub numbers: BTreeMap<String, i16>,
    /// `pg_class.relnatts`: the highest number that a column has had.
    pub highest: i16,
    /// The numbers of dropped columns.
    pub dropped: Vec<i16>,
}

impl Attributes {
    /// Whether the names can have stood for the same columns when the log described the table: it has columns in the order of their
    /// numbers, and those between two that are known need numbers of their own.
    pub fn fits<'a>(&self, described: impl IntoIterator<Item = &'a str>) -> bool {
        let mut last = 0;
        for name in described {
            match self.numbers.get(name) {
                Some(number) if *number <= last => return false,
                Some(number) => last = *number,
                None => last += 1,
            }
        }
        last <= self.highest
    }
}

impl ColumnNumbers {
    /// A column whose name stands for another one `now`, or may have stood for one that came and went since; `dropped` are the numbers of the
    /// columns that are gone.
    #[must_use]
    pub fn renumbered<'a>(&'a self, now: &'a Self, dropped: &[i16]) -> Option<&'a str> {
        let is_other = |name: &String, number: i16| match self.numbers.get(name) {
            Some(known) => *known != number,
            None => {
                self.highest > 0
                    && dropped.iter().any(|gone| (self.highest + 1..number).contains(gone))
            }
        };
        let mut columns = now.numbers.iter();
        columns.find(|(name, number)| is_other(name, **number)).map(|(name, _)| name.as_str())
    }

    /// A column, of those that are `given` their values now, that was left out as a generated one: nobody has brought what it had.
    #[must_use]
    pub fn freed<'a>(&self, given: impl IntoIterator<Item = (&'a str, i16)>) -> Option<&'a str> {
        let was_computed = |name: &str, number: i16| {
            self.computed.contains_key(name) || self.computed.values().any(|one| *one == number)
        };
        given.into_iter().find(|(name, number)| was_computed(name, *number)).map(|(name, _)| name)
    }

    /// A captured column that was left out before: nobody has brought what it had.
    #[must_use]
    pub fn included<'a>(&self, given: impl IntoIterator<Item = (&'a str, i16)>) -> Option<&'a str> {
        let was_excluded = |number: i16| self.excluded.values().any(|one| *one == number);
        given.into_iter().find(|(_, number)| was_excluded(*number)).map(|(name, _)| name)
    }

    /// The generated columns that are left out `now`, or were and are not among the captured ones.
    #[must_use]
    pub fn still_computed(&self, now: &Self) -> BTreeMap<String, i16> {
        still_left_out(&self.computed, &now.computed, now)
    }

    /// With the columns that came since; `None`: none came. `dropped` are the numbers of columns that are gone: one of them that nobody has
    /// seen may come up in the log still, and what comes under its name after it is not to be taken for it.
    #[must_use]
    pub fn with_new(&self, now: &Self, dropped: &[i16]) -> Option<Self> {
        let is_unseen = |number: &i16| {
            *number > self.highest && self.numbers.values().all(|seen| seen != number)
        };
        let is_complete = self.highest == 0 || !dropped.iter().any(is_unseen);
        let highest = if is_complete { self.highest.max(now.highest) } else { self.highest };
        let mut numbers = now.numbers.clone();
        numbers.extend(self.numbers.clone());
        let computed = self.still_computed(now);
        let excluded = still_left_out(&self.excluded, &now.excluded, now);
        let all = Self { numbers, highest, computed, excluded };
        (all != *self).then_some(all)
    }
}

/// Columns that are `left_out`, or were `before` and are not captured `now`.
fn still_left_out(
    before: &BTreeMap<String, i16>,
    left_out: &BTreeMap<String, i16>,
    now: &ColumnNumbers,
) -> BTreeMap<String, i16> {
    let is_captured = |name: &String, number: i16| {
        now.numbers.contains_key(name) || now.numbers.values().any(|one| *one == number)
    };
    let before = before.iter().filter(|(name, number)| !is_captured(name, **number));
    let before = before.map(|(name, number)| (name.clone(), *number));
    // A name that another column has by now is that one's: it is the one that may be captured again.
    before.chain(left_out.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(numbers: &[(&str, i16)], highest: i16) -> ColumnNumbers {
        let numbers = numbers.iter().map(|(name, number)| ((*name).to_owned(), *number));
        ColumnNumbers { numbers: numbers.collect(), highest, ..ColumnNumbers::default() }
    }

    #[test]
    fn a_name_that_stands_for_another_column_is_found_and_other_changes_are_none() {
        let before = columns(&[("id", 1), ("v", 2), ("w", 4)], 4);
        let find = |numbers: &[_], dropped: &[i16]| {
            let now = columns(numbers, 9);
            before.renumbered(&now, dropped).map(str::to_owned)
        };
        let found = |name: &str| Some(name.to_owned());
        assert_eq!(find(&[("id", 1), ("w", 4)], &[2, 3]), None);
        assert_eq!(find(&[("id", 1), ("v", 2), ("w", 4), ("x", 5)], &[3]), None);
        assert_eq!(find(&[("id", 1), ("y", 2), ("w", 4)], &[3]), None);
        assert_eq!(find(&[("id", 1), ("v", 5), ("w", 4)], &[2, 3]), found("v"));
        assert_eq!(find(&[("id", 1), ("v", 4), ("w", 2)], &[3]), found("v"));
        // It came after one that is gone, and that nobody has seen.
        assert_eq!(find(&[("id", 1), ("v", 2), ("x", 6)], &[3, 5]), found("x"));
        assert_eq!(find(&[("id", 1), ("v", 2), ("x", 5)], &[3, 6]), None);
        // Nothing was noted.
        assert_eq!(ColumnNumbers::default().renumbered(&before, &[1, 3]), None);
    }

    #[test]
    fn a_description_of_the_log_shows_that_a_name_stood_for_another_column() {
        let columns = columns(&[("id", 1), ("v", 2), ("w", 4)], 5);
        let now = Attributes { numbers: columns.numbers, highest: 5, dropped: vec![3, 5] };
        for same in [
            &["id", "v", "w"][..],
            &["id"],
            &["id", "v", "gone", "w"],
            &["id", "v", "w", "gone"],
            &["id", "v", "called otherwise"],
        ] {
            assert!(now.fits(same.iter().copied()), "{same:?}");
        }
        for other in [
            &["id", "w", "v"][..],
            // One of the two was made anew in between, and dropped again.
            &["id", "old", "v", "w"],
            // The number of the last is not left for it.
            &["id", "v", "x", "x2", "w"],
            &["id", "v", "w", "x", "x2"],
        ] {
            assert!(!now.fits(other.iter().copied()), "{other:?}");
        }
    }

    #[test]
    fn a_column_that_was_left_out_is_found_by_its_number() {
        let before =
            ColumnNumbers { excluded: columns(&[("n", 2)], 0).numbers, ..columns(&[("id", 1)], 3) };
        assert_eq!(before.included([("id", 1), ("v", 3)]), None);
        assert_eq!(before.included([("id", 1), ("renamed", 2)]), Some("renamed"));
        // Another one under its name has its own values in the log.
        assert_eq!(before.included([("n", 4)]), None);
        let now = columns(&[("id", 1), ("m", 3)], 3);
        assert_eq!(before.with_new(&now, &[]).unwrap().excluded, before.excluded);
        // Made anew, and left out still.
        let anew = ColumnNumbers { excluded: columns(&[("n", 4)], 0).numbers, ..now };
        let all = before.with_new(&anew, &[2]).unwrap();
        assert_eq!(all.included([("n", 4)]), Some("n"));
    }

    #[test]
    fn a_column_that_was_generated_is_found_by_its_name_or_number() {
        let mut before = columns(&[("id", 1)], 3);
        before.computed = columns(&[("g", 3)], 0).numbers;
        assert_eq!(before.freed([("id", 1), ("v", 4)]), None);
        assert_eq!(before.freed([("id", 1), ("g", 3)]), Some("g"));
        assert_eq!(before.freed([("renamed", 3)]), Some("renamed"));
        assert_eq!(before.freed([("g", 4)]), Some("g"));
        let mut now = columns(&[("id", 1)], 4);
        now.computed = columns(&[("g2", 4)], 0).numbers;
        let all = before.with_new(&now, &[]).unwrap();
        assert_eq!(all.computed, columns(&[("g", 3), ("g2", 4)], 0).numbers);
        // Captured now, it is a column like others.
        let captured = columns(&[("id", 1), ("g", 3)], 3);
        assert_eq!(before.with_new(&captured, &[]), Some(captured));
        // An older version noted none.
        let old = serde_json::from_str(r#"{"numbers":{"id":1},"highest":3}"#);
        assert_eq!(old.ok(), Some(columns(&[("id", 1)], 3)));
    }

    #[test]
    fn names_are_kept_with_their_first_numbers() {
        let before = columns(&[("id", 1), ("gone", 2)], 2);
        assert_eq!(before.with_new(&columns(&[("id", 1)], 2), &[2]), None);
        let now = columns(&[("id", 1), ("gone", 3), ("x", 4)], 4);
        let all = columns(&[("id", 1), ("gone", 2), ("x", 4)], 4);
        assert_eq!(before.with_new(&now, &[2]), Some(all));
        // Nobody has seen the third.
        assert_eq!(before.with_new(&columns(&[("id", 1)], 3), &[2, 3]), None);
        let old = columns(&[], 0);
        assert_eq!(old.with_new(&now, &[2]), Some(now));
    }
}
