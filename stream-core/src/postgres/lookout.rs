//! Looks at the catalogue from time to time, for tables that came after the stream began, and partitions that went or came back.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;

use super::capture::{Captured, capture};
use super::catalog::read_tables;
use super::query::QueryError;
use super::{ConnectOptions, SqlClient};
use crate::filter::TableFilter;
use crate::relation::{RelationId, TableName};

/// A task that ends when it has found something; it ends with its owner, too.
#[derive(Default)]
pub(super) struct Lookout(JoinSet<Vec<TableName>>);

impl Lookout {
    /// Begins to look, every `interval`, for tables that `filter` asks for and `captured` does not have.
    pub(super) fn new(
        connect: ConnectOptions,
        filter: TableFilter,
        captured: &Captured,
        interval: Duration,
    ) -> Self {
        let known = known(captured);
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

/// Tables, each with what attached it where it is a partition: detached, it is not published any more.
pub(super) type Known = BTreeSet<(RelationId, Vec<u32>)>;

/// What the stream knows.
pub(super) fn known(captured: &Captured) -> Known {
    captured.all().map(|table| (table.id, table.attached_by.clone())).collect()
}

/// The tables that `filter` asks for and that are not `known`.
pub(super) async fn find(
    client: &SqlClient,
    filter: &TableFilter,
    known: &Known,
) -> Result<Vec<TableName>, QueryError> {
    let captured = capture(&read_tables(client).await?, filter);
    Ok(captured
        .all()
        .filter(|table| !known.contains(&(table.id, table.attached_by.clone())))
        .map(|table| table.name.clone())
        .collect())
}
