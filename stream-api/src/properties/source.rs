//! The table of `spec.source.*.debeziumProperties`, and the words its rows may have.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::{Millis, properties};

properties! {
    /// `spec.source.*.debeziumProperties`: the same for every source.
    pub struct SourceProperties {
        /// When to take a snapshot; default `initial`.
        "snapshotMode" => snapshot_mode: SnapshotMode = SnapshotMode::Initial;
        /// Readers of a snapshot; default 1.
        "snapshotMaxThreads" => snapshot_max_threads: NonZeroU32 = NonZeroU32::MIN;
        /// Rows fetched per round trip during a snapshot; default 10240.
        "snapshotFetchSize" => snapshot_fetch_size: u32 = 10_240;
        /// Name of the replication slot; unset: see [`names::slot`](crate::names::slot).
        "slotName" => slot_name: Option<String> = None;
        /// Drop the slot whenever the stream stops; default false, because changes made meanwhile would be lost.
        "slotDropOnStop" => slot_drop_on_stop: bool = false;
        /// Name of the publication; unset: that of the slot.
        "publicationName" => publication_name: Option<String> = None;
        /// Whether and how the publication is created; default `filtered`.
        "publicationAutocreateMode" => publication_autocreate_mode: PublicationAutocreateMode = PublicationAutocreateMode::Filtered;
        /// Publish changes of partitions as those of their root; default false.
        "publishViaPartitionRoot" => publish_via_partition_root: bool = false;
        /// How often the position is confirmed to the server; default 10000 ms.
        "statusUpdateIntervalMs" => status_update_interval: Millis = Millis::new(10_000);
        /// Operations that are left out; default none, truncates included.
        "skippedOperations" => skipped_operations: Vec<Operation> = Vec::new();
        /// How `bytea` is shown; default `bytes`.
        "binaryHandlingMode" => binary_handling_mode: BinaryHandlingMode = BinaryHandlingMode::Bytes;
        /// How times and dates are shown; default `adaptive`.
        "timePrecisionMode" => time_precision_mode: TimePrecisionMode = TimePrecisionMode::Adaptive;
        /// How `numeric` and `money` are shown; default `precise`.
        "decimalHandlingMode" => decimal_handling_mode: DecimalHandlingMode = DecimalHandlingMode::Precise;
        /// How `hstore` is shown; default `json`.
        "hstoreHandlingMode" => hstore_handling_mode: HstoreHandlingMode = HstoreHandlingMode::Json;
        /// How `interval` is shown; default `numeric`.
        "intervalHandlingMode" => interval_handling_mode: IntervalHandlingMode = IntervalHandlingMode::Numeric;
    }
    other {
        "pluginName": Text,
        "slotFailover": Boolean,
        "skipMessagesWithoutChange": Boolean,
        "tombstonesOnDelete": Boolean,
        "columnTruncateToLengthChars": List,
        "columnMaskWithLengthChars": List,
        "columnMaskHash": ListTree,
        "columnMaskHashV2": ListTree,
        "columnPropagateSourceType": List,
        "datatypePropagateSourceType": List,
        "messageKeyColumns": List,
        "replicaIdentityAutosetValues": List,
        "schemaNameAdjustmentMode": Text,
        "fieldNameAdjustmentMode": Text,
        "moneyFractionDigits": Integer,
        "messagePrefixIncludeList": List,
        "messagePrefixExcludeList": List,
        "converters": MapTree,
        "snapshotIsolationMode": Text,
        "snapshotModeConfigurationBasedSnapshotData": Boolean,
        "snapshotModeConfigurationBasedSnapshotSchema": Boolean,
        "snapshotModeConfigurationBasedStartStream": Boolean,
        "snapshotModeConfigurationBasedSnapshotOnSchemaError": Boolean,
        "snapshotModeConfigurationBasedSnapshotOnDataError": Boolean,
        "snapshotModeCustomName": Text,
        "snapshotLockingMode": Text,
        "snapshotLockingModeCustomName": Text,
        "snapshotQueryMode": Text,
        "snapshotQueryModeCustomName": Text,
        "snapshotIncludeCollectionList": List,
        "snapshotLockTimeoutMs": Integer,
        "snapshotSelectStatementOverrides": Map,
        "eventProcessingFailureHandlingMode": Text,
        "maxBatchSize": Integer,
        "maxQueueSize": Integer,
        "maxQueueSizeInBytes": Integer,
        "pollIntervalMs": Integer,
        "includeUnknownDatatypes": Boolean,
        "databaseInitialStatements": List,
        "heartbeatIntervalMs": Integer,
        "heartbeatActionQuery": Text,
        "schemaRefreshMode": Text,
        "snapshotDelayMs": Integer,
        "streamingDelayMs": Integer,
        "slotStreamParams": Map,
        "slotMaxRetries": Integer,
        "slotRetryDelayMs": Integer,
        "unavailableValuePlaceholder": Text,
        "provideTransactionMetadata": Boolean,
        "flushLsnSource": Boolean,
        "retriableRestartConnectorWaitMs": Integer,
        "signalDataCollection": Text,
        "signalEnabledChannels": List,
        "notificationEnabledChannels": List,
        "incrementalSnapshotChunkSize": Integer,
        "incrementalSnapshotWatermarkingStrategy": Text,
        "readOnly": Boolean,
        "xminFetchIntervalMs": Integer,
        "topicNamingStrategy": Text,
        "topicDelimiter": Text,
        "topicCacheSize": Integer,
        "topicHeartbeatPrefix": Text,
        "topicTransaction": Text,
        "customMetricTags": Map,
        "errorsMaxRetries": Integer,
        "databaseQueryTimeoutMs": Integer,
        "guardrailCollectionsMax": Integer,
        "guardrailCollectionsLimitAction": Text,
        "extendedHeadersEnabled": Boolean,
    }
}

