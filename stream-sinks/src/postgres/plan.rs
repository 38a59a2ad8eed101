//! How the rows of one relation go into their table at the target. Pure.
//!
//! In: a relation as the log describes it, and the table as the target's catalogue does. Out: which columns
//! are written, how a row is found again, and the SQL for each kind of change.

use std::sync::Arc;

use stream_core::postgres::catalog::Generated;
use stream_core::relation::{Column, Relation, ReplicaIdentity, TableName};
use stream_core::sql::{Ident, list};
use stream_core::table::Identity;
use stream_core::types::Types;

use super::catalog::unaltered_sql;
use super::fit::Base;
use super::statements::Shape;

/// A column of a table at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetColumn {
    pub(super) name: String,
    pub(super) type_oid: u32,
    /// The type of arrays of the type, as `unnest` takes apart; 0 where there is none.
    pub(super) array_oid: u32,
    pub(super) type_modifier: i32,
    /// What its values are in the end.
    pub(super) base: Base,
    /// As `format_type` prints it, without modifier; the schema is there unless it is `pg_catalog`.
    pub(super) type_name: String,
    /// The type as it is declared, modifier included.
    pub(super) declared_type: String,
    /// Whether the type can take the binary form.
    pub(super) takes_binary: bool,
    pub(super) generated: Option<Generated>,
    pub(super) identity: Identity,
    /// NOT NULL, and nothing that would fill it in.
    pub(super) must_be_given: bool,
    /// The operator that compares values of the column as its indexes do, ready to be used in SQL.
    pub(super) equality: String,
}

/// A table at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetTable {
    pub(super) name: TableName,
    pub(super) columns: Vec<TargetColumn>,
    /// Column names in key order; empty without a primary key, and where it is deferrable or has a period.
    pub(super) primary_key: Vec<String>,
    /// Whether rows live in other tables, so that `ctid` alone does not name one.
    pub(super) partitioned: bool,
}

impl TargetTable {
    /// The name for statements about the table's own rows: not those of tables that inherit from it.
    fn only(&self) -> String {
        let only = if self.partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.name.quoted())
    }

    pub(super) fn column(&self, name: &str) -> Option<&TargetColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// How a row of the log is found at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// By the values of these columns (indexes into the relation's).
    Columns(Vec<usize>),
    /// By the image of the whole row: any one of the rows that look like it.
    Image,
    /// Not at all: the log holds nothing of old rows.
    Nothing,
}

/// A relation's way into its table.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Tells apart the plans of a session, also those of one table; 0 before it has one.
    pub(super) number: u64,
    pub(super) relation: Arc<Relation>,
    pub(super) table: Arc<TargetTable>,
    /// For each column of the relation its column at the target; `None` where it is left out.
    pub(super) columns: Vec<Option<TargetColumn>>,
    pub(super) key: Key,
    /// Columns GENERATED ALWAYS outside of the key, which no UPDATE can give a value: an update looks for the
    /// row by their new values too, to notice that they changed.
    pub(super) guards: Vec<usize>,
    /// Columns of the relation by which a row that is already there would be met: the target's primary key, where rows that are the same
    /// by it are the same at the source. By any other key an inserted row would meet another row.
    pub(super) conflict: Vec<usize>,
    /// Whether each written column takes the binary form of the source's values.
    pub(super) takes_binary: bool,
    /// Finds a row while the written columns are what they are here; `None` where nothing is written.
    pub(super) unaltered_sql: Option<String>,
}

