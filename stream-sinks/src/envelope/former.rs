//! Rules for tables that the catalogue does not have any more: those of the partitioned tables that they may have been part of, too.

use std::collections::{BTreeMap, HashMap};

use stream_core::checkpoint::{Checkpoint, TableSync};
use stream_core::filter::{ColumnDef, Selection, TableFilter};
use stream_core::relation::{Relation, RelationId, TableName};

/// The partitioned tables that there are, and those that there were.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The captured ones, with the names of their columns.
    captured: BTreeMap<TableName, Vec<String>>,
    /// Of tables that were copied: what they were part of then.
    noted: HashMap<RelationId, TableName>,
}

impl Roots {
    pub(crate) fn new(captured: BTreeMap<TableName, Vec<String>>) -> Self {
        Self { captured, noted: HashMap::new() }
    }

    /// Learns what was noted of the tables.
    pub(crate) fn note(&mut self, checkpoint: &Checkpoint) {
        let root = |sync: &TableSync| match sync {
            TableSync::Synced { origin, .. } => Some((origin.relation, origin.root.clone()?)),
            TableSync::Copying { .. } => None,
        };
        self.noted = checkpoint.tables.values().filter_map(root).collect();
    }

    /// What a table was part of when it was copied, as far as that was noted.
    pub(crate) fn noted(&self, relation: RelationId) -> Option<&TableName> {
        self.noted.get(&relation)
    }

    /// What a table that is gone was part of, as far as that was noted, and all that it can have been part of by its columns: it may have been
    /// attached since.
    pub(crate) fn of<'a>(&'a self, relation: &Relation) -> impl Iterator<Item = &'a TableName> {
        let noted = self.noted(relation.id);
        let has_all = |columns: &Vec<String>| {
            relation.columns.iter().all(|column| columns.contains(&column.name))
        };
        let others = self.captured.iter().filter(move |(_, columns)| has_all(columns));
        let others = others.map(|(name, _)| name).filter(move |name| Some(*name) != noted);
        // Collected: the description does not live as long.
        let others: Vec<_> = others.collect();
        noted.into_iter().chain(others)
    }
}

/// What a filter leaves of a table that is gone, whichever of these it was part of. The first name is its own.
pub(super) fn selections(
    names: &[&TableName],
    columns: &[ColumnDef<'_>],
    filter: &TableFilter,
) -> Vec<Selection> {
    let (own, roots) = names.split_at(names.len().min(1));
    let each = roots.iter().map(|&root| own.iter().copied().chain([root]).collect());
    let each = std::iter::once(own.to_vec()).chain(each);
    // It was captured by one of them at least. What any of them excludes is excluded, also where it was captured by another.
    let each = each.map(|names: Vec<_>| filter.select(&names, columns));
    let each = each.filter(|selection| *selection != Selection::NotCaptured);
    each.chain([filter.select(names, columns)]).collect()
}

#[cfg(test)]
mod tests {
    use stream_core::lsn::Lsn;
    use stream_core::relation::{Column, ReplicaIdentity};
    use stream_core::table::TableOrigin;

    use super::*;

    fn name(name: &str) -> TableName {
        TableName::new("public", name)
    }

    fn relation(columns: &[&str]) -> Relation {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_oid: 25,
            type_modifier: -1,
            is_key: *name == "id",
        };
        Relation {
            id: RelationId(7),
            name: name("p1"),
            renamed: false,
            replica_identity: ReplicaIdentity::Default,
            columns: columns.iter().map(column).collect(),
        }
    }

    fn roots() -> Roots {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Roots::new(BTreeMap::from([
            (name("p"), columns(&["id", "secret", "v"])),
            (name("q"), columns(&["id", "w"])),
        ]))
    }

    fn of(roots: &Roots, columns: &[&str]) -> Vec<String> {
        roots.of(&relation(columns)).map(|root| root.name.clone()).collect()
    }

    #[test]
    fn a_table_that_is_gone_may_have_been_part_of_what_has_its_columns() {
        assert_eq!(of(&roots(), &["id", "secret"]), ["p"]);
        assert_eq!(of(&roots(), &["id"]), ["p", "q"]);
        assert_eq!(of(&roots(), &["id", "other"]), [""; 0]);
    }

    /// That one is gone as well, or has other columns by now.
    #[test]
    fn a_table_that_is_gone_was_part_of_what_is_noted_of_it() {
        let origin = |root: &str| TableOrigin {
            relation: RelationId(7),
            root: Some(name(root)),
            ..TableOrigin::default()
        };
        for (root, columns, expected) in [
            ("gone", &["id", "other"][..], &["gone"][..]),
            ("q", &["id", "other"], &["q"]),
            ("q", &["id"], &["q", "p"]),
        ] {
            let mut roots = roots();
            let sync = TableSync::Synced { lsn: Lsn::new(1), origin: origin(root) };
            roots.note(&Checkpoint {
                tables: BTreeMap::from([(name("p1"), sync)]),
                ..Checkpoint::default()
            });
            assert_eq!(of(&roots, columns), expected);
        }
    }

    #[test]
    fn what_any_of_its_roots_would_leave_out_is_left_out() {
        let columns = ["id", "v", "secret"];
        let defs = columns.map(|name| ColumnDef { name, is_key: name == "id" });
        let (own, p, q) = (name("p1"), name("p"), name("q"));
        let list =
            |patterns: &[&str]| patterns.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        for (includes, excludes, expected) in [
            (&[][..], &[][..], &["id", "v", "secret"][..]),
            (&[], &["public.p.secret"], &["id", "v"]),
            (&[], &["public.p.secret", "public.q.v"], &["id"]),
            (&[], &["public.p1.v", "public.q.secret"], &["id"]),
            (&["public.p"], &["public.q.secret"], &["id", "v"]),
            (&["public.p", "public.q.v"], &[], &["id", "v"]),
            (&["public.p1.v", "public.p"], &[], &["id", "v"]),
            (&["public.q"], &[], &["id", "v", "secret"]),
            (&["public.other"], &[], &[]),
        ] {
            let filter = TableFilter::new(&list(includes), &list(excludes)).unwrap();
            let selections = selections(&[&own, &p, &q], &defs, &filter);
            let is_left = |at: usize| selections.iter().all(|selection| selection.has(at));
            let left: Vec<_> = (0..).zip(columns).filter(|(at, _)| is_left(*at)).collect();
            let left: Vec<_> = left.into_iter().map(|(_, name)| name).collect();
            assert_eq!(left, expected, "{includes:?} {excludes:?}");
        }
    }
}
