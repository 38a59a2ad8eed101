//! What can be the matter with a source, each with its remedy.

use super::preflight::NEW_SLOTS;
use crate::relation::TableName;
use crate::sql::list;

/// Something of the source that keeps a stream from working, or that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceProblem {
    /// The server is older than PostgreSQL 14.
    ///
    /// Remedy: upgrade it, for example with `pg_upgrade`.
    #[error("the server is PostgreSQL {version}, and a stream needs 14 or later: upgrade it")]
    ServerTooOld {
        /// Its version.
        version: String,
    },
    /// The log does not hold what decoding needs.
    ///
    /// Remedy: set `wal_level = logical` and restart the server. It costs a little more log, and nothing else.
    #[error(
        "`wal_level` is `{value}`, and a stream needs `logical`: run \
         `ALTER SYSTEM SET wal_level = 'logical'` and restart the server (managed services: \
         `rds.logical_replication = 1`, `cloudsql.logical_decoding = on`)"
    )]
    WalLevel {
        /// Its setting.
        value: String,
    },
    /// The role may not replicate.
    ///
    /// Remedy: run the statement of the message as a superuser; at managed services grant their role for it (`rds_replication`).
    #[error("role `{role}` may not replicate: run `{sql}` as a superuser")]
    NoReplicationRight {
        /// The role.
        role: String,
        /// The statement to run.
        sql: String,
    },
    /// Too few slots are free: one is for the stream, and two are for a moment only, while its snapshot is taken.
    ///
    /// Remedy: drop a slot that nobody needs; each keeps log on the disk. Or raise `max_replication_slots` and restart the server.
    #[error(
        "a new stream takes three replication slots until its snapshot is copied, and then one; the server has \
         {free} of {max} free (`max_replication_slots`; not in use: {inactive}): drop one that nobody \
         needs with `SELECT pg_drop_replication_slot('…')`, or run \
         `ALTER SYSTEM SET max_replication_slots = {wanted}` and restart the server",
        inactive = names(.inactive),
        wanted = .max + NEW_SLOTS - .free
    )]
    NoFreeSlot {
        /// How many there are.
        max: u32,
        /// How many of them nobody has.
        free: u32,
        /// The slots that nobody reads now.
        inactive: Vec<String>,
    },
    /// Every WAL sender is taken.
    ///
    /// Remedy: stop a replication connection that nobody needs, or raise `max_wal_senders` and restart the server.
    #[error(
        "all {max} WAL senders of the server are taken (`max_wal_senders`): stop one that nobody \
         needs (`SELECT * FROM pg_stat_replication`), or run \
         `ALTER SYSTEM SET max_wal_senders = {wanted}` and restart the server",
        wanted = .max + 1
    )]
    NoFreeSender {
        /// How many there are.
        max: u32,
    },
    /// The role may not read tables that are captured.
    ///
    /// Remedy: run the statement of the message as the owner, or exclude the tables.
    #[error("role `{role}` may not read {} captured table(s): run `{sql}`", .tables.len())]
    NotReadable {
        /// The role.
        role: String,
        /// The tables.
        tables: Vec<TableName>,
        /// The statement to run.
        sql: String,
    },
    /// Row security would hide rows from the role, and the copy would lack them without a word.
    ///
    /// Remedy: run the statement of the message (`BYPASSRLS`), or exclude the tables.
    #[error(
        "row security would hide rows of {} captured table(s) from role `{role}` ({tables}): run \
         `{sql}` as a superuser",
        .tables.len(),
        tables = names(.tables)
    )]
    RowSecurity {
        /// The role.
        role: String,
        /// The tables.
        tables: Vec<TableName>,
        /// The statement to run.
        sql: String,
    },
    /// The tables have no key, and updates and deletes of them would fail once they are published.
    ///
    /// Remedy: run the statement of the message; `REPLICA IDENTITY FULL` makes the log larger, a primary key is better.
    #[error(
        "{} captured table(s) have no replica identity, so that the server refuses every UPDATE and \
         DELETE of them, the application's own too, once they are published: run `{sql}`",
        .tables.len()
    )]
    NoReplicaIdentity {
        /// The tables.
        tables: Vec<TableName>,
        /// The statements to run.
        sql: String,
    },
    /// Tables whose UPDATE and DELETE fail once they are published, whatever is published of them: the server cannot log whole rows with
    /// virtual generated columns.
    ///
    /// Remedy: give each a primary key and `REPLICA IDENTITY DEFAULT`, or exclude it.
    #[error(
        "the server refuses every UPDATE and DELETE of {} captured table(s) once they are published, the application's own \
         too, because it cannot log whole rows with virtual generated columns ({tables}): give each a primary key and \
         `REPLICA IDENTITY DEFAULT`, or exclude it",
        .tables.len(),
        tables = names(.tables)
    )]
    VirtualIdentity {
        /// The tables.
        tables: Vec<TableName>,
    },
    /// A key column is left out, by the filter or because it is generated.
    ///
    /// Remedy: capture the key, exclude the whole table, or give it another `REPLICA IDENTITY`.
    #[error(
        "key columns of table `{table}` are not captured ({columns}: excluded, or generated), so \
         that its rows cannot be told apart: take them out of `excludes`, or exclude the table",
        columns = names(.columns)
    )]
    KeyExcluded {
        /// The table.
        table: TableName,
        /// The columns.
        columns: Vec<String>,
    },
    /// The publication sends changes of partitions under the names of their roots, and some partitions are not captured as their root is:
    /// excluded, unlogged or foreign, with other columns, or with another `REPLICA IDENTITY`. Under one name they cannot be told apart.
    ///
    /// Remedy: capture the root with all its partitions and give them one `REPLICA IDENTITY`; or do without the roots' names, as the message says.
    #[error(
        "publication `{publication}` sends changes of partitions under the names of their roots \
         (`publish_via_partition_root`), which does not go for partitions that are not captured as their root is (excluded, \
         unlogged or foreign, or with other columns or another REPLICA IDENTITY): {}; capture them as their root, or {remedy}",
        names(.tables)
    )]
    ViaPartitionRoot {
        /// The publication.
        publication: String,
        /// The partitions.
        tables: Vec<TableName>,
        /// What to do without the roots' names.
        remedy: String,
    },
    /// A warning: the server says nothing of a `TRUNCATE` of a single partition when changes come under the roots' names.
    ///
    /// Remedy: use `DELETE` for the rows of a single partition, or truncate the root.
    #[error(
        "changes of partitions come under the names of their roots, so that a TRUNCATE, DETACH or DROP of a single partition does not \
         reach the target, whose rows stay; a partition that is attached has the whole table copied again: {}",
        names(.roots)
    )]
    TruncatedParts {
        /// The roots.
        roots: Vec<TableName>,
    },
    /// A warning: `publishViaPartitionRoot` is for a publication that the stream makes, and this one is there.
    ///
    /// Remedy: run the statement of the message, or remove the property.
    #[error(
        "publication `{publication}` is there, and publishes partitions under their own names whatever `publishViaPartitionRoot` \
         says: to change that, run `{sql}` and empty the roots at the target, where they are copied under these names then"
    )]
    NotViaPartitionRoot {
        /// The publication.
        publication: String,
        /// The statement to run.
        sql: String,
    },
    /// The server is a standby of a version that cannot decode.
    ///
    /// Remedy: connect to the primary, or upgrade to 16.
    #[error(
        "the server is a standby, and a standby of PostgreSQL {version} cannot decode its log \
         (16 and later can): connect to the primary"
    )]
    StandbyTooOld {
        /// Its version.
        version: String,
    },
    /// A warning: the server is a standby. A new slot waits there until the primary tells which transactions run.
    ///
    /// Remedy: run `SELECT pg_log_standby_snapshot()` on the primary if the start takes long.
    #[error(
        "the server is a standby: creating the slot may wait until the primary says which \
         transactions run (`SELECT pg_log_standby_snapshot()` there), and publications are made there"
    )]
    Standby,
    /// A warning: the database has no encoding, so that texts are bytes of any.
    ///
    /// Remedy: none is needed for a target without encoding; otherwise the stream stops at the first row that is not UTF-8: correct such rows
    /// before it begins.
    #[error(
        "the database has no encoding (`SQL_ASCII`): a row whose text is not UTF-8 stops the stream at that row, unless the target \
         has none either"
    )]
    SqlAscii,
    /// A warning: there are large objects, which the log does not show.
    ///
    /// Remedy: copy them by other means, or keep such values in `bytea` columns.
    #[error(
        "the database holds large objects, which the log does not show: they are not captured; \
         copy them by other means"
    )]
    LargeObjects,
}

impl SourceProblem {
    /// Whether a stream cannot start before it is solved; the others are to be told and lived with.
    #[must_use]
    pub const fn is_blocking(&self) -> bool {
        match self {
            Self::ServerTooOld { .. }
            | Self::WalLevel { .. }
            | Self::NoReplicationRight { .. }
            | Self::NoFreeSlot { .. }
            | Self::NoFreeSender { .. }
            | Self::NotReadable { .. }
            | Self::RowSecurity { .. }
            | Self::VirtualIdentity { .. }
            | Self::KeyExcluded { .. }
            | Self::ViaPartitionRoot { .. }
            | Self::StandbyTooOld { .. } => true,
            Self::NoReplicaIdentity { .. }
            | Self::TruncatedParts { .. }
            | Self::NotViaPartitionRoot { .. }
            | Self::Standby
            | Self::SqlAscii
            | Self::LargeObjects => false,
        }
    }
}

fn names<T: std::fmt::Display>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    list(names.iter().map(|name| format!("`{name}`")))
}