impl Plan {
    /// Lays out the way of `relation` into `table`; there is none where the table lacks a column, which is given back. `tells_apart` says whether the target's primary key does so for rows of the source;
    /// `captured`, whether a column of the relation belongs to the stream;
    /// `types` are those of the source that are not built in.
    pub(super) fn new(
        relation: Arc<Relation>,
        table: Arc<TargetTable>,
        tells_apart: bool,
        captured: impl Fn(&str) -> bool,
        types: &Types,
    ) -> Result<Self, (Arc<Relation>, Column)> {
        let mut columns = Vec::with_capacity(relation.columns.len());
        for column in &relation.columns {
            columns.push(match table.column(&column.name) {
                _ if !captured(&column.name) => None,
                Some(target) if target.generated.is_some() => None,
                Some(target) => Some(target.clone()),
                None => {
                    let column = column.clone();
                    return Err((relation, column));
                }
            });
        }
        let primary_key = positions(&relation, &table.primary_key);
        let key = Self::key(&relation, &primary_key);
        let conflict = primary_key.filter(|_| tells_apart).unwrap_or_default();
        let takes_binary = relation.columns.iter().zip(&columns).all(|(source, target)| {
            target.as_ref().is_none_or(|target| {
                let base = Base::at_source(types, source.type_oid, source.type_modifier);
                target.takes_binary && base.is_some_and(|base| base.has_form_of(&target.base))
            })
        });
        let guards = match &key {
            Key::Columns(key) => columns
                .iter()
                .enumerate()
                .filter(|(at, column)| {
                    !key.contains(at)
                        && column.as_ref().is_some_and(|c| c.identity == Identity::Always)
                })
                .map(|(at, _)| at)
                .collect(),
            Key::Image | Key::Nothing => Vec::new(),
        };
        let unaltered_sql = unaltered_sql(&table.name, columns.iter().flatten());
        Ok(Self {
            number: 0,
            relation,
            table,
            columns,
            key,
            guards,
            conflict,
            takes_binary,
            unaltered_sql,
        })
    }

    fn key(relation: &Relation, primary_key: &Option<Vec<usize>>) -> Key {
        match (relation.replica_identity, primary_key) {
            (ReplicaIdentity::Nothing, _) => Key::Nothing,
            (ReplicaIdentity::Full, Some(primary_key)) => Key::Columns(primary_key.clone()),
            (ReplicaIdentity::Full, None) => Key::Image,
            (ReplicaIdentity::Default | ReplicaIdentity::Index, _) => {
                let key: Vec<usize> = (0..relation.columns.len())
                    .filter(|&at| relation.columns.get(at).is_some_and(|column| column.is_key))
                    .collect();
                if key.is_empty() { Key::Nothing } else { Key::Columns(key) }
            }
        }
    }

