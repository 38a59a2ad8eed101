//! Turns the selected entries of a dump into statements.
//!
//! In: entries, what is wanted, what the target has. Out: the [`Import`]. Does no I/O.

use std::collections::{BTreeSet, HashMap};

use stream_core::relation::TableName;
use stream_core::sql::Ident;

use super::archive::{Entry, Section};
use super::graph::Graph;
use super::select::{Selection, select};
use super::statement::{Piece, index_pieces, split};
use super::target::Target;
use super::{Import, Lock, Phase, SchemaError, Statement, Wanted};

/// The access method that a session of ours begins with.
const DEFAULT_ACCESS_METHOD: &str = "heap";

/// Plans an import.
pub(super) fn plan(
    entries: &[Entry],
    wanted: &Wanted,
    target: &Target,
) -> Result<Import, SchemaError> {
    let graph = Graph::new(entries);
    let Selection { entries: selected, left_out } = select(&graph, wanted, target)?;
    let mut planner = Planner {
        graph: &graph,
        target,
        phases: HashMap::new(),
        last: HashMap::new(),
        statements: Vec::new(),
        warnings: BTreeSet::new(),
    };
    let mut order: Vec<(Phase, usize)> =
        selected.iter().map(|&at| (planner.phase(at), at)).collect();
    order.sort_unstable();
    let views: Vec<usize> =
        selected.iter().copied().filter(|&at| graph.kind(at) == "MATERIALIZED VIEW").collect();
    let (before, after): (Vec<_>, Vec<_>) =
        order.into_iter().partition(|(phase, _)| *phase < Phase::Refresh);
    before.into_iter().for_each(|(phase, at)| planner.add(phase, at));
    planner.add_refreshes(&views);
    after.into_iter().for_each(|(phase, at)| planner.add(phase, at));

    let (pre_data, post_data) = planner
        .statements
        .into_iter()
        .partition(|statement: &Statement| statement.phase == Phase::PreData);
    Ok(Import { pre_data, post_data, left_out, warnings: planner.warnings.into_iter().collect() })
}

struct Planner<'a> {
    graph: &'a Graph<'a>,
    target: &'a Target,
    phases: HashMap<usize, Phase>,
    /// An entry's last statement.
    last: HashMap<usize, u32>,
    statements: Vec<Statement>,
    warnings: BTreeSet<String>,
}

