//! Sequences of the source that the target has not, and what is said of them.
//!
//! The log shows neither `CREATE SEQUENCE` nor a new name. Nothing is made or renamed here: one that was renamed at the source and one that was
//! made there look the same, and a person knows which it was.

use std::collections::BTreeSet;
use std::fmt;

use stream_core::relation::TableName;
use stream_core::sql::{Ident, Literal, list};

use super::Value;
use super::pairs::{Column, Sequence};

/// How many names a sentence has.
const NAMED: usize = 5;

/// A sequence of the source that none of the target is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing<'a> {
    pub(super) sequence: &'a Sequence,
    /// `None` where it may not be read.
    pub(super) value: Option<Value>,
}

/// What the target has besides.
#[derive(Debug)]
pub(super) struct Rest<'a> {
    /// Its sequences that none of the source is, and whose names the source has not.
    pub(super) spare: Vec<&'a Sequence>,
    pub(super) schemas: BTreeSet<String>,
    /// Whether the stream brings all of the schema. Elsewhere sequences that are for no captured column are not brought, and whoever made the
    /// target has those that he wants.
    pub(super) is_whole: bool,
}

/// A sentence for each sequence that somebody has to look at. `is_captured` tells of which columns values come.
pub(super) fn said(
    missing: &[Missing<'_>],
    rest: &Rest<'_>,
    is_captured: impl Fn(&Column) -> bool,
) -> Vec<String> {
    let (captured, mut others): (Vec<_>, Vec<_>) =
        missing.iter().partition(|one| one.sequence.columns().any(&is_captured));
    let mut said: Vec<_> = captured.into_iter().map(|one| of_columns(one, rest)).collect();
    // What belongs to an excluded column is not to be there either.
    others.retain(|one| one.sequence.owner.is_none() && !one.sequence.of_extension);
    if rest.is_whole {
        said.extend(others.iter().map(|one| of_none(one, rest)));
    } else {
        // One that the target has under an older name was wanted there.
        said.extend(rest.spare.iter().filter_map(|old| of_older_name(old, &others, rest)));
    }
    said
}

/// What it means that the target has no sequence of that name, and none at the column that the source's is for.
fn of_columns(missing: &Missing<'_>, rest: &Rest<'_>) -> String {
    let Missing { sequence, value } = missing;
    let columns: BTreeSet<_> = sequence.columns().collect();
    let at_column = |one: &&&Sequence| one.columns().any(|column| columns.contains(column));
    let older = rest.spare.iter().find(at_column).map_or_else(String::new, |old| {
        format!(
            "; if it is `{}` there, under its new name, run `{}`",
            old.name,
            rename_sql(&old.name, missing, rest)
        )
    });
    let stand_in = value.map_or_else(
        || "set that one's value".to_owned(),
        |Value { last_value, is_called }| {
            format!(
                "run `SELECT setval('…', {last_value}, {is_called})` there, with that one's name"
            )
        },
    );
    let columns = list(columns.into_iter().map(|(table, column)| format!("`{table}.{column}`")));
    format!(
        "sequence `{}` of the source is not at the target, neither by its name nor at column {columns}: if another one stands in for it \
         there, {stand_in}{older}; if none does, run `{}`, and let the column have its default from it",
        sequence.name,
        create_sql(missing, rest)
    )
}

/// What it means that the target has no sequence of that name, where the whole schema is to be there.
fn of_none(missing: &Missing<'_>, rest: &Rest<'_>) -> String {
    let name = &missing.sequence.name;
    let older: Vec<_> = rest.spare.iter().filter(|old| may_be(old, missing)).collect();
    let older = match older[..] {
        [] => String::new(),
        [old] => format!(
            "; or, if it is `{}` there, under its new name, `{}`",
            old.name,
            rename_sql(&old.name, missing, rest)
        ),
        _ => format!(
            "; or, if it is one of {} there, under its new name, `ALTER SEQUENCE … RENAME TO …`, and set its value{}",
            some(older.iter().map(|old| &old.name)),
            missing.value.map_or_else(String::new, |Value { last_value, is_called }| format!(
                " (`SELECT setval('…', {last_value}, {is_called})`)"
            ))
        ),
    };
    format!(
        "sequence `{name}` of the source is not at the target, where one that is made or renamed in mid-stream does not come by itself: run \
         `{}` there{older}",
        create_sql(missing, rest)
    )
}

/// What it means that the target has a sequence of which the source has none of its name, but others that it can be. `None` where there are none.
fn of_older_name(old: &Sequence, missing: &[&Missing<'_>], rest: &Rest<'_>) -> Option<String> {
    let newer: Vec<_> = missing.iter().filter(|one| may_be(old, one)).collect();
    let remedy = match newer[..] {
        [] => return None,
        [one] => format!(
            "if it was renamed to `{}`, run `{}` there",
            one.sequence.name,
            rename_sql(&old.name, one, rest)
        ),
        _ => format!(
            "if it was renamed to one of {}, which the target has not, run `ALTER SEQUENCE {} RENAME TO …` there, and set its value",
            some(newer.iter().map(|one| &one.sequence.name)),
            old.name.quoted()
        ),
    };
    Some(format!(
        "sequence `{}` of the target keeps its value: the source has none of that name; {remedy}",
        old.name
    ))
}

/// Whether a sequence of the target that is for no column can be one of the source under an older name.
fn may_be(old: &Sequence, missing: &Missing<'_>) -> bool {
    let new = &missing.sequence.name;
    old.columns().next().is_none() && (old.name.schema == new.schema || old.name.name == new.name)
}

/// Makes a sequence of the source at the target.
fn create_sql(missing: &Missing<'_>, rest: &Rest<'_>) -> String {
    let Sequence { name, definition, .. } = missing.sequence;
    let create = format!("CREATE SEQUENCE {} {definition}", name.quoted());
    statements([schema_sql(name, rest), Some(create), set_sql(missing)])
}

/// Gives a sequence of the target the name and the value that it has at the source.
fn rename_sql(old: &TableName, missing: &Missing<'_>, rest: &Rest<'_>) -> String {
    let new = &missing.sequence.name;
    let moved = TableName::new(new.schema.clone(), old.name.clone());
    let schema = (old.schema != new.schema)
        .then(|| format!("ALTER SEQUENCE {} SET SCHEMA {}", old.quoted(), Ident(&new.schema)));
    let name = (old.name != new.name)
        .then(|| format!("ALTER SEQUENCE {} RENAME TO {}", moved.quoted(), Ident(&new.name)));
    statements([schema_sql(new, rest), schema, name, set_sql(missing)])
}

fn schema_sql(name: &TableName, rest: &Rest<'_>) -> Option<String> {
    let is_there = rest.schemas.contains(&name.schema);
    (!is_there).then(|| format!("CREATE SCHEMA {}", Ident(&name.schema)))
}

fn set_sql(missing: &Missing<'_>) -> Option<String> {
    let Value { last_value, is_called } = missing.value?;
    let name = missing.sequence.name.quoted();
    Some(format!("SELECT setval({}, {last_value}, {is_called})", Literal(&name)))
}

fn statements<const N: usize>(statements: [Option<String>; N]) -> String {
    statements.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Names for a sentence, which would be no sentence with hundreds of them.
fn some<T: fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = list(names.take(NAMED).map(|name| format!("`{name}`")));
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(name: &str) -> Sequence {
        let (schema, name) = name.split_once('.').unwrap();
        Sequence {
            name: TableName::new(schema, name),
            owner: None,
            users: BTreeSet::new(),
            definition: "AS bigint".to_owned(),
            of_extension: false,
        }
    }

    /// What is said where the source has `missing` and the target `spare`, both of no column.
    fn check(missing: &[&str], spare: &[&str], is_whole: bool) -> Vec<String> {
        let (missing, spare): (Vec<_>, Vec<_>) = (
            missing.iter().map(|name| sequence(name)).collect(),
            spare.iter().map(|name| sequence(name)).collect(),
        );
        let value = Some(Value { last_value: 7, is_called: true });
        let missing: Vec<_> = missing.iter().map(|sequence| Missing { sequence, value }).collect();
        let rest =
            Rest { spare: spare.iter().collect(), schemas: ["s".to_owned()].into(), is_whole };
        said(&missing, &rest, |_| false)
    }

    #[test]
    fn the_statements_are_those_to_run() {
        let make =
            "CREATE SEQUENCE \"s\".\"new\" AS bigint; SELECT setval('\"s\".\"new\"', 7, true)";
        let rename = "ALTER SEQUENCE \"s\".\"old\" RENAME TO \"new\"; SELECT setval('\"s\".\"new\"', 7, true)";
        let moved = "CREATE SCHEMA \"t\"; ALTER SEQUENCE \"s\".\"old\" SET SCHEMA \"t\"; SELECT setval('\"t\".\"old\"', 7, true)";
        for (missing, spare, is_whole, statements) in [
            ("s.new", &[][..], true, &[make][..]),
            ("s.new", &["t.other"], true, &[make]),
            ("s.new", &["s.old"], true, &[make, rename]),
            ("s.new", &["s.old"], false, &[rename]),
            ("t.old", &["s.old"], false, &[moved]),
            (
                "s.new",
                &["s.old", "s.older"],
                true,
                &[make, "ALTER SEQUENCE … RENAME TO …", "SELECT setval('…', 7, true)"],
            ),
        ] {
            let said = check(&[missing], spare, is_whole);
            let [line] = &said[..] else { panic!("{said:?}") };
            let found: Vec<_> =
                line.split('`').skip(1).step_by(2).filter(|code| code.contains(' ')).collect();
            assert_eq!(found, statements, "{line}");
        }
    }

    #[test]
    fn where_the_schema_is_not_brought_whole_only_what_the_target_has_is_looked_for() {
        assert_eq!(check(&["s.a", "s.b"], &[], false), Vec::<String>::new());
        assert_eq!(check(&["s.a", "s.b"], &["t.other"], false), Vec::<String>::new());
        let many: Vec<_> = (0..7).map(|at| format!("s.n{at}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let said = check(&many, &["s.old"], false);
        let [line] = &said[..] else { panic!("{said:?}") };
        assert!(line.contains("`s.n4` and 2 more") && line.contains("`s.old`"), "{line}");
    }

    #[test]
    fn what_comes_with_an_extension_is_its_own() {
        let mut other = sequence("s.of_extension");
        other.of_extension = true;
        let missing = [Missing { sequence: &other, value: None }];
        let rest = Rest { spare: Vec::new(), schemas: BTreeSet::new(), is_whole: true };
        assert_eq!(said(&missing, &rest, |_| false), Vec::<String>::new());
    }
}
