//! Transactions that the creation of a replication slot waits for, or a session that wants a lock.
//!
//! A slot begins where no older transaction is left running; one that was forgotten holds it up for
//! ever. Never shows what a transaction runs.

use std::time::Duration;

use serde::Deserialize;
use tokio_postgres::Client;

use super::query::{QueryError, json_rows};

/// A transaction that the creation of a slot waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Blocker {
    /// The server process; `None` for a prepared transaction, which has none.
    pub pid: Option<i32>,
    /// The identifier of a prepared transaction.
    pub prepared: Option<String>,
    /// Who runs it.
    pub user: Option<String>,
    /// Where; the wait is for transactions of every database.
    pub database: Option<String>,
    /// The client's name for itself.
    pub application: Option<String>,
    /// How long it has been running, when we may see that.
    #[serde(rename = "age_seconds", deserialize_with = "seconds")]
    pub age: Option<Duration>,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.prepared) {
            (_, Some(gid)) => write!(f, "prepared transaction `{gid}`")?,
            (Some(pid), None) => write!(f, "the transaction of process {pid}")?,
            (None, None) => write!(f, "a transaction")?,
        }
        for (what, value) in
            [("user", &self.user), ("database", &self.database), ("application", &self.application)]
        {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                write!(f, ", {what} `{value}`")?;
            }
        }
        self.age.map_or(Ok(()), |age| write!(f, ", running for {} s", age.as_secs()))
    }
}

/// The transactions that the walsender `walsender_pid` waits for while it creates a slot: those that
/// have written and are older than its command. Oldest first, ten at most.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn blockers(client: &Client, walsender_pid: i32) -> Result<Vec<Blocker>, QueryError> {
    // By locks: every transaction that writes holds one on its own number, and unlike the other
    // users' rows of pg_stat_activity these are visible to everybody.
    let sql = "\
SELECT row_to_json(t)::text FROM (
SELECT l.pid, p.gid AS prepared, coalesce(a.usename, p.owner) AS \"user\",
       coalesce(a.datname, p.database) AS database, a.application_name AS application,
       extract(epoch FROM clock_timestamp() - s.started)::float8 AS age_seconds
  FROM (SELECT pid, CASE WHEN pid IS NULL THEN transactionid END AS prepared_xid
          FROM pg_locks
         WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
         GROUP BY 1, 2) l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_prepared_xacts p ON p.transaction = l.prepared_xid
  LEFT JOIN pg_stat_activity w ON w.pid = $1
  CROSS JOIN LATERAL (SELECT coalesce(a.xact_start, p.prepared) AS started) s
 WHERE l.pid IS DISTINCT FROM $1 AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND (coalesce(s.started < w.query_start, true) OR l.pid = ANY (pg_blocking_pids($1)))
 ORDER BY s.started NULLS LAST LIMIT 10) t";
    json_rows(client, "look for transactions in the way", sql, &[&walsender_pid]).await
}

/// The transactions that hold the locks that the session `pid` waits for; none while it waits for none.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn lock_holders(client: &Client, pid: i32) -> Result<Vec<Blocker>, QueryError> {
    let sql = "\
SELECT row_to_json(t)::text FROM (
SELECT nullif(b.pid, 0) AS pid, NULL AS prepared, a.usename AS \"user\", a.datname AS database, a.application_name AS application,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age_seconds
  FROM (SELECT DISTINCT unnest(pg_blocking_pids($1)) AS pid) b LEFT JOIN pg_stat_activity a ON a.pid = b.pid
 ORDER BY a.xact_start NULLS LAST LIMIT 10) t";
    json_rows(client, "look who holds a lock", sql, &[&pid]).await
}

fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(from)?;
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}