impl Planner<'_> {
    /// When an entry is made: in its kind's own phase, or in that of a thing it needs, if that is later.
    /// Entries are asked about in the dump's order, so what one needs is known already.
    fn phase(&mut self, at: usize) -> Phase {
        let own = match (self.graph.kind(at), self.graph.entry(at).map(|entry| entry.section)) {
            ("ACL" | "DEFAULT ACL", _) => Phase::Privilege,
            ("EVENT TRIGGER", _) => Phase::EventTrigger,
            (_, Some(Section::PreData | Section::None) | None) => Phase::PreData,
            ("INDEX" | "CONSTRAINT" | "INDEX ATTACH" | "STATISTICS", _) => Phase::Index,
            (_, Some(Section::Data | Section::PostData)) => Phase::Constraint,
        };
        let needed = self.graph.needs_of(at).filter_map(|need| self.phases.get(&need).copied());
        let phase = needed.max().map_or(own, |needed| own.max(needed));
        self.phases.insert(at, phase);
        phase
    }

    fn add(&mut self, phase: Phase, at: usize) {
        let Some(entry) = self.graph.entry(at) else { return };
        let subject = self.graph.table(at);
        let pieces = match &*entry.kind {
            "INDEX" | "CONSTRAINT" => {
                let partitioned =
                    subject.and_then(|at| self.graph.entry(at)).is_none_or(is_partitioned);
                index_pieces(&entry.definition, partitioned)
            }
            // One role may be missing, and the others must not lose their privileges for it.
            "ACL" | "DEFAULT ACL" => split(&entry.definition).into_iter().map(one_by_one).collect(),
            _ => vec![one_by_one(entry.definition.trim().to_owned())],
        };
        let soft = matches!(
            &*entry.kind,
            "COMMENT" | "SECURITY LABEL" | "ACL" | "DEFAULT ACL" | "EVENT TRIGGER"
        );
        for (number, piece) in pieces.into_iter().enumerate() {
            let sql = if number == 0 { self.in_place(entry, piece.sql) } else { piece.sql };
            self.push(phase, at, sql, soft, piece.parallel);
        }
        if let Some(sql) = self.owner(entry) {
            self.push(phase, at, sql, true, false);
        }
    }

    fn push(&mut self, phase: Phase, at: usize, sql: String, soft: bool, parallel: bool) {
        let Some(entry) = self.graph.entry(at) else { return };
        let after = if phase == Phase::PreData { Vec::new() } else { self.after(at, parallel) };
        let locks =
            if phase == Phase::PreData { Vec::new() } else { self.locks(phase, at, parallel) };
        let id = self.next_id();
        self.last.insert(at, id);
        self.statements.push(Statement {
            id,
            after,
            kind: entry.kind.clone(),
            table: self.graph.table(at).and_then(|table| self.graph.name(table)),
            name: entry.name.clone(),
            sql,
            phase,
            soft,
            locks,
        });
    }

    fn next_id(&self) -> u32 {
        u32::try_from(self.statements.len()).unwrap_or(u32::MAX)
    }

    /// The post-data statements that must be done before the next one of an entry.
    fn after(&self, at: usize, parallel: bool) -> Vec<u32> {
        let table = self.graph.table(at);
        let mut after: BTreeSet<u32> = self.last.get(&at).copied().into_iter().collect();
        for need in self.graph.needs_of(at) {
            // A dump lists a partition's index after the root's; only attaching it needs that order.
            let of_root = parallel
                && matches!(self.graph.kind(need), "INDEX" | "CONSTRAINT")
                && self.graph.table(need) != table;
            if self.phases.get(&need).is_some_and(|&phase| phase > Phase::PreData) && !of_root {
                after.extend(self.last.get(&need));
            }
        }
        after.into_iter().collect()
    }

    fn locks(&self, phase: Phase, at: usize, parallel: bool) -> Vec<Lock> {
        let own = matches!(self.graph.kind(at), "INDEX" | "CONSTRAINT");
        let tables: BTreeSet<usize> = if own {
            self.graph.table(at).into_iter().collect()
        } else if self.graph.kind(at) == "INDEX ATTACH" {
            // With its last part an index becomes valid, and then perhaps those above it: the server may miss that while another part is
            // attached there, and leave them as they are.
            let touches = self.graph.touches(at);
            let roots = touches.iter().map(|&table| self.graph.root(table)).collect::<Vec<_>>();
            touches.into_iter().chain(roots).collect()
        } else if phase == Phase::Index {
            self.graph.touches(at)
        } else {
            self.graph.touches(at).into_iter().map(|table| self.graph.root(table)).collect()
        };
        tables
            .into_iter()
            .filter_map(|table| self.graph.name(table))
            .map(|table| Lock { table, exclusive: !parallel })
            .collect()
    }

    /// The statement with the tablespace and the access method that its object has on the source.
    fn in_place(&mut self, entry: &Entry, sql: String) -> String {
        let mut sql = sql;
        if !entry.tablespace.is_empty() {
            if self.target.has_tablespace(&entry.tablespace) {
                sql = format!(
                    "SET LOCAL default_tablespace = {};\n{sql}\nSET LOCAL default_tablespace = '';",
                    Ident(&entry.tablespace)
                );
            } else {
                self.warnings.insert(format!(
                    "tablespace `{}` does not exist at the target: what lies in it on the source goes \
                     to the database's own tablespace",
                    entry.tablespace
                ));
            }
        }
        if entry.access_method.is_empty() || entry.access_method == DEFAULT_ACCESS_METHOD {
            return sql;
        }
        let method = Ident(&entry.access_method);
        if is_partitioned(entry) {
            let table = TableName::new(&*entry.schema, &*entry.name).quoted();
            return format!("{sql}\nALTER TABLE {table} SET ACCESS METHOD {method};");
        }
        format!(
            "SET LOCAL default_table_access_method = {method};\n{sql}\n\
             SET LOCAL default_table_access_method = {DEFAULT_ACCESS_METHOD};"
        )
    }

    /// The statement that gives an object to its owner on the source.
    fn owner(&mut self, entry: &Entry) -> Option<String> {
        let dropped = entry.drop_statement.trim_end().strip_suffix(';')?.strip_prefix("DROP ")?;
        let object = dropped.strip_suffix(" CASCADE").unwrap_or(dropped);
        if !has_owner(&entry.kind) || entry.owner.is_empty() || entry.owner == self.target.user {
            return None;
        }
        if self.target.has_role(&entry.owner) {
            return Some(format!("ALTER {object} OWNER TO {};", Ident(&entry.owner)));
        }
        self.warnings.insert(format!(
            "role `{}` does not exist at the target: what it owns on the source belongs to `{}`",
            entry.owner, self.target.user
        ));
        None
    }

    /// Fills materialised views, each after those it reads.
    fn add_refreshes(&mut self, views: &[usize]) {
        let mut refreshes: HashMap<usize, u32> = HashMap::new();
        for &view in views {
            let (Some(entry), Some(name)) = (self.graph.entry(view), self.graph.name(view)) else {
                continue;
            };
            let id = self.next_id();
            let read = self.reads(view);
            let after = read.iter().filter_map(|other| refreshes.get(other).copied()).collect();
            refreshes.insert(view, id);
            self.statements.push(Statement {
                id,
                after,
                kind: "REFRESH".to_owned(),
                table: Some(name.clone()),
                name: entry.name.clone(),
                sql: format!("REFRESH MATERIALIZED VIEW {};", name.quoted()),
                phase: Phase::Refresh,
                soft: true,
                locks: vec![Lock { table: name, exclusive: true }],
            });
        }
    }

    /// Everything that a view reads, other views' sources included.
    fn reads(&self, view: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut pending = vec![view];
        while let Some(at) = pending.pop() {
            let second_step = self.graph.second_step.get(&at).copied();
            let needs = self.graph.needs_of(at).chain(second_step);
            pending.extend(needs.filter(|&need| found.insert(need)));
        }
        found
    }
}

