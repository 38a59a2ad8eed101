//! The table of `spec.target.sgCluster.debeziumProperties`, and the words its rows may have.

use serde::Deserialize;

use super::properties;

properties! {
    /// `spec.target.sgCluster.debeziumProperties`.
    pub struct SinkProperties {
        /// How a row is written; default `upsert`.
        "insertMode" => insert_mode: InsertMode = InsertMode::Upsert;
        /// What makes a row's key; default `record_key`.
        "primaryKeyMode" => primary_key_mode: PrimaryKeyMode = PrimaryKeyMode::RecordKey;
        /// Apply deletes; default true.
        "deleteEnabled" => delete_enabled: bool = true;
        /// Apply truncates; default true.
        "truncateEnabled" => truncate_enabled: bool = true;
        /// What happens when a table is missing or differs; default `basic`.
        "schemaEvolution" => schema_evolution: SchemaEvolution = SchemaEvolution::Basic;
    }
    other {
        "connectionUrlParameters": Text,
        "detectInsertMode": Boolean,
        "removePlaceholders": Boolean,
        "connectionPoolMin_size": Integer,
        "connectionPoolMax_size": Integer,
        "connectionPoolAcquire_increment": Integer,
        "connectionPoolTimeout": Integer,
        "connectionRestartOnErrors": Boolean,
        "useTimeZone": Text,
        "primaryKeyFields": List,
        "quoteIdentifiers": Boolean,
        "collectionNameFormat": Text,
        "dialectPostgresPostgisSchema": Text,
        "dialectSqlserverIdentityInsert": Boolean,
        "batchSize": Integer,
        "useReductionBuffer": Boolean,
        "flushMaxRetries": Integer,
        "flushRetryDelayMs": Integer,
        "columnNamingStrategy": Text,
        "collectionNamingStrategy": Text,
    }
}

/// `insertMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InsertMode {
    /// An insert that overwrites a row with the same key.
    Upsert,
    /// An insert.
    Insert,
    /// An update.
    Update,
}

/// `primaryKeyMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrimaryKeyMode {
    /// No key.
    None,
    /// The key of the event.
    RecordKey,
    /// Columns of the row.
    RecordValue,
    /// Headers of the event.
    RecordHeader,
}

/// `schemaEvolution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaEvolution {
    /// An error.
    None,
    /// Tables and columns are added.
    Basic,
}
