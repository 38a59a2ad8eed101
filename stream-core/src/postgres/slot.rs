//! Replication slots: what the server says of one, and the statements about one.
//!
//! A slot is never created here, and never again in place of a lost one: the WAL between is gone.

use std::time::Duration;

use serde::Deserialize;
use tokio_postgres::Client;

use super::query::{QueryError, json_row, json_rows};
use crate::lsn::Lsn;
use crate::sql::{Ident, Literal};

/// A slot, as the server shows it.
///
/// Source: <https://www.postgresql.org/docs/current/view-pg-replication-slots.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// Its name.
    pub name: String,
    /// Physical or logical.
    pub slot_type: SlotType,
    /// The output plugin; `None` for a physical slot.
    pub plugin: Option<String>,
    /// The database; `None` for a physical slot.
    pub database: Option<String>,
    /// The process that streams from it now.
    pub active_pid: Option<i32>,
    /// The oldest WAL that it still needs.
    pub restart_lsn: Option<Lsn>,
    /// Up to where changes were confirmed; the next stream begins here.
    pub confirmed_flush: Option<Lsn>,
    /// Whether its WAL is still there.
    pub wal_status: Option<WalStatus>,
    /// Bytes that may be written before the slot is in danger; `None`: no limit.
    pub safe_wal_size_bytes: Option<i64>,
    /// Why the server invalidated it (17 and later).
    pub invalidation_reason: Option<String>,
    /// Whether it was invalidated on a standby by a conflict with recovery (16 and later).
    pub conflicting: bool,
    /// Whether it goes with its session.
    pub temporary: bool,
    /// Whether prepared transactions are sent when they are prepared.
    pub two_phase: bool,
    /// Whether standbys keep a copy of it (17 and later).
    pub failover: bool,
}

/// What a slot gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotType {
    /// The bytes of the log.
    Physical,
    /// Decoded changes.
    Logical,
}

/// Whether the WAL that a slot needs is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalStatus {
    /// Within `max_wal_size`.
    Reserved,
    /// Beyond `max_wal_size`, kept for the slot.
    Extended,
    /// Some of it goes at the next checkpoint.
    Unreserved,
    /// Gone: the slot cannot be used any more.
    Lost,
}

/// The replication command that creates a slot which goes with its session, and exports the snapshot at its
/// consistent point. In the form that every supported version takes.
#[must_use]
pub fn export_sql(name: &str) -> String {
    format!("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT", Ident(name))
}

/// The statement that creates a slot which goes with its session.
#[must_use]
pub fn create_sql(name: &str) -> String {
    format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput', true)", Literal(name))
}

/// The statements that let the session's own slot `from` begin at `position`, and make a slot `name` of it that stays.
///
/// Source: <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION>
#[must_use]
pub fn keep_sql(from: &str, name: &str, position: Lsn) -> String {
    format!(
        "SELECT pg_replication_slot_advance({from}, '{position}'); \
         SELECT pg_copy_logical_replication_slot({from}, {}, false)",
        Literal(name),
        from = Literal(from)
    )
}

/// The command that has standbys keep a slot that is there.
///
/// Source: <https://www.postgresql.org/docs/current/logical-replication-failover.html>
#[must_use]
pub fn failover_sql(name: &str) -> String {
    format!("ALTER_REPLICATION_SLOT {} (FAILOVER true)", Ident(name))
}

/// Whether the server has slots that standbys keep.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn has_failover(client: &Client) -> Result<bool, QueryError> {
    let sql = "SELECT (current_setting('server_version_num')::int >= 170000 AND NOT pg_is_in_recovery())::text";
    json_row(client, "see what slots the server has", sql, &[]).await
}

/// The name of a short-lived slot beside `slot`, by what it is `made_for`.
#[must_use]
pub fn temporary_name(slot: &str, made_for: &str) -> String {
    const MAX_BYTES: usize = 63;
    let suffix = format!("_{made_for}_{}", std::process::id());
    // Slot names are made of one-byte characters.
    let kept: String = slot.chars().take(MAX_BYTES - suffix.len()).collect();
    kept + &suffix
}

/// The statement that drops a slot.
#[must_use]
pub fn drop_sql(name: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", Literal(name))
}

