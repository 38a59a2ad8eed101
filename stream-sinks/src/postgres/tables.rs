//! The stream's tables as they are at the target.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use stream_core::checkpoint::Checkpoint;
use stream_core::copy::{Chunk, CopyFormat};
use stream_core::lsn::Lsn;
use stream_core::postgres::SqlClient;
use stream_core::relation::{Column, Relation, ReplicaIdentity, TableName};
use stream_core::source::Inspected;
use stream_core::sql::list;
use stream_core::table::Table;
use stream_core::types::Types;
use stream_core::{Error, ErrorKind};

use super::divergence::Divergence;
use super::excluded::Excluded;
use super::fit::Base;
use super::lacking::{self, declared_type};
use super::parts::{self, Former};
use super::plan::{Plan, TargetColumn, TargetTable};
use super::progress::copy_again_sql;
use super::{catalog, makeup};

/// The captured tables, each with its place at the target.
pub(super) struct Tables {
    client: Arc<SqlClient>,
    /// The target's, as `server_version_num`.
    version: u32,
    captured: HashMap<TableName, Arc<Table>>,
    excluded: Excluded,
    /// Partitions that were copied, and are not captured any more.
    former: HashMap<TableName, Former>,
    /// The source's types that are not built in. What was committed there before they were read is seen in `captured`, too.
    pub(super) types: Arc<Types>,
    target: RwLock<HashMap<TableName, Arc<TargetTable>>>,
    /// Whether a trigger of the target sees every change, even under `session_replication_role = replica`.
    pub(super) watched: bool,
    pub(super) divergence: Divergence,
    /// Those that the import of this start has made: nobody counts on them yet.
    pub(super) made: HashSet<TableName>,
}

impl Tables {
    /// Finds each captured table at the target; one that is not there is in the second part of the answer.
    pub(super) async fn find(
        client: Arc<SqlClient>,
        source: &Inspected,
        checkpoint: &Checkpoint,
    ) -> Result<(Self, Vec<TableName>), Error> {
        let captured = &source.tables;
        let former = parts::former(checkpoint, source);
        let names: BTreeSet<TableName> = captured
            .iter()
            .flat_map(|table| std::iter::once(&table.name).chain(&table.root))
            .chain(&source.partitioned)
            .chain(source.parts.keys())
            // The log may have changes of tables that are gone by now.
            .chain(checkpoint.tables.keys())
            .chain(former.values().map(|former| &former.root))
            .cloned()
            .collect();
        let found: HashMap<_, _> = catalog::read(&client, &names)
            .await?
            .into_iter()
            .map(|(name, table)| (name, Arc::new(table)))
            .collect();
        let watched = catalog::are_watched(&client, &names).await?;
        let missing_parts = parts::missing(&client, source, &found).await?;
        let missing = captured
            .iter()
            .filter(|table| {
                // Where the target has other partitions than the source, rows go through the root.
                let through_root = table.root.as_ref().is_some_and(|root| {
                    let sibling = |other: &&Arc<Table>| {
                        other.root.as_ref() == Some(root) && found.contains_key(&other.name)
                    };
                    found.contains_key(root) && !captured.iter().any(|other| sibling(&other))
                });
                !found.contains_key(&table.name) && !through_root
            })
            .map(|table| &table.name)
            .chain(source.partitioned.iter().filter(|root| !found.contains_key(root)))
            .chain(missing_parts)
            .cloned()
            .collect();
        let captured =
            captured.iter().map(|table| (table.name.clone(), Arc::clone(table))).collect();
        let divergence = Divergence::default();
        let tables = Self {
            version: client.server_version_num(),
            client,
            captured,
            excluded: Excluded::new(source, checkpoint),
            former,
            types: Arc::clone(&source.types),
            target: RwLock::new(found),
            watched,
            divergence,
            made: HashSet::new(),
        };
        Ok((tables, missing))
    }

    /// Reads a table of the target again.
    pub(super) async fn refresh(&self, name: &TableName) -> Result<(), Error> {
        let root = self.captured.get(name).and_then(|table| table.root.clone());
        self.read_again(std::iter::once(name.clone()).chain(root).collect()).await
    }

    /// Reads all tables of the target again: the copy is done without keys, the stream needs them.
    pub(super) async fn refresh_all(&self) -> Result<(), Error> {
        let roots = self.captured.values().filter_map(|table| table.root.as_ref());
        self.read_again(self.captured.keys().chain(roots).cloned().collect()).await
    }

    async fn read_again(&self, names: BTreeSet<TableName>) -> Result<(), Error> {
        let found = catalog::read(&self.client, &names).await?;
        let mut target = self.target.write().unwrap_or_else(PoisonError::into_inner);
        for (name, table) in found {
            target.insert(name, Arc::new(table));
        }
        Ok(())
    }

    /// Where the rows of a captured table go, or of one that is gone: the table of its name, or its root.
    pub(super) fn place(&self, name: &TableName) -> Option<Arc<TargetTable>> {
        let target = self.target.read().unwrap_or_else(PoisonError::into_inner);
        let own = target.get(name);
        let root = || match self.captured.get(name) {
            Some(table) => target.get(table.root.as_ref()?),
            None => target.get(&self.former.get(name)?.root),
        };
        own.or_else(root).map(Arc::clone)
    }

