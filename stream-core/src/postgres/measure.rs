//! Sizes of the captured tables.

use std::collections::HashMap;

use serde::Deserialize;
use tokio_postgres::Client;

use super::capture::Captured;
use super::query::{QueryError, json_rows};

/// Asks for the sizes of the tables with rows, which the catalogue knows only as of the last VACUUM.
/// Waits for a table that another session holds exclusively, as copying it would.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
pub async fn measure(client: &Client, captured: &mut Captured) -> Result<(), QueryError> {
    #[derive(Deserialize)]
    struct Size {
        id: u32,
        pages: Option<u32>,
        bytes: Option<u64>,
    }
    let ids: Vec<u32> = captured.tables.iter().map(|table| table.id.0).collect();
    let sizes: Vec<Size> = json_rows(
        client,
        "read the sizes of the tables",
        "SELECT row_to_json(t)::text FROM (
         SELECT c.oid::bigint AS id, pg_table_size(c.oid) AS bytes,
                pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages
           FROM unnest($1::oid[]) AS c (oid)) t",
        &[&ids],
    )
    .await?;
    let sizes: HashMap<_, _> = sizes.into_iter().map(|size| (size.id, size)).collect();
    for table in &mut captured.tables {
        // No size: the table was dropped since, which the next look at the catalogue shows.
        let Some(size) = sizes.get(&table.id.0) else { continue };
        table.pages = size.pages.unwrap_or_default();
        table.bytes = size.bytes.unwrap_or_default();
    }
    Ok(())
}
