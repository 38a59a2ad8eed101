//! How far the stream is, as its databases tell.

use std::time::Duration;

use anyhow::{Context as _, Result};
use stream_core::postgres::{ConnectOptions, SqlClient};

/// How often to look.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const COPIED: &str =
    "SELECT count(*) > 0 AND bool_and(synced_at IS NOT NULL) FROM sgstream.table_sync";
const INDEXED: &str = "SELECT NOT EXISTS (SELECT FROM sgstream.pending)";
/// The source has been analyzed, and its tables are small enough for that to count their rows.
const SIZE: &str = "
SELECT count(*), coalesce(sum(c.reltuples), 0)::bigint, pg_size_pretty(pg_database_size(current_database()))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema$)'";

/// Sessions with both ends of the stream.
pub(super) struct Watch {
    source: SqlClient,
    target: SqlClient,
}

impl Watch {
    pub(super) async fn open(source: &ConnectOptions, target: &ConnectOptions) -> Result<Self> {
        let (source, target) =
            tokio::try_join!(SqlClient::connect(source), SqlClient::connect(target))?;
        Ok(Self { source, target })
    }

    pub(super) async fn close(self) {
        tokio::join!(self.source.close(), self.target.close());
    }

    /// Tables, rows and size of the source.
    pub(super) async fn size(&self) -> Result<(i64, u64, String)> {
        let row = self.source.query_one(SIZE, &[]).await?;
        Ok((row.get(0), row.get::<_, i64>(1).try_into()?, row.get(2)))
    }

    /// Waits until all tables are copied.
    pub(super) async fn until_copied(&self) -> Result<()> {
        // The tables that tell it are not there at the beginning.
        let there = "SELECT to_regclass('sgstream.table_sync') IS NOT NULL";
        until(&self.target, there).await?;
        until(&self.target, COPIED).await
    }

    /// Waits until indexes and constraints are built.
    pub(super) async fn until_indexed(&self) -> Result<()> {
        until(&self.target, INDEXED).await
    }

    /// Waits until all that was written up to now has arrived.
    pub(super) async fn until_caught_up(&self) -> Result<()> {
        let now = self.source.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?;
        let now: String = now.get(0);
        let passed = format!(
            "SELECT coalesce(bool_and(confirmed_flush_lsn >= '{now}'), false) FROM pg_replication_slots"
        );
        until(&self.source, &passed).await
    }

    /// How much of the source's log has not arrived.
    pub(super) async fn lag(&self) -> Result<String> {
        let lag = "SELECT pg_size_pretty(pg_current_wal_lsn() - min(confirmed_flush_lsn)) FROM pg_replication_slots";
        let lag: Option<String> = self.source.query_one(lag, &[]).await?.get(0);
        lag.context("the stream has no slot at the source")
    }
}

async fn until(client: &SqlClient, sql: &str) -> Result<()> {
    while !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
