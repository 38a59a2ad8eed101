//! Asks the source, before anything is made, whether a stream can work.
//!
//! Out: every problem at once, each with its remedy. Changes nothing.

use std::collections::BTreeSet;

use serde::Deserialize;
use tokio_postgres::Client;

use super::capture::{Captured, CapturedTable};
use super::publication::Publication;
use super::query::{QueryError, json_row};
use super::source_problem::SourceProblem;
use crate::relation::TableName;
use crate::sql::{Ident, list};

/// The oldest server that is supported, as `server_version_num`.
const OLDEST_VERSION: u32 = 140_000;
/// The first version whose standbys can decode.
const STANDBY_VERSION: u32 = 160_000;
/// Slots that a new stream makes: its own, what it is made of, and that of the snapshot.
pub(super) const NEW_SLOTS: u32 = 3;

/// Asks for everything that can be asked. `slot` is the slot's name: one that exists needs no free
/// place. `publication` is the one that exists already: where it publishes neither UPDATE nor DELETE,
/// no replica identity is needed. To be called before the replication connection is open, which takes
/// a WAL sender.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn check(
    client: &Client,
    captured: &Captured,
    slot: &str,
    publication: Option<&Publication>,
) -> Result<Vec<SourceProblem>, QueryError> {
    let server: Server = json_row(client, "read the server's settings", SERVER, &[&slot]).await?;
    let needs_identity = publication
        .is_none_or(|publication| publication.operations.update || publication.operations.delete);
    let mut problems = server.problems();
    problems.extend(table_problems(captured, &server.role, needs_identity));
    Ok(problems)
}

/// What the server says of itself.
#[derive(Deserialize)]
struct Server {
    version_number: u32,
    version: String,
    wal_level: String,
    encoding: String,
    in_recovery: bool,
    role: String,
    may_replicate: bool,
    is_rds: bool,
    max_slots: u32,
    slots: u32,
    has_slot: bool,
    inactive: Vec<String>,
    max_senders: u32,
    senders: u32,
}

const SERVER: &str = "\
SELECT row_to_json(t)::text FROM (
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version') AS version,
       current_setting('wal_level') AS wal_level,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS in_recovery,
       current_user AS role,
       EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user
                  AND (r.rolsuper OR r.rolreplication))
         OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication'
                       AND pg_has_role(r.oid, 'MEMBER')) AS may_replicate,
       EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication') AS is_rds,
       current_setting('max_replication_slots')::int AS max_slots,
       (SELECT count(*) FROM pg_replication_slots) AS slots,
       EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name = $1) AS has_slot,
       (SELECT coalesce(json_agg(s.slot_name ORDER BY s.slot_name), '[]')
          FROM pg_replication_slots s WHERE NOT s.active) AS inactive,
       current_setting('max_wal_senders')::int AS max_senders,
       (SELECT count(*) FROM pg_stat_get_wal_senders()) AS senders
) t";

impl Server {
    fn problems(&self) -> Vec<SourceProblem> {
        let mut problems = Vec::new();
        let version = || self.version.clone();
        if self.version_number < OLDEST_VERSION {
            problems.push(SourceProblem::ServerTooOld { version: version() });
        } else if self.in_recovery && self.version_number < STANDBY_VERSION {
            problems.push(SourceProblem::StandbyTooOld { version: version() });
        } else if self.in_recovery {
            problems.push(SourceProblem::Standby);
        }
        if self.encoding == "SQL_ASCII" {
            problems.push(SourceProblem::SqlAscii);
        }
        if self.wal_level != "logical" {
            problems.push(SourceProblem::WalLevel { value: self.wal_level.clone() });
        }
        if !self.may_replicate {
            let role = Ident(&self.role);
            let sql = if self.is_rds {
                format!("GRANT rds_replication TO {role}")
            } else {
                format!("ALTER ROLE {role} REPLICATION")
            };
            problems.push(SourceProblem::NoReplicationRight { role: self.role.clone(), sql });
        }
        let free = self.max_slots.saturating_sub(self.slots);
        if free < NEW_SLOTS && !self.has_slot {
            let inactive = self.inactive.clone();
            problems.push(SourceProblem::NoFreeSlot { max: self.max_slots, free, inactive });
        }
        if self.senders >= self.max_senders {
            problems.push(SourceProblem::NoFreeSender { max: self.max_senders });
        }
        problems
    }
}

fn table_problems(captured: &Captured, role: &str, needs_identity: bool) -> Vec<SourceProblem> {
    let mut problems = Vec::new();
    let named = |tables: &[&CapturedTable]| -> Vec<TableName> {
        tables.iter().map(|table| table.name.clone()).collect()
    };
    let select = |wanted: fn(&CapturedTable) -> bool| -> Vec<&CapturedTable> {
        captured.tables.iter().filter(|table| wanted(table)).collect()
    };

    let unreadable = select(|table| !table.readable || !table.schema_usable);
    if !unreadable.is_empty() {
        let sql = grant_sql(&unreadable, role);
        let tables = named(&unreadable);
        problems.push(SourceProblem::NotReadable { role: role.to_owned(), tables, sql });
    }
    let hidden = select(|table| table.rows_hidden);
    if !hidden.is_empty() {
        let sql = format!("ALTER ROLE {} BYPASSRLS", Ident(role));
        let tables = named(&hidden);
        problems.push(SourceProblem::RowSecurity { role: role.to_owned(), tables, sql });
    }
    let without: Vec<_> = captured.without_identity().filter(|_| needs_identity).collect();
    if !without.is_empty() {
        let sql = without.iter().map(|table| identity_sql(table)).collect::<Vec<_>>().join("; ");
        problems.push(SourceProblem::NoReplicaIdentity { tables: named(&without), sql });
    }
    let computed: Vec<_> = captured.with_virtual_identity().filter(|_| needs_identity).collect();
    if !computed.is_empty() {
        problems.push(SourceProblem::VirtualIdentity { tables: named(&computed) });
    }
    let excluded = select(|table| !table.missing_key_columns.is_empty());
    problems.extend(excluded.into_iter().map(|table| SourceProblem::KeyExcluded {
        table: table.name.clone(),
        columns: table.missing_key_columns.clone(),
    }));
    if captured.has_large_objects {
        problems.push(SourceProblem::LargeObjects);
    }
    problems
}

/// The statements that let us read the tables.
fn grant_sql(tables: &[&CapturedTable], role: &str) -> String {
    let role = Ident(role);
    let schemas: BTreeSet<&str> = tables
        .iter()
        .filter(|table| !table.schema_usable)
        .map(|table| table.name.schema.as_str())
        .collect();
    let unreadable: Vec<_> =
        tables.iter().filter(|table| !table.readable).map(|table| table.name.quoted()).collect();
    let mut statements = Vec::new();
    if !schemas.is_empty() {
        let schemas = list(schemas.into_iter().map(Ident));
        statements.push(format!("GRANT USAGE ON SCHEMA {schemas} TO {role}"));
    }
    if !unreadable.is_empty() {
        statements.push(format!("GRANT SELECT ON {} TO {role}", list(unreadable)));
    }
    statements.join("; ")
}

/// The statement that gives a table without replica identity one: its primary key where that will
/// do, or else the whole row. It takes an exclusive lock on the table, for a moment.
#[must_use]
pub fn identity_sql(table: &CapturedTable) -> String {
    let identity = if table.has_usable_key() { "DEFAULT" } else { "FULL" };
    format!("ALTER TABLE {} REPLICA IDENTITY {identity}", table.name.quoted())
}
