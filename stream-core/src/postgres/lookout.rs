//! Looks at the catalogue from time to time, for tables that came after the stream began or are unlogged since, partitions that went or
//! came back, names that were given to other columns, other keys, and a publication that was altered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;

use super::capture::{Captured, CapturedTable, capture};
use super::catalog::read_tables;
use super::publication::{self, Publication};
use super::query::QueryError;
use super::tables::numbers_of;
use super::{ConnectOptions, SnapshotMode, SqlClient};
use crate::columns::ColumnNumbers;
use crate::filter::TableFilter;
use crate::relation::{RelationId, TableName};
use crate::table::PublishedAs;

/// A task that ends when it has found something; it ends with its owner, too.
#[derive(Default)]
pub(super) struct Lookout(JoinSet<Vec<TableName>>);

impl Lookout {
    /// Begins to look, every `interval`, for tables that `filter` asks for and that are not as they are `known`.
    pub(super) fn new(
        connect: ConnectOptions,
        filter: TableFilter,
        known: Known,
        interval: Duration,
    ) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                match look(&connect, &filter, &known).await {
                    Ok(found) if found.is_empty() => {}
                    Ok(found) => return found,
                    // The stream itself notices a source that is gone.
                    Err(error) => tracing::debug!(%error, "cannot look at the source's catalogue"),
                }
            }
        });
        Self(task)
    }

    /// Waits for tables to be found; for ever when nobody looks.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn found(&mut self) -> Vec<TableName> {
        match self.0.join_next().await {
            Some(Ok(found)) => found,
            Some(Err(_)) | None => std::future::pending().await,
        }
    }
}

async fn look(
    connect: &ConnectOptions,
    filter: &TableFilter,
    known: &Known,
) -> Result<Vec<TableName>, Box<dyn std::error::Error + Send + Sync>> {
    let client = SqlClient::connect(connect).await?;
    let found = find(&client, filter, known).await?;
    client.close().await;
    Ok(found)
}

/// What the stream knows of the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    tables: BTreeMap<RelationId, KnownTable>,
    /// The tables' names, where the log is read: an unlogged table is not in it any more.
    names: BTreeSet<TableName>,
    /// The publication, where the log is read.
    publication: Option<String>,
    /// Whether a name matters that was given to another column.
    follows_columns: bool,
}

#[derive(Clone, Debug)]
struct KnownTable {
    /// What attached it, where it is a partition: detached, it is not published any more.
    attached_by: Vec<u32>,
    columns: ColumnNumbers,
    /// By what rows are told apart: where whole rows are logged, the log does not say.
    key: Vec<String>,
    published: Option<Published>,
}

/// What publishes a table, and how.
#[derive(Clone, Debug)]
struct Published {
    entries: Vec<u32>,
    how: Option<PublishedAs>,
}

impl Published {
    fn new(publication: &Publication, table: &CapturedTable) -> Self {
        Self { entries: publication.entries(table), how: publication.published_as(table) }
    }

    /// Whether no change can be missing by `now`.
    fn stays(&self, now: &Self) -> bool {
        let first = self.entries.first();
        self.how == now.how && first.is_none_or(|entry| now.entries.contains(entry))
    }
}

impl Known {
    /// What the stream knows of `captured`; `noted` is what names of columns have stood for before, of some tables.
    pub(super) fn new(
        captured: &Captured,
        mut noted: BTreeMap<TableName, ColumnNumbers>,
        publication: Option<&Publication>,
        mode: SnapshotMode,
    ) -> Self {
        let known = |table: &CapturedTable| {
            let mut columns = numbers(table);
            if let Some(mut before) = noted.remove(&table.name) {
                let numbers = numbers_of(&table.columns);
                let given = ColumnNumbers { numbers, ..columns.clone() };
                before.computed = before.still_computed(&given);
                before.excluded = columns.excluded;
                before.numbers.extend(columns.numbers);
                columns = before;
            }
            let attached_by = table.attached_by.clone();
            let published = publication.map(|publication| Published::new(publication, table));
            let key = key(table).to_vec();
            (table.id, KnownTable { attached_by, columns, key, published })
        };
        // A start does nothing about them then, but warn.
        let follows_columns = mode != SnapshotMode::Never;
        let tables = captured.all().map(known).collect();
        let logged = captured.all().filter(|_| publication.is_some());
        let names = logged.map(|table| table.name.clone()).collect();
        let publication = publication.map(|publication| publication.name.clone());
        Self { tables, names, publication, follows_columns }
    }

    /// Whether a table is as it is known.
    fn has(&self, table: &CapturedTable, publication: Option<&Publication>) -> bool {
        let Some(known) = self.tables.get(&table.id) else { return false };
        let now = numbers(table);
        let is_same = || known.columns.renumbered(&now, &table.attributes.dropped).is_none();
        let is_published = |known: &Published| {
            publication.is_some_and(|now| known.stays(&Published::new(now, table)))
        };
        known.attached_by == table.attached_by
            && known.key == key(table)
            && (!self.follows_columns
                || is_same() && known.columns.included(given(table)).is_none())
            && known.columns.freed(given(table)).is_none()
            && known.published.as_ref().is_none_or(is_published)
    }
}

fn numbers(table: &CapturedTable) -> ColumnNumbers {
    let numbers = numbers_of(table.columns.iter().chain(&table.generated));
    let computed = numbers_of(&table.generated);
    let highest = table.attributes.highest;
    let is_excluded =
        |name: &&String| table.left_out_columns.contains(*name) && !computed.contains_key(*name);
    let excluded = table.attributes.numbers.iter().filter(|(name, _)| is_excluded(name));
    let excluded = excluded.map(|(name, number)| (name.clone(), *number)).collect();
    ColumnNumbers { numbers, highest, computed, excluded }
}

fn key(table: &CapturedTable) -> &[String] {
    if table.primary_key.is_empty() { &table.unique_key } else { &table.primary_key }
}

/// The columns that are given their values.
fn given(table: &CapturedTable) -> impl Iterator<Item = (&str, i16)> {
    table.columns.iter().map(|column| (column.name.as_str(), column.number))
}

/// The tables that `filter` asks for and that are not as they are `known`.
pub(super) async fn find(
    client: &SqlClient,
    filter: &TableFilter,
    known: &Known,
) -> Result<Vec<TableName>, QueryError> {
    let captured = capture(&read_tables(client).await?, filter);
    let publication = match &known.publication {
        Some(name) => publication::read(client, name).await?,
        None => None,
    };
    let others = captured.all().filter(|table| !known.has(table, publication.as_ref()));
    let others = others.map(|table| &table.name);
    let unlogged = captured.unlogged().filter(|name| known.names.contains(*name));
    Ok(others.chain(unlogged).cloned().collect())
}