/// Reads a slot; `None` when there is none of that name.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn state(client: &Client, name: &str) -> Result<Option<SlotState>, QueryError> {
    #[derive(Deserialize)]
    struct Row {
        slot_name: String,
        slot_type: SlotType,
        plugin: Option<String>,
        database: Option<String>,
        active_pid: Option<i32>,
        restart_lsn: Option<String>,
        confirmed_flush_lsn: Option<String>,
        wal_status: Option<WalStatus>,
        safe_wal_size: Option<i64>,
        invalidation_reason: Option<String>,
        conflicting: Option<bool>,
        temporary: bool,
        two_phase: Option<bool>,
        failover: Option<bool>,
    }
    let sql = "SELECT row_to_json(s)::text FROM pg_replication_slots s WHERE s.slot_name = $1";
    let rows: Vec<Row> = json_rows(client, READ, sql, &[&name]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let position = |text: Option<String>| text.map(|text| parse(READ, &text)).transpose();
    Ok(Some(SlotState {
        name: row.slot_name,
        slot_type: row.slot_type,
        plugin: row.plugin,
        database: row.database,
        active_pid: row.active_pid,
        restart_lsn: position(row.restart_lsn)?,
        confirmed_flush: position(row.confirmed_flush_lsn)?,
        wal_status: row.wal_status,
        safe_wal_size_bytes: row.safe_wal_size,
        invalidation_reason: row.invalidation_reason,
        conflicting: row.conflicting.unwrap_or_default(),
        temporary: row.temporary,
        two_phase: row.two_phase.unwrap_or_default(),
        failover: row.failover.unwrap_or_default(),
    }))
}

const READ: &str = "read the replication slot";

fn parse(what: &'static str, text: &str) -> Result<Lsn, QueryError> {
    text.parse::<Lsn>().map_err(|error| QueryError::Answer { what, reason: error.to_string() })
}

/// Where the server's log ends: what was written, or on a standby what was replayed.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn server_position(client: &Client) -> Result<Lsn, QueryError> {
    let what = "read the position of the server's log";
    let sql = "SELECT to_json(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                   ELSE pg_current_wal_lsn() END)::text";
    let text: String = json_row(client, what, sql, &[]).await?;
    parse(what, &text)
}

/// Below which all that is committed is: what was inserted into the server's log, or on a standby what was replayed. With `synchronous_commit = off` a
/// commit can be seen before it is written. The walsender may come to it only some seconds later.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn end_of_commits(client: &Client) -> Result<Lsn, QueryError> {
    // At a page's end the server says where the next record begins, after the page's header. The walsender says where the last one ends.
    let sql = "SELECT to_json(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE (
        SELECT inserted - (CASE WHEN (inserted - '0/0'::pg_lsn) % pg_size_bytes(current_setting('wal_segment_size')) = 40 THEN 40
                                WHEN (inserted - '0/0'::pg_lsn) % current_setting('wal_block_size')::int = 24 THEN 24 ELSE 0 END)::numeric
          FROM pg_current_wal_insert_lsn() AS inserted) END)::text";
    let what = "read the end of the server's log";
    let text: String = json_row(client, what, sql, &[]).await?;
    parse(what, &text)
}

/// As [`drop`], waiting a moment for the session that streamed from it to end; and only the slot whose changes were delivered up to `delivered`.
/// None that is made later begins below it: whoever was away for a while drops no other, because the server compares.
///
/// # Errors
///
/// [`QueryError`] when the slot stays in use, or when the server does not answer.
///
/// # Cancel safety
///
/// As [`drop`].
pub async fn drop_released(client: &Client, name: &str, delivered: Lsn) -> Result<(), QueryError> {
    let mut attempts = 50;
    loop {
        attempts -= 1;
        match drop_up_to(client, name, delivered).await {
            Err(error) if error.is_retryable() && attempts > 0 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            ended => return ended.map(|_| ()),
        }
    }
}

/// Waits until nobody streams from a slot: a walsender ends a little later than its connection.
pub(super) async fn released(client: &Client, name: &str) -> Result<(), QueryError> {
    for _ in 0..50 {
        let state = state(client, name).await?;
        if state.is_none_or(|state| state.active_pid.is_none()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Whoever streams from it still is told to the next one.
    Ok(())
}

/// Drops a slot. `false`: there was none.
///
/// # Errors
///
/// [`QueryError`] when the slot is in use (retryable), or when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future may leave the slot dropped or not; calling it again is right in both cases.
pub async fn drop(client: &Client, name: &str) -> Result<bool, QueryError> {
    drop_up_to(client, name, Lsn::new(u64::MAX)).await
}

async fn drop_up_to(client: &Client, name: &str, delivered: Lsn) -> Result<bool, QueryError> {
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
               WHERE slot_name = $1 AND coalesce(confirmed_flush_lsn, '0/0') <= $2::text::pg_lsn";
    let what = "drop the replication slot";
    let rows = client.query(sql, &[&name, &delivered.to_string()]).await;
    let rows = rows.map_err(|source| QueryError::Failed { what, source })?;
    Ok(!rows.is_empty())
}