    /// Columns of the relation that are written, with their target.
    pub(super) fn written(&self) -> impl Iterator<Item = (usize, &TargetColumn)> {
        self.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.as_ref()?)))
    }

    fn target(&self, at: usize) -> Option<&TargetColumn> {
        self.columns.get(at)?.as_ref()
    }

    pub(super) fn copy_sql(&self, binary: bool) -> String {
        let columns = list(self.written().map(|(_, column)| Ident(&column.name)));
        copy_in_sql(&self.table.name, &columns, binary, false)
    }

    /// `INSERT` of all written columns, in their order.
    pub(super) fn insert_sql(&self) -> String {
        let columns = list(self.written().map(|(_, column)| Ident(&column.name)));
        if columns.is_empty() {
            return format!("INSERT INTO {} DEFAULT VALUES", self.table.name.quoted());
        }
        let values = list((1..=self.written().count()).map(|n| format!("${n}")));
        format!(
            "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values})",
            self.table.name.quoted()
        )
    }

    /// `INSERT` that leaves a row with the same key alone; plain where there is no key to meet.
    pub(super) fn insert_if_absent_sql(&self) -> String {
        let insert = self.insert_sql();
        if self.conflict.is_empty() {
            return insert;
        }
        let columns = self.conflict.iter().filter_map(|&at| self.target(at));
        format!(
            "{insert} ON CONFLICT ({}) DO NOTHING",
            list(columns.map(|column| Ident(&column.name)))
        )
    }

    /// `UPDATE` of the columns `set`, found by the key: parameters are the set columns' values, then the
    /// key's (for [`Key::Image`]: every written column's), then those of the guards.
    pub(super) fn update_sql(&self, set: &[usize]) -> String {
        let row = self.update_by_sql(set, &self.key);
        let first = set.len() + self.key_columns(&self.key).len() + 1;
        row + &self.guard_condition(first)
    }

    /// Looks whether the row of an update is there that sets nothing: parameters as for [`Self::update_sql`].
    pub(super) fn exists_sql(&self) -> String {
        let row = self.row_condition(&self.key, 1);
        let guards = self.guard_condition(self.key_columns(&self.key).len() + 1);
        format!("SELECT FROM {} WHERE {row}{guards}", self.table.only())
    }

    fn guard_condition(&self, first: usize) -> String {
        let guards = self.guards.iter().zip(first..).filter_map(|(&at, n)| {
            let column = self.target(at)?;
            Some(format!(" AND {} {} ${n}", Ident(&column.name), column.equality))
        });
        guards.collect()
    }

    /// `UPDATE` of the columns `set`, found by `key` alone.
    pub(super) fn update_by_sql(&self, set: &[usize], key: &Key) -> String {
        let assignments = list(set.iter().enumerate().filter_map(|(n, &at)| {
            Some(format!("{} = ${}", Ident(&self.target(at)?.name), n + 1))
        }));
        let row = self.row_condition(key, set.len() + 1);
        format!("UPDATE {} SET {assignments} WHERE {row}", self.table.only())
    }

    pub(super) fn delete_sql(&self, key: &Key) -> String {
        format!("DELETE FROM {} WHERE {}", self.table.only(), self.row_condition(key, 1))
    }

    /// Removes a row and adds it anew, with its old values in the columns `kept`: parameters are the key's values,
    /// then those of the other written columns.
    pub(super) fn replace_sql(&self, kept: &[usize]) -> String {
        let kept_columns = kept.iter().filter_map(|&at| self.target(at));
        let returned = list(kept_columns.map(|column| Ident(&column.name)));
        let columns = list(self.written().map(|(_, column)| Ident(&column.name)));
        let mut parameters = self.key_columns(&self.key).len() + 1..;
        let values = list(self.written().filter_map(|(at, column)| {
            if kept.contains(&at) {
                return Some(format!("old.{}", Ident(&column.name)));
            }
            parameters.next().map(|n| format!("${n}"))
        }));
        format!(
            "WITH old AS ({} RETURNING {returned}) INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM old",
            self.delete_sql(&self.key),
            self.table.name.quoted()
        )
    }

    /// `UPDATE` of the columns `set` of many rows: parameters are arrays, as [`Self::update_sql`] has values.
    pub(super) fn update_many_sql(&self, set: &[usize]) -> String {
        let assignments =
            list(set.iter().zip(1..).filter_map(|(&at, n)| {
                Some(format!("{} = x.v{n}", Ident(&self.target(at)?.name)))
            }));
        let (arrays, condition) = self.array_condition(set.len());
        format!(
            "UPDATE {} AS t SET {assignments} FROM {arrays} WHERE {condition}",
            self.table.only()
        )
    }

    /// `DELETE` of many rows: parameters are arrays of the key's columns.
    pub(super) fn delete_many_sql(&self) -> String {
        let (arrays, condition) = self.array_condition(0);
        format!("DELETE FROM {} AS t USING {arrays} WHERE {condition}", self.table.only())
    }

    /// Arrays side by side as rows, the key's after `before` others; and which row of the table each means.
    fn array_condition(&self, before: usize) -> (String, String) {
        let key = self.key_columns(&self.key);
        let count = before + key.len();
        let arrays = list((1..=count).map(|n| format!("pg_catalog.unnest(${n})")));
        let names = list((1..=count).map(|n| format!("v{n}")));
        let condition = key
            .iter()
            .zip(before + 1..)
            .filter_map(|(&at, n)| {
                let column = self.target(at)?;
                Some(format!("t.{} {} x.v{n}", Ident(&column.name), column.equality))
            })
            .collect::<Vec<_>>()
            .join(" AND ");
        (format!("ROWS FROM ({arrays}) AS x ({names})"), condition)
    }

    /// Whether values of the relation's column can be elements of an array.
    pub(super) fn has_array(&self, at: usize) -> bool {
        self.target(at).is_some_and(|column| column.array_oid != 0)
    }

    /// The types of arrays of columns of the relation.
    pub(super) fn array_types(&self, columns: impl IntoIterator<Item = usize>) -> Vec<u32> {
        columns.into_iter().map(|at| self.target(at).map_or(0, |column| column.array_oid)).collect()
    }

    /// The types of the elements of a statement's arrays.
    pub(super) fn element_types(&self, shape: &Shape) -> Vec<u32> {
        let set = match shape {
            Shape::UpdateMany(set) => set.as_slice(),
            _ => &[],
        };
        self.types(set.iter().copied().chain(self.key_columns(&self.key)))
    }

    /// The parameters of a condition by `key`, as columns of the relation.
    pub(super) fn key_columns(&self, key: &Key) -> Vec<usize> {
        match key {
            Key::Columns(columns) => columns.clone(),
            Key::Image => self.written().map(|(at, _)| at).collect(),
            Key::Nothing => Vec::new(),
        }
    }

    fn row_condition(&self, key: &Key, first: usize) -> String {
        match key {
            Key::Nothing => "false".to_owned(),
            Key::Columns(columns) => columns
                .iter()
                .zip(first..)
                .filter_map(|(&at, n)| {
                    let column = self.target(at)?;
                    Some(format!("{} {} ${n}", Ident(&column.name), column.equality))
                })
                .collect::<Vec<_>>()
                .join(" AND "),
            Key::Image => self.image_condition(first),
        }
    }

    /// Of the rows that look like the given one, one. Two bare `ROW(…)` would be compared column by column.
    fn image_condition(&self, first: usize) -> String {
        let table = self.table.only();
        let columns = list(self.written().map(|(_, column)| format!("t.{}", Ident(&column.name))));
        let values = list(
            self.written()
                .zip(first..)
                .map(|((_, column), n)| format!("${n}::{}", column.type_name)),
        );
        let place = if self.table.partitioned { "(tableoid, ctid)" } else { "ctid" };
        let inner = if self.table.partitioned { "t.tableoid, t.ctid" } else { "t.ctid" };
        format!(
            "{place} = (SELECT {inner} FROM {table} t \
             WHERE ROW({columns})::record OPERATOR(pg_catalog.*=) ROW({values})::record LIMIT 1)"
        )
    }

    /// The types of a statement's parameters, for columns of the relation.
    pub(super) fn types(&self, columns: impl IntoIterator<Item = usize>) -> Vec<u32> {
        columns.into_iter().map(|at| self.target(at).map_or(0, |column| column.type_oid)).collect()
    }
}

/// `COPY … FROM STDIN`.
pub(super) fn copy_in_sql(table: &TableName, columns: &str, binary: bool, frozen: bool) -> String {
    let columns = if columns.is_empty() { String::new() } else { format!(" ({columns})") };
    let format = if binary { "binary" } else { "text" };
    let frozen = if frozen { ", FREEZE" } else { "" };
    format!("COPY {}{columns} FROM STDIN WITH (FORMAT {format}{frozen})", table.quoted())
}

/// Where `names` stand in the relation; `None` when one is missing or there are none.
fn positions(relation: &Relation, names: &[String]) -> Option<Vec<usize>> {
    let found: Option<Vec<_>> = names
        .iter()
        .map(|name| relation.columns.iter().position(|column| column.name == *name))
        .collect();
    found.filter(|positions| !positions.is_empty())
}