    /// Captured tables other than `name` whose rows are in `place` of the target, or in a partition of it; those of [`Self::former_at`] come
    /// besides.
    pub(super) fn others_at<'a>(
        &'a self,
        place: &'a TableName,
        name: &'a TableName,
    ) -> impl Iterator<Item = &'a TableName> {
        let is_there = move |table: &Table| {
            table.root.as_ref() == Some(place)
                || self.place(&table.name).is_some_and(|there| there.name == *place)
        };
        self.captured
            .iter()
            .filter(move |(other, table)| *other != name && is_there(table))
            .map(|(other, _)| other)
    }

    /// Partitions that are not captured any more, and whose rows are in `place` of the target, their root's, as those of the partition `name` are.
    pub(super) fn former_at<'a>(
        &'a self,
        place: &'a TableName,
        name: &'a TableName,
    ) -> impl Iterator<Item = (&'a TableName, &'a Former)> {
        let is_there = |former| self.place(former).is_some_and(|there| there.name == *place);
        let is_part = place != name;
        self.former.iter().filter(move |(former, _)| is_part && is_there(former))
    }

    /// Whether the copy of `chunk` brings all rows that are ever in `place` before the log's, and nobody has a use for the table before.
    pub(super) fn is_all_of(&self, chunk: &Chunk, place: &TargetTable) -> bool {
        chunk.of == 1
            && !place.partitioned
            && self.made.contains(&place.name)
            && self.others_at(&place.name, &chunk.table).next().is_none()
    }

    /// How rows of `relation` go to the target, of a transaction that was committed at `commit`.
    pub(super) async fn plan(&self, relation: &Arc<Relation>, commit: Lsn) -> Result<Plan, Error> {
        let place = self.place(&relation.name).ok_or_else(|| self.not_there(&relation.name))?;
        let captured = self.captured.get(&relation.name);
        let apart = tells_apart(relation, &place.primary_key, captured.map(Arc::as_ref));
        let excluded = self.excluded.of(relation, captured.map(Arc::as_ref));
        let is_captured = |column: &str| !excluded.contains(column);
        let (relation, place) = (Arc::clone(relation), Arc::clone(&place));
        match Plan::new(relation, Arc::clone(&place), apart, is_captured, &self.types) {
            Ok(plan) => {
                self.assert_unchanged(&plan, commit).await?;
                Ok(plan)
            }
            Err((relation, column)) => {
                let declared = self.declared(&column).await?;
                Err(lacking::in_the_log(&relation.name, &place.name, &column.name, declared))
            }
        }
    }

    async fn declared(&self, column: &Column) -> Result<Option<String>, Error> {
        let known = self.captured.values().flat_map(|table| &table.columns);
        declared_type(&self.client, known, column).await
    }

    /// Whether the target keeps the values of a column as they are.
    ///
    /// # Errors
    /// When it would change them without a word.
    async fn assert_unchanged(&self, plan: &Plan, commit: Lsn) -> Result<(), Error> {
        let table = self.captured.get(&plan.relation.name);
        for (at, target) in plan.written() {
            let Some(column) = plan.relation.columns.get(at) else { continue };
            let now = table.and_then(|table| table.columns.iter().find(|c| c.name == column.name));
            let base = Base::at_source(&self.types, column.type_oid, column.type_modifier);
            // What a type is made of is compared when the stream looks at both ends, and of the type that the column has then.
            let is_made = makeup::own_made(&self.types, column.type_oid).is_some();
            let is_other_made = is_made && now.is_some_and(|now| now.type_oid != column.type_oid);
            let is_changed = base.clone().unwrap_or_else(Base::unknown).changes_in(&target.base);
            if !is_other_made && !is_changed {
                continue;
            }
            if commit >= self.types.as_of {
                return Err(altered_since(&plan.relation.name, &column.name));
            }
            // The source has rounded its own rows since as the target does what the log has.
            let now =
                now.and_then(|now| Base::at_source(&self.types, now.type_oid, now.type_modifier));
            let is_rounded_alike = base.is_some_and(|base| base.has_form_of(&target.base))
                && now.is_some_and(|now| {
                    now.has_form_of(&target.base) && now.modifier == target.base.modifier
                });
            if is_other_made || !is_rounded_alike {
                let declared = self.declared(column).await?;
                return Err(older_type(&plan.relation.name, target, declared.as_deref()));
            }
        }
        Ok(())
    }

    /// Whether rows of the captured table `name` come to the target, or of a partition of it.
    pub(super) fn has(&self, name: &TableName) -> bool {
        self.captured.contains_key(name)
            || self.captured.values().any(|table| table.root.as_ref() == Some(name))
    }

    /// Whether values of a column come to the target.
    pub(super) fn has_column(&self, table: &TableName, column: &str) -> bool {
        self.captured.values().any(|one| {
            (one.name == *table || one.root.as_ref() == Some(table))
                && !one.left_out.iter().any(|name| name == column)
        })
    }

    /// The tables of the target that get rows.
    pub(super) fn places(&self) -> BTreeSet<TableName> {
        self.captured.keys().filter_map(|name| Some(self.place(name)?.name.clone())).collect()
    }

    /// The target lacks a captured table, and the stream may not make it.
    ///
    /// Remedy: create it there with the source's definition, set `skipDdlImport: false`, or exclude it.
    pub(super) fn not_there(&self, name: &TableName) -> Error {
        Error::new(
            ErrorKind::Configuration,
            format!(
                "table `{name}` is not at the target: create it there, let the stream import the schema \
                 (`skipDdlImport: false`), or exclude it"
            ),
        )
    }

    /// The form in which the target can take a table's rows.
    pub(super) fn format(&self, table: &Table) -> CopyFormat {
        let Some(place) = self.place(&table.name) else { return CopyFormat::Text };
        let same = table.columns.iter().all(|column| {
            column.binary_safe
                && column.binary_from <= self.version
                && place.column(&column.name).is_some_and(|target| {
                    let base = Base::at_source(&self.types, column.type_oid, column.type_modifier);
                    target.takes_binary
                        && target.type_name == column.type_name
                        && base.is_some_and(|base| base.has_form_of(&target.base))
                })
        });
        if same { CopyFormat::Binary } else { CopyFormat::Text }
    }

    /// The form in which the target can take the changes of all tables.
    pub(super) fn stream_format(&self) -> CopyFormat {
        let binary = self.captured.values().all(|table| self.format(table) == CopyFormat::Binary);
        if binary { CopyFormat::Binary } else { CopyFormat::Text }
    }

    /// `TRUNCATE` of the tables at the target; `None` when there is none.
    pub(super) fn truncate_sql(
        &self,
        relations: &[Arc<Relation>],
        restart_identity: bool,
    ) -> Result<Option<String>, Error> {
        let names: BTreeSet<&TableName> = relations.iter().map(|relation| &relation.name).collect();
        let mut places = BTreeSet::new();
        for name in &names {
            let place = self.place(name).ok_or_else(|| self.not_there(name))?;
            if place.name != **name && !self.all_parts_among(&place.name, &names) {
                return Err(parts::kept(name, &place.name));
            }
            let former = self.former_at(&place.name, name).map(|(former, _)| former);
            parts::assert_alone(name, &place.name, former.filter(|part| !names.contains(part)))?;
            let only = if place.partitioned { "" } else { "ONLY " };
            places.insert(format!("{only}{}", place.name.quoted()));
        }
        if places.is_empty() {
            return Ok(None);
        }
        let restart = if restart_identity { " RESTART IDENTITY" } else { "" };
        Ok(Some(format!("TRUNCATE {}{restart}", list(places))))
    }

    /// Whether every captured partition of `root` is among `names`.
    fn all_parts_among(&self, root: &TableName, names: &BTreeSet<&TableName>) -> bool {
        self.captured
            .values()
            .filter(|table| table.root.as_ref() == Some(root))
            .all(|table| names.contains(&table.name))
    }
}

