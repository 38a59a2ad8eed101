//! Looks at the catalogue from time to time, for tables that came after the stream began, partitions that went or came back, and names
//! that were given to other columns.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

use super::capture::{Captured, CapturedTable, capture};
use super::catalog::read_tables;
use super::query::QueryError;
use super::{ConnectOptions, SnapshotMode, SqlClient};
use crate::columns::ColumnNumbers;
use crate::filter::TableFilter;
use crate::relation::{RelationId, TableName};

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
    /// Each with what attached it, where it is a partition: detached, it is not published any more.
    tables: BTreeMap<RelationId, (Vec<u32>, ColumnNumbers)>,
    /// Whether a name matters that was given to another column.
    follows_columns: bool,
}

impl Known {
    /// What the stream knows of `captured`; `noted` is what names of columns have stood for before, of some tables.
    pub(super) fn new(
        captured: &Captured,
        mut noted: BTreeMap<TableName, ColumnNumbers>,
        mode: SnapshotMode,
    ) -> Self {
        let known = |table: &CapturedTable| {
            let mut columns = numbers(table);
            if let Some(mut before) = noted.remove(&table.name) {
                before.numbers.extend(columns.numbers);
                columns = before;
            }
            (table.id, (table.attached_by.clone(), columns))
        };
        // A start does nothing about them then, but warn.
        let follows_columns = mode != SnapshotMode::Never;
        Self { tables: captured.all().map(known).collect(), follows_columns }
    }

    /// Whether a table is as it is known.
    fn has(&self, table: &CapturedTable) -> bool {
        let Some((attached_by, columns)) = self.tables.get(&table.id) else { return false };
        let now = numbers(table);
        let is_same = || columns.renumbered(&now, &table.attributes.dropped).is_none();
        *attached_by == table.attached_by && (!self.follows_columns || is_same())
    }
}

fn numbers(table: &CapturedTable) -> ColumnNumbers {
    let columns = table.columns.iter().chain(&table.generated);
    let numbers = columns.map(|column| (column.name.clone(), column.number)).collect();
    ColumnNumbers { numbers, highest: table.attributes.highest }
}

/// The tables that `filter` asks for and that are not as they are `known`.
pub(super) async fn find(
    client: &SqlClient,
    filter: &TableFilter,
    known: &Known,
) -> Result<Vec<TableName>, QueryError> {
    let captured = capture(&read_tables(client).await?, filter);
    let others = captured.all().filter(|table| !known.has(table));
    Ok(others.map(|table| table.name.clone()).collect())
}