/// `snapshotMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// At every start.
    Always,
    /// At the first start.
    Initial,
    /// At the first start; then the stream is complete.
    InitialOnly,
    /// Never: changes only. Also written `never`.
    #[serde(alias = "never")]
    NoData,
    /// At the first start, and when the slot no longer holds what is needed.
    WhenNeeded,
    /// As the `snapshotModeConfigurationBased…` properties say.
    ConfigurationBased,
    /// By a Java class: refused when a document is loaded.
    Custom,
}

/// `publicationAutocreateMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationAutocreateMode {
    /// `FOR ALL TABLES`.
    AllTables,
    /// Not created: it must exist.
    Disabled,
    /// For the captured tables.
    Filtered,
    /// Without a table.
    NoTables,
}

/// An entry of `skippedOperations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Operation {
    /// `c`: inserts.
    #[serde(rename = "c")]
    Create,
    /// `u`: updates.
    #[serde(rename = "u")]
    Update,
    /// `d`: deletes.
    #[serde(rename = "d")]
    Delete,
    /// `t`: truncates.
    #[serde(rename = "t")]
    Truncate,
    /// `none`: nothing is skipped.
    #[serde(rename = "none")]
    None,
}

/// `binaryHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryHandlingMode {
    /// Bytes, which are base64 in JSON.
    Bytes,
    /// Base64.
    Base64,
    /// Base64 in the alphabet for URLs.
    Base64UrlSafe,
    /// Hexadecimal, lower case.
    Hex,
}

/// `timePrecisionMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePrecisionMode {
    /// The unit follows the column's precision.
    Adaptive,
    /// As `adaptive`, but `time` always in microseconds.
    AdaptiveTimeMicroseconds,
    /// Milliseconds always.
    Connect,
    /// ISO 8601 text.
    #[serde(rename = "isostring")]
    IsoString,
    /// Microseconds always.
    Microseconds,
    /// Nanoseconds always.
    Nanoseconds,
}

/// `decimalHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalHandlingMode {
    /// Exact, as bytes and scale.
    Precise,
    /// A floating-point number.
    Double,
    /// Text.
    String,
}

/// `hstoreHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HstoreHandlingMode {
    /// JSON text.
    Json,
    /// A map.
    Map,
}

/// `intervalHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalHandlingMode {
    /// Microseconds.
    Numeric,
    /// ISO 8601 text.
    String,
}