fn one_by_one(sql: String) -> Piece {
    Piece { sql, parallel: false }
}

/// Whether a table has partitions. May say so of one that only mentions the words; that costs speed, no
/// more.
fn is_partitioned(table: &Entry) -> bool {
    table.kind == "TABLE" && table.definition.contains("\nPARTITION BY ")
}

/// Kinds that `ALTER … OWNER TO` knows.
fn has_owner(kind: &str) -> bool {
    matches!(
        kind,
        "AGGREGATE"
            | "COLLATION"
            | "CONVERSION"
            | "DOMAIN"
            | "EVENT TRIGGER"
            | "FOREIGN DATA WRAPPER"
            | "FUNCTION"
            | "MATERIALIZED VIEW"
            | "OPERATOR"
            | "OPERATOR CLASS"
            | "OPERATOR FAMILY"
            | "PROCEDURAL LANGUAGE"
            | "PROCEDURE"
            | "SCHEMA"
            | "SEQUENCE"
            | "SERVER"
            | "STATISTICS"
            | "TABLE"
            | "TEXT SEARCH CONFIGURATION"
            | "TEXT SEARCH DICTIONARY"
            | "TYPE"
            | "VIEW"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dump_id: u32, kind: &str, name: &str, definition: &str, depends_on: &[u32]) -> Entry {
        let section = match kind {
            "INDEX" | "CONSTRAINT" | "FK CONSTRAINT" | "RULE" | "TRIGGER" => Section::PostData,
            "COMMENT" | "ACL" => Section::None,
            _ => Section::PreData,
        };
        Entry {
            dump_id,
            kind: kind.to_owned(),
            schema: "s".to_owned(),
            name: name.to_owned(),
            owner: String::new(),
            section,
            definition: definition.to_owned(),
            drop_statement: format!("DROP {kind} s.{name};\n"),
            tablespace: String::new(),
            access_method: String::new(),
            depends_on: depends_on.to_vec(),
        }
    }

    fn import(entries: &[Entry], tables: &[&str], everything: bool, target: &Target) -> Import {
        let tables = tables.iter().map(|name| TableName::new("s", *name)).collect();
        plan(entries, &Wanted { tables, everything }, target).unwrap()
    }

    fn names(import: &Import) -> Vec<&str> {
        import.pre_data.iter().chain(&import.post_data).map(|each| &*each.name).collect()
    }

    /// Two tables; the sequence of one is the default of the other too.
    fn shared_sequence() -> Vec<Entry> {
        vec![
            entry(1, "TABLE", "owner", "CREATE", &[]),
            entry(2, "SEQUENCE", "ids", "CREATE SEQUENCE s.ids;", &[1]),
            entry(3, "SEQUENCE OWNED BY", "ids", "ALTER SEQUENCE", &[2]),
            entry(4, "TABLE", "user", "CREATE", &[2]),
        ]
    }

    #[test]
    fn a_sequence_comes_without_the_table_that_owns_it() {
        let entries = shared_sequence();
        let target = Target::default();
        assert_eq!(names(&import(&entries, &["user"], false, &target)), ["ids", "user"]);
        assert_eq!(names(&import(&entries, &["user"], true, &target)), ["ids", "user"]);
        assert_eq!(names(&import(&entries, &["owner"], false, &target)), ["owner", "ids", "ids"]);
        let all = import(&entries, &["owner", "user"], true, &target);
        assert_eq!(names(&all), ["owner", "ids", "ids", "user"]);
    }

    #[test]
    fn what_the_target_has_stays_as_it_is_with_all_its_parts() {
        let entries = [
            entry(1, "TABLE", "old", "CREATE", &[]),
            entry(2, "TABLE", "new", "CREATE", &[]),
            entry(3, "CONSTRAINT", "old old_pkey", "ALTER;", &[1]),
            entry(4, "COMMENT", "CONSTRAINT old_pkey ON old", "COMMENT", &[3]),
            entry(5, "FK CONSTRAINT", "old fk", "ALTER", &[1, 2]),
            entry(6, "FK CONSTRAINT", "new fk", "ALTER", &[1, 2, 3]),
        ];
        let target = Target::with(&[(b'r', "s", "old")]);
        let import = import(&entries, &["old", "new"], true, &target);
        assert_eq!(names(&import), ["new", "new fk"]);
        assert_eq!(import.left_out, []);
    }

    #[test]
    fn a_view_in_two_steps_comes_whole_or_not_at_all() {
        let entries = [
            entry(1, "TABLE", "a", "CREATE", &[]),
            entry(2, "TABLE", "b", "CREATE", &[]),
            entry(3, "VIEW", "v", "CREATE dummy", &[]),
            entry(4, "VIEW", "w", "CREATE", &[3]),
            entry(5, "RULE", "v _RETURN", "CREATE OR REPLACE", &[1, 2, 3]),
        ];
        let target = Target::default();
        assert_eq!(names(&import(&entries, &["a", "b"], true, &target)).len(), 5);
        let import = import(&entries, &["a"], true, &target);
        assert_eq!(names(&import), ["a"]);
        let left_out: Vec<_> = import.left_out.iter().map(|each| &*each.name).collect();
        assert_eq!(left_out, ["v", "w"]);
    }

    #[test]
    fn a_partition_of_a_table_that_is_there_gets_its_indexes_from_it() {
        let entries = [
            entry(1, "TABLE", "root", "CREATE\nPARTITION BY RANGE (id);", &[]),
            entry(2, "TABLE", "leaf", "CREATE", &[1]),
            entry(3, "TABLE ATTACH", "leaf", "ALTER", &[1, 2]),
            entry(4, "CONSTRAINT", "root root_pkey", "ALTER;", &[1]),
            entry(5, "CONSTRAINT", "leaf leaf_pkey", "ALTER;", &[2, 4]),
            entry(6, "INDEX", "own", "CREATE INDEX own ON s.leaf USING btree (id);", &[2]),
            entry(7, "INDEX ATTACH", "leaf_pkey", "ALTER INDEX", &[1, 2, 4, 5]),
        ];
        let target = Target::with(&[(b'r', "s", "root")]);
        let import = import(&entries, &["root", "leaf"], false, &target);
        assert_eq!(names(&import), ["leaf", "leaf", "own"]);
    }

    #[test]
    fn owners_and_places_follow_where_the_target_has_them() {
        let mut table = entry(1, "TABLE", "t", "CREATE TABLE s.t ();\n", &[]);
        table.owner = "there".to_owned();
        table.tablespace = "fast".to_owned();
        let target = Target::with(&[(b'o', "", "there"), (b's', "", "fast")]);
        let both = import(&[table.clone()], &["t"], false, &target);
        let sql: Vec<_> = both.pre_data.iter().map(|each| (&*each.sql, each.soft)).collect();
        assert_eq!(
            sql,
            [
                (
                    "SET LOCAL default_tablespace = \"fast\";\nCREATE TABLE s.t ();\n\
                     SET LOCAL default_tablespace = '';",
                    false
                ),
                ("ALTER TABLE s.t OWNER TO \"there\";", true),
            ]
        );
        let none = import(&[table], &["t"], false, &Target::default());
        assert_eq!((none.pre_data.len(), none.warnings.len()), (1, 2));
    }

    #[test]
    fn privileges_are_given_one_by_one_and_last() {
        let grants = "GRANT a ON s.t TO x;\nGRANT b ON s.t TO y;\n";
        let entries = [
            entry(1, "TABLE", "t", "CREATE", &[]),
            entry(2, "ACL", "TABLE t", grants, &[1]),
            entry(3, "TRIGGER", "t g", "CREATE TRIGGER", &[1]),
        ];
        let import = import(&entries, &["t"], false, &Target::default());
        let post: Vec<_> =
            import.post_data.iter().map(|each| (each.id, &*each.after, &*each.sql)).collect();
        let expected: [(u32, &[u32], &str); 3] = [
            (1, &[], "CREATE TRIGGER"),
            (2, &[], "GRANT a ON s.t TO x;"),
            (3, &[2], "GRANT b ON s.t TO y;"),
        ];
        assert_eq!(post, expected);
    }

    #[test]
    fn only_the_building_of_indexes_shares_its_table() {
        let key = "ALTER TABLE ONLY s.leaf\n    ADD CONSTRAINT leaf_pkey PRIMARY KEY (id);\n";
        let root_key = "ALTER TABLE ONLY s.root\n    ADD CONSTRAINT root_pkey PRIMARY KEY (id);\n";
        let mut attach = entry(7, "INDEX ATTACH", "leaf_pkey", "ALTER INDEX", &[1, 2, 4, 5]);
        attach.section = Section::PostData;
        let entries = [
            entry(1, "TABLE", "root", "CREATE\nPARTITION BY RANGE (id);", &[]),
            entry(2, "TABLE", "leaf", "CREATE", &[1]),
            entry(3, "TABLE ATTACH", "leaf", "ALTER", &[1, 2]),
            entry(4, "CONSTRAINT", "root root_pkey", root_key, &[1]),
            entry(5, "CONSTRAINT", "leaf leaf_pkey", key, &[2, 4]),
            attach,
            entry(8, "FK CONSTRAINT", "leaf fk", "ALTER", &[2, 5]),
        ];
        let import = import(&entries, &["root", "leaf"], false, &Target::default());
        let post: Vec<_> = import
            .post_data
            .iter()
            .map(|each| {
                let locks = each.locks.iter().map(|lock| (&*lock.table.name, lock.exclusive));
                (each.id, each.after.clone(), locks.collect::<Vec<_>>())
            })
            .collect();
        let expected = [
            (3, vec![], vec![("root", true)]),
            (4, vec![], vec![("leaf", false)]),
            (5, vec![3, 4], vec![("leaf", true)]),
            (6, vec![3, 5], vec![("root", true), ("leaf", true)]),
            (7, vec![5], vec![("root", true)]),
        ];
        assert_eq!(post, expected);
    }

    /// Else the index of the root may stay invalid.
    #[test]
    fn of_a_tree_of_indexes_one_is_attached_at_a_time() {
        let attach = |id, name: &str, needs: &[u32]| {
            let mut attach = entry(id, "INDEX ATTACH", name, "ALTER INDEX", needs);
            attach.section = Section::PostData;
            attach
        };
        let entries = [
            entry(1, "TABLE", "root", "CREATE\nPARTITION BY RANGE (id);", &[]),
            entry(2, "TABLE", "middle", "CREATE\nPARTITION BY RANGE (id);", &[1]),
            entry(3, "TABLE", "leaf", "CREATE", &[2]),
            entry(4, "TABLE ATTACH", "middle", "ALTER", &[1, 2]),
            entry(5, "TABLE ATTACH", "leaf", "ALTER", &[2, 3]),
            entry(6, "INDEX", "root_i", "CREATE INDEX", &[1]),
            entry(7, "INDEX", "middle_i", "CREATE INDEX", &[2]),
            entry(8, "INDEX", "leaf_i", "CREATE INDEX", &[3]),
            attach(9, "leaf_i", &[7, 8]),
            attach(10, "middle_i", &[6, 7]),
        ];
        let import = import(&entries, &["root", "middle", "leaf"], false, &Target::default());
        let attached = import.post_data.iter().filter(|each| each.kind == "INDEX ATTACH");
        let locks_root = |each: &Statement| {
            each.locks.iter().any(|lock| &*lock.table.name == "root" && lock.exclusive)
        };
        assert_eq!(attached.map(locks_root).collect::<Vec<_>>(), [true, true]);
    }

    #[test]
    fn an_extension_that_the_target_lacks_is_an_error_only_if_it_is_needed() {
        let entries = [
            entry(1, "EXTENSION", "e", "CREATE EXTENSION", &[]),
            entry(2, "COMMENT", "EXTENSION e", "COMMENT", &[1]),
            entry(3, "TABLE", "t", "CREATE", &[]),
            entry(4, "TABLE", "u", "CREATE", &[1]),
        ];
        let idle = import(&entries, &["t"], true, &Target::default());
        assert_eq!((names(&idle), idle.left_out.len()), (vec!["t"], 1));
        let tables = [TableName::new("s", "u")].into();
        let error = plan(&entries, &Wanted { tables, everything: true }, &Target::default());
        assert!(matches!(error, Err(SchemaError::NoExtension { .. })), "{error:?}");
    }

    #[test]
    fn materialised_views_are_filled_after_those_they_read() {
        let entries = [
            entry(1, "TABLE", "t", "CREATE", &[]),
            entry(2, "MATERIALIZED VIEW", "m", "CREATE", &[1]),
            entry(3, "VIEW", "v", "CREATE", &[2]),
            entry(4, "MATERIALIZED VIEW", "n", "CREATE", &[3]),
        ];
        let import = import(&entries, &["t"], true, &Target::default());
        let post: Vec<_> = import.post_data.iter().map(|each| (each.id, &*each.after)).collect();
        let expected: [(u32, &[u32]); 2] = [(4, &[]), (5, &[4])];
        assert_eq!(post, expected);
    }
}