/// Whether rows of the source with the same values in the columns `target_key` are one row: a key of the source is among them. What the log
/// says of the primary key is newer than what `captured` does.
fn tells_apart(relation: &Relation, target_key: &[String], captured: Option<&Table>) -> bool {
    let is_among = |key: &[String]| !key.is_empty() && key.iter().all(|c| target_key.contains(c));
    let logged = relation.columns.iter().filter(|column| column.is_key);
    let logged: Vec<String> = logged.map(|column| column.name.clone()).collect();
    let found = || captured.is_some_and(|t| is_among(&t.primary_key) || is_among(&t.unique_key));
    match relation.replica_identity {
        ReplicaIdentity::Default => is_among(&logged),
        ReplicaIdentity::Index => is_among(&logged) || found(),
        ReplicaIdentity::Full | ReplicaIdentity::Nothing => found(),
    }
}

/// The type of a column was changed at the source since the stream looked at it. Nothing after it was written.
///
/// Remedy: nothing, the source is looked at again, and a target whose type does not take the values is named then.
fn altered_since(table: &TableName, column: &str) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!(
            "column `{column}` of `{table}` has another type at the source since the stream looked at it: looking again"
        ),
    )
}

/// The log has values of a type that their column has not any more, and that its type at the target would change without a word. What the source has made
/// of such values when the type was changed cannot be told from the log. Nothing after them was written.
///
/// Remedy: run the statement of the message at the target and start the stream again: it copies the table as it is now.
fn older_type(table: &TableName, target: &TargetColumn, declared_type: Option<&str>) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "column `{0}` of `{table}` had type `{1}` when the log was written, whose values `{2}` at the target would change without a word: have the \
             table copied again, as it is now: `{3}`, and start the stream again",
            target.name,
            declared_type.unwrap_or("of another name"),
            target.declared_type,
            copy_again_sql(table)
        ),
    )
}
