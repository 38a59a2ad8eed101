//! The stream's tables as they are at the target.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use stream_core::copy::CopyFormat;
use stream_core::postgres::SqlClient;
use stream_core::postgres::catalog::Generated;
use stream_core::relation::{Relation, ReplicaIdentity, TableName};
use stream_core::source::Inspected;
use stream_core::sql::list;
use stream_core::table::{Identity, Table};
use stream_core::{Error, ErrorKind};

use super::divergence::Divergence;
use super::error::from_sql;
use super::lacking::{self, declared_type};
use super::plan::{Plan, TargetColumn, TargetTable};

const COLUMNS: &str = "
SELECT n.nspname, c.relname, c.relkind::text, a.attname, a.atttypid, a.atttypmod,
       format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod),
       t.typreceive <> 0,
       CASE WHEN t.typcategory = 'A' THEN 0::oid ELSE t.typarray END,
       a.attgenerated::text,
       a.attidentity::text,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
       coalesce((
           SELECT 'OPERATOR(' || quote_ident(s.nspname) || '.' || o.oprname || ')'
           FROM pg_opclass oc
           JOIN pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree'
           JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
           JOIN pg_operator o ON o.oid = ao.amopopr
           JOIN pg_namespace s ON s.oid = o.oprnamespace
           WHERE oc.opcdefault AND oc.opcintype = coalesce(nullif(t.typbasetype, 0), t.oid)
           LIMIT 1), 'OPERATOR(pg_catalog.=)')
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
ORDER BY n.nspname, c.relname, a.attnum";

/// Keys that no two rows share at any moment: under a deferrable one they may, until their transaction ends.
const PRIMARY_KEYS: &str = "
SELECT n.nspname, c.relname, a.attname
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND NOT i.indisexclusion
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE k.position <= i.indnkeyatts
ORDER BY n.nspname, c.relname, k.position";

/// Triggers that fire for a replica's changes too.
const WATCHERS: &str = "
SELECT n.nspname, c.relname, g.tgname
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('A', 'R')";

/// Whether a trigger of the target sees every change. Named in the log.
async fn are_watched(client: &SqlClient, names: &BTreeSet<TableName>) -> Result<bool, Error> {
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let rows = client
        .query(WATCHERS, &[&schemas, &tables])
        .await
        .map_err(|error| from_sql("read the triggers", &error))?;
    for row in &rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let trigger: &str = row.get(2);
        tracing::info!(%table, trigger, "the target's trigger fires for the stream's changes");
    }
    Ok(!rows.is_empty())
}

/// Reads those of `names` that are at the target.
pub(super) async fn read(
    client: &SqlClient,
    names: &BTreeSet<TableName>,
) -> Result<HashMap<TableName, TargetTable>, Error> {
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let failed = |error| from_sql("read the catalogue", &error);
    let mut found: HashMap<TableName, TargetTable> = HashMap::new();
    for row in client.query(COLUMNS, &[&schemas, &tables]).await.map_err(failed)? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let table = found.entry(name.clone()).or_insert_with(|| TargetTable {
            name,
            columns: Vec::new(),
            primary_key: Vec::new(),
            partitioned: row.get::<_, &str>(2) == "p",
        });
        let Some(column) = row.get::<_, Option<String>>(3) else { continue };
        table.columns.push(TargetColumn {
            name: column,
            type_oid: row.get(4),
            type_modifier: row.get(5),
            type_name: row.get(6),
            declared_type: row.get(7),
            takes_binary: row.get(8),
            array_oid: row.get(9),
            generated: match row.get(10) {
                "" => None,
                "v" => Some(Generated::Virtual),
                _ => Some(Generated::Stored),
            },
            identity: match row.get(11) {
                "a" => Identity::Always,
                "d" => Identity::ByDefault,
                _ => Identity::None,
            },
            must_be_given: row.get(12),
            equality: row.get(13),
        });
    }
    for row in client.query(PRIMARY_KEYS, &[&schemas, &tables]).await.map_err(failed)? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        if let Some(table) = found.get_mut(&name) {
            table.primary_key.push(row.get(2));
        }
    }
    Ok(found)
}

/// The captured tables, each with its place at the target.
pub(super) struct Tables {
    client: Arc<SqlClient>,
    captured: HashMap<TableName, Arc<Table>>,
    target: RwLock<HashMap<TableName, Arc<TargetTable>>>,
    /// Whether a trigger of the target sees every change, even under `session_replication_role = replica`.
    pub(super) watched: bool,
    pub(super) divergence: Divergence,
}

