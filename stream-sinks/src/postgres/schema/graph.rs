//! Who needs whom in a dump.
//!
//! In: a dump's entries. Out: for each, by index, the entries it depends on and the one it is part of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stream_core::relation::TableName;

use super::archive::{Entry, Section};

/// The entries of a dump and their relations.
pub(super) struct Graph<'a> {
    pub(super) entries: &'a [Entry],
    /// What an entry depends on. Numbers that are not in the archive are left away: they are the
    /// server's own objects.
    pub(super) needs: Vec<BTreeSet<usize>>,
    /// What an entry is part of: an index, a trigger or a comment goes where this one goes.
    pub(super) subject: Vec<Option<usize>>,
    /// For a view that `pg_dump` makes in two steps, the rule that makes the real view out of the dummy.
    pub(super) second_step: BTreeMap<usize, usize>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        let index: HashMap<u32, usize> =
            entries.iter().enumerate().map(|(at, entry)| (entry.dump_id, at)).collect();
        let needs = entries
            .iter()
            .map(|entry| entry.depends_on.iter().filter_map(|id| index.get(id).copied()).collect())
            .collect();
        let mut graph = Self { entries, needs, subject: Vec::new(), second_step: BTreeMap::new() };
        graph.subject = (0..entries.len()).map(|at| graph.find_subject(at)).collect();
        for (at, entry) in entries.iter().enumerate() {
            let Some(subject) = graph.subject_of(at) else { continue };
            if entry.kind == "RULE" && entry.name.ends_with(" _RETURN") {
                graph.second_step.insert(subject, at);
            }
            // The archive says only that the sequence must be there, not the table that owns it.
            if entry.kind == "SEQUENCE OWNED BY" {
                let owners: Vec<_> =
                    graph.needs_of(subject).filter(|&need| graph.is_relation(need)).collect();
                if let Some(needs) = graph.needs.get_mut(at) {
                    needs.extend(owners);
                }
            }
        }
        graph
    }

    pub(super) fn entry(&self, at: usize) -> Option<&'a Entry> {
        self.entries.get(at)
    }

    pub(super) fn kind(&self, at: usize) -> &'a str {
        self.entry(at).map_or("", |entry| &entry.kind)
    }

    pub(super) fn needs_of(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        self.needs.get(at).into_iter().flatten().copied()
    }

    /// What must exist so that the entry can be made. An ordinary sequence is made without the table
    /// that owns it; an identity column's is not.
    pub(super) fn needs_at_birth(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let free = self.entry(at).is_some_and(|entry| {
            entry.kind == "SEQUENCE" && entry.definition.starts_with("CREATE")
        });
        self.needs_of(at).filter(move |&need| !(free && self.is_relation(need)))
    }

    pub(super) fn subject_of(&self, at: usize) -> Option<usize> {
        self.subject.get(at).copied().flatten()
    }

    /// The entry, what it is part of, what that is part of, and so on.
    pub(super) fn with_subjects(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        // An entry's subject is one of its needs, and needs have no circles; the bound is for a
        // hostile archive.
        std::iter::successors(Some(at), |&at| self.subject_of(at)).take(8)
    }

    pub(super) fn is_relation(&self, at: usize) -> bool {
        matches!(self.kind(at), "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE")
    }

    pub(super) fn name(&self, at: usize) -> Option<TableName> {
        self.entry(at).map(|entry| TableName::new(&*entry.schema, &*entry.name))
    }

    /// The table (or view) that the entry is, or is part of.
    pub(super) fn table(&self, at: usize) -> Option<usize> {
        self.with_subjects(at).find(|&at| self.is_relation(at))
    }

    /// All tables that making the entry touches.
    pub(super) fn touches(&self, at: usize) -> BTreeSet<usize> {
        let mut tables: BTreeSet<usize> = self.table(at).into_iter().collect();
        for need in self.needs_of(at) {
            if self.is_relation(need) {
                tables.insert(need);
            } else if self.entry(need).is_some_and(|entry| entry.section == Section::PostData) {
                tables.extend(self.table(need));
            }
        }
        tables
    }

    /// The root of the tree of partitions or heirs that a table belongs to.
    pub(super) fn root(&self, table: usize) -> usize {
        let mut root = table;
        for _bound in 0..self.entries.len() {
            let Some(parent) = self.needs_of(root).find(|&need| self.kind(need) == "TABLE") else {
                break;
            };
            if self.kind(root) != "TABLE" {
                break;
            }
            root = parent;
        }
        root
    }

    fn find_subject(&self, at: usize) -> Option<usize> {
        let entry = self.entry(at)?;
        let same_name = |&need: &usize| {
            self.entry(need).is_some_and(|need| {
                let of_table =
                    need.kind == "CONSTRAINT" && need.name.ends_with(&format!(" {}", entry.name));
                need.schema == entry.schema && (need.name == entry.name || of_table)
            })
        };
        match &*entry.kind {
            "COMMENT" | "SECURITY LABEL" | "ACL" => {
                self.needs_of(at).find(|&need| self.kind(need) != "ACL")
            }
            "SEQUENCE" => self.needs_of(at).find(|&need| self.is_relation(need)),
            "SEQUENCE OWNED BY" => self.needs_of(at).find(|&need| self.kind(need) == "SEQUENCE"),
            "TABLE ATTACH" => self.needs_of(at).filter(|&n| self.is_relation(n)).find(same_name),
            "INDEX ATTACH" => self
                .needs_of(at)
                .filter(|&need| matches!(self.kind(need), "INDEX" | "CONSTRAINT"))
                .find(same_name),
            "INDEX" | "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "DEFAULT"
            | "TRIGGER" | "RULE" | "POLICY" | "ROW SECURITY" | "STATISTICS" => {
                self.table_of_part(at, entry)
            }
            _ => None,
        }
    }

    /// Of the tables that a part depends on (a foreign key depends on two) the one it is part of.
    fn table_of_part(&self, at: usize, entry: &Entry) -> Option<usize> {
        let tables: Vec<_> = self.needs_of(at).filter(|&need| self.is_relation(need)).collect();
        if let [only] = *tables {
            return Some(only);
        }
        // A part is listed as `table name`, an index or statistics under its own name alone.
        let named = |&&table: &&usize| {
            self.entry(table).filter(|table| {
                table.schema == entry.schema
                    && (entry.name == table.name
                        || entry.name.starts_with(&format!("{} ", table.name)))
            })
        };
        tables
            .iter()
            .filter_map(|table| named(&table).map(|entry| (entry.name.len(), *table)))
            .max()
            .map(|(_, table)| table)
            .or_else(|| {
                tables.iter().copied().find(|&table| {
                    let dropped = self.entry(table).and_then(|table| {
                        let name = table.drop_statement.trim_end().strip_suffix(';')?;
                        name.strip_prefix("DROP ")?.strip_prefix(&*table.kind).map(str::trim)
                    });
                    dropped.is_some_and(|name| {
                        entry.definition.contains(&format!(" {name} USING "))
                            || entry.definition.trim_end().ends_with(&format!(" FROM {name};"))
                    })
                })
            })
    }
}
