//! The same workload through PostgreSQL's own subscription, as a second opinion: what it has at the end must be what
//! the source has, or the comparison is wrong.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stream_core::postgres::ConnectOptions;
use stream_core::sql::Literal;

use super::lab::session;
use crate::compare::{self, Sequences};

/// Of the database, the publication, the subscription, its slot and its sessions.
pub(super) const NAME: &str = "native";
/// Tables that it fails at: without columns, and with changes to a column whose type has no equality.
const UNABLE: [&str; 2] = ["nothing", "bag"];
/// The tables, partitions by their roots.
const TABLES: &str = "
SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
  AND c.relname <> ALL ($1)";
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A subscription from the source, in a database of its own beside the stream's target.
pub(super) struct Native {
    source: ConnectOptions,
    target: ConnectOptions,
}

impl Native {
    /// Subscribes, with the tables of `schema`; `conninfo` is the source as libpq takes it.
    pub(super) async fn start(
        source: &ConnectOptions,
        target: &ConnectOptions,
        conninfo: &str,
        schema: &str,
    ) -> Result<Self> {
        let client = session(source).await?;
        let tables: String = client.query_one(TABLES, &[&&UNABLE[..]]).await?.get(0);
        client.batch_execute(&format!("CREATE PUBLICATION {NAME} FOR TABLE {tables}")).await?;
        client.close().await;
        let client = session(target).await?;
        client.batch_execute(&format!("CREATE DATABASE {NAME}")).await?;
        client.close().await;
        let target = target.with_database(NAME);
        let client = session(&target).await?;
        client.batch_execute(schema).await?;
        let conninfo = format!("{conninfo} application_name={NAME}");
        let subscribe = format!(
            "CREATE SUBSCRIPTION {NAME} CONNECTION {} PUBLICATION {NAME}",
            Literal(&conninfo)
        );
        client.batch_execute(&subscribe).await?;
        client.close().await;
        Ok(Self { source: source.clone(), target })
    }

    /// Waits until it has everything, and compares.
    pub(super) async fn check(&self) -> Result<()> {
        let (source, target) = (session(&self.source).await?, session(&self.target).await?);
        let now = source.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?;
        let passed = format!(
            "SELECT coalesce(bool_and(confirmed_flush_lsn >= '{}'), false) FROM pg_replication_slots
             WHERE slot_name = '{NAME}'",
            now.get::<_, String>(0)
        );
        let ready = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel";
        let start = Instant::now();
        while !(target.query_one(ready, &[]).await?.get::<_, bool>(0)
            && source.query_one(&passed, &[]).await?.get::<_, bool>(0))
        {
            ensure!(
                start.elapsed() < PATIENCE,
                "the native subscription did not come after in time"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let mut differences =
            compare::differences(&self.source, &self.target, Sequences::Ignored).await?;
        let unable = UNABLE.map(|name| format!("public.{name}: "));
        differences.retain(|line| !unable.iter().any(|unable| line.starts_with(unable)));
        ensure!(
            differences.is_empty(),
            "source and native subscription differ:\n{}",
            differences.join("\n")
        );
        Ok(())
    }

    /// Removes what an earlier run left: a database with a subscription cannot be dropped.
    pub(super) async fn remove(target: &ConnectOptions) -> Result<()> {
        let client = session(target).await?;
        let there = format!("SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{NAME}')");
        if client.query_one(&there, &[]).await?.get::<_, bool>(0) {
            let inside = session(&target.with_database(NAME)).await?;
            let subscribed = "SELECT EXISTS (SELECT FROM pg_subscription)";
            if inside.query_one(subscribed, &[]).await?.get::<_, bool>(0) {
                for change in ["DISABLE", "SET (slot_name = NONE)"] {
                    inside.batch_execute(&format!("ALTER SUBSCRIPTION {NAME} {change}")).await?;
                }
                inside.batch_execute(&format!("DROP SUBSCRIPTION {NAME}")).await?;
            }
            inside.close().await;
            client.batch_execute(&format!("DROP DATABASE {NAME} WITH (FORCE)")).await?;
        }
        client.close().await;
        Ok(())
    }
}