impl Tables {
    /// Finds each captured table at the target; one that is not there is in the second part of the answer.
    pub(super) async fn find(
        client: Arc<SqlClient>,
        source: &Inspected,
    ) -> Result<(Self, Vec<TableName>), Error> {
        let captured = &source.tables;
        let names: BTreeSet<TableName> = captured
            .iter()
            .flat_map(|table| std::iter::once(&table.name).chain(&table.root))
            .chain(&source.partitioned)
            .chain(source.parts.keys())
            .cloned()
            .collect();
        let found: HashMap<_, _> = read(&client, &names)
            .await?
            .into_iter()
            .map(|(name, table)| (name, Arc::new(table)))
            .collect();
        let watched = are_watched(&client, &names).await?;
        let missing_parts = missing_parts(&client, source, &found).await?;
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
        Ok((Self { client, captured, target: RwLock::new(found), watched, divergence }, missing))
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
        let found = read(&self.client, &names).await?;
        let mut target = self.target.write().unwrap_or_else(PoisonError::into_inner);
        for (name, table) in found {
            target.insert(name, Arc::new(table));
        }
        Ok(())
    }

    /// Where the rows of a captured table go: the table of its name, or its root.
    pub(super) fn place(&self, name: &TableName) -> Option<Arc<TargetTable>> {
        let target = self.target.read().unwrap_or_else(PoisonError::into_inner);
        let own = target.get(name);
        let root = || target.get(self.captured.get(name)?.root.as_ref()?);
        own.or_else(root).map(Arc::clone)
    }

    /// Captured tables other than `name` whose rows are in `place` of the target, or in a partition of it.
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

    pub(super) async fn plan(&self, relation: &Arc<Relation>) -> Result<Plan, Error> {
        let place = self.place(&relation.name).ok_or_else(|| self.not_there(&relation.name))?;
        let captured = self.captured.get(&relation.name);
        let apart = tells_apart(relation, &place.primary_key, captured.map(Arc::as_ref));
        let planned = Plan::new(Arc::clone(relation), Arc::clone(&place), apart, |column| {
            captured.is_none_or(|table| !table.left_out.iter().any(|name| name == column))
        });
        match planned {
            Ok(plan) => Ok(plan),
            Err(column) => {
                let known = self.captured.values().flat_map(|table| &table.columns);
                let declared = declared_type(&self.client, known, &column).await?;
                Err(lacking::in_the_log(&relation.name, &place.name, &column.name, declared))
            }
        }
    }

    /// Whether rows of the captured table `name` come to the target, or of a partition of it.
    pub(super) fn has(&self, name: &TableName) -> bool {
        self.captured.contains_key(name)
            || self.captured.values().any(|table| table.root.as_ref() == Some(name))
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
                && place.column(&column.name).is_some_and(|target| {
                    target.takes_binary && target.type_name == column.type_name
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
                return Err(no_partition(name, &place.name));
            }
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

/// Partitions that the target lacks, of tables that it lacks too, or has divided as the source has, or not at all yet. Of others the
/// rows find their place by themselves.
async fn missing_parts<'a>(
    client: &SqlClient,
    source: &'a Inspected,
    found: &HashMap<TableName, Arc<TargetTable>>,
) -> Result<Vec<&'a TableName>, Error> {
    let (there, lacking): (Vec<_>, Vec<_>) =
        source.parts.iter().partition(|(part, _)| found.contains_key(*part));
    let there: BTreeSet<&TableName> = there.into_iter().map(|(_, root)| root).collect();
    let mut missing = Vec::new();
    for (part, root) in lacking {
        let is_made_here = match found.get(root) {
            None => true,
            Some(place) if !place.partitioned => false,
            Some(place) => there.contains(root) || is_undivided(client, &place.name).await?,
        };
        if is_made_here {
            missing.push(part);
        }
    }
    Ok(missing)
}

/// Whether a partitioned table of the target has no partition.
async fn is_undivided(client: &SqlClient, table: &TableName) -> Result<bool, Error> {
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = $1::text::regclass)";
    let row = client.query_one(sql, &[&table.quoted()]).await;
    Ok(row.map_err(|error| from_sql("look for partitions", &error))?.get(0))
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

/// A partition was emptied at the source, and the target has its rows in its root, with those of others.
///
/// Remedy: remove the partition's rows at the target, create it there, and start the stream again.
fn no_partition(name: &TableName, root: &TableName) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "partition `{name}` was truncated, but the target has no table of that name, only its root `{root}`: remove the \
             partition's rows there, and create it at the target"
        ),
    )
}
