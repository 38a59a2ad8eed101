//! The table of `spec.target.sgCluster.debeziumProperties`, and the words its rows may have.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Boolean, Integer, Millis, Text, properties};

properties! {
    /// `spec.target.sgCluster.debeziumProperties`.
    pub struct SinkProperties {
        /// Parameters for the URL of the target's JDBC driver.
        "connectionUrlParameters": Text = none, Rejected("there is no JDBC driver here: remove it; `tls` of the target says how its connections are protected");
        /// Find out for each change whether to insert or to update. Default: true.
        "detectInsertMode": Boolean = "true", Ignored("each change is written as what it was at the source, and an insert that meets its key overwrites the row");
        /// Leave large values that did not change out of an update. Default: true.
        "removePlaceholders": Boolean = "true", Ignored("such values are always left out: the target keeps those it has");
        /// Least sessions that are kept open to the target. Default: 5.
        "connectionPoolMin_size" => connection_pool_min_size: u32 = "5", Ignored("not implemented yet: sessions are opened as they are needed");
        /// Most sessions that are open to the target at the same time. From 1. Default: 32.
        "connectionPoolMax_size" => connection_pool_max_size: NonZeroU32 = "32", Ignored("not implemented yet: there are no more than the copy and the building of indexes need");
        /// Sessions that are opened at a time when there are too few. Default: 32.
        "connectionPoolAcquire_increment": Integer = "32", Ignored("sessions are opened one by one");
        /// How long an idle session to the target is kept, in seconds. Default: 1800.
        "connectionPoolTimeout": Integer = "1800", Ignored("the session that writes changes is kept as long as the stream runs");
        /// Connect to the target again when a connection was lost. Default: false.
        "connectionRestartOnErrors": Boolean = "false", Ignored("a lost connection is always opened again, see `spec.maxRetries`");
        /// Time zone in which times are written. Default: `UTC`.
        "useTimeZone": Text = "UTC", Ignored("times arrive as they stand at the source, whatever the zone");
        /// Apply the source's deletes. Default: true.
        "deleteEnabled" => delete_enabled: bool = "true", Ignored("not implemented yet: deletes are applied, and `false` is refused");
        /// Apply the source's truncates. Default: true.
        "truncateEnabled" => truncate_enabled: bool = "true", Ignored("not implemented yet: truncates are applied, and `false` is refused");
        /// How rows are written. Default: `upsert`.
        "insertMode" => insert_mode: InsertMode = "upsert", Ignored("not implemented yet: rows are written as by `upsert`, and the others are refused");
        /// What makes the key by which a row is found. Default: `record_key`.
        "primaryKeyMode" => primary_key_mode: PrimaryKeyMode = "record_key", Ignored("not implemented yet: rows are found as by `record_key`, and the others are refused");
        /// Columns that make the key by which a row is found. Default: none, those that `primaryKeyMode` gives. Example: `[tenant, number]`.
        "primaryKeyFields" => primary_key_fields: Vec<String> = "[]", Ignored("not implemented yet: rows are found by the table's own key or replica identity");
        /// Put names of tables and columns into quotes. Default: true.
        "quoteIdentifiers": Boolean = "true", Ignored("names are always quoted: they arrive as they are, capital letters included");
        /// What happens when a table or a column is missing at the target. Default: `basic`.
        "schemaEvolution" => schema_evolution: SchemaEvolution = "basic", Ignored("not implemented yet: tables come with the import of the schema, and a missing column stops the stream");
        /// Pattern of the names that tables have at the target.
        "collectionNameFormat": Text = none, Rejected("tables keep their schema and name: remove it");
        /// Schema of the target in which PostGIS is. Default: `public`.
        "dialectPostgresPostgisSchema": Text = "public", Ignored("types are found in the schema in which the source has them");
        /// Allow values for the identity columns of an SQL Server. Default: false.
        "dialectSqlserverIdentityInsert": Boolean = "false", Ignored("the target is PostgreSQL, where values of identity columns always arrive");
        /// Most changes that are written at a time. Default: 500.
        "batchSize": Integer = "500", Ignored("batches are bounded by bytes");
        /// Write only the last of several changes to a row. Default: false.
        "useReductionBuffer": Boolean = "false", Ignored("every change is written, in the order of the source");
        /// How often a write that failed is tried again. Default: 5.
        "flushMaxRetries" => flush_max_retries: u32 = "5", Ignored("not implemented yet: the stream starts again from its last position, as `spec.maxRetries` allows");
        /// How long to wait before a write that failed is tried again, in milliseconds. Default: 1000.
        "flushRetryDelayMs" => flush_retry_delay: Millis = "1000", Ignored("not implemented yet: waits grow from half a second to a minute");
        /// How columns are named at the target: a Java class.
        "columnNamingStrategy": Text = none, Rejected("needs a Java class, which cannot run here: remove it, and columns keep their names");
        /// How tables are named at the target: a Java class.
        "collectionNamingStrategy": Text = none, Rejected("needs a Java class, which cannot run here: remove it, and tables keep their names");
    }
}

/// `insertMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InsertMode {
    /// An insert overwrites a row with the same key.
    Upsert,
    /// An insert that meets its key is an error.
    Insert,
    /// Every change is an update of the row with its key.
    Update,
}

/// `primaryKeyMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrimaryKeyMode {
    /// Nothing: rows are only added.
    None,
    /// The key that the change has: the primary key, or the replica identity.
    RecordKey,
    /// Columns of the row.
    RecordValue,
    /// Headers of the event.
    RecordHeader,
}

/// `schemaEvolution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaEvolution {
    /// The stream stops.
    None,
    /// It is created.
    Basic,
}
