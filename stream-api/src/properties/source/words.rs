//! The words that properties of the source may have, as users write them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `pluginName`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PluginName {
    /// Part of PostgreSQL.
    Pgoutput,
    /// An extension that writes Protocol Buffers.
    Decoderbufs,
}

/// `timePrecisionMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePrecisionMode {
    /// The unit follows the column's precision: milliseconds up to 3 digits, microseconds otherwise.
    Adaptive,
    /// As `adaptive`, but `time` always in microseconds.
    AdaptiveTimeMicroseconds,
    /// Milliseconds always: finer digits are lost.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalHandlingMode {
    /// Exact: the digits as a whole number in base64, its scale apart.
    Precise,
    /// A floating-point number: digits can be lost.
    Double,
    /// Exact, as text.
    String,
}

/// `hstoreHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HstoreHandlingMode {
    /// JSON, as text.
    Json,
    /// An object.
    Map,
}

/// `intervalHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalHandlingMode {
    /// Microseconds, a month counted as 30.4375 days.
    Numeric,
    /// ISO 8601 text, exact.
    String,
}

/// `publicationAutocreateMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublicationAutocreateMode {
    /// It is created `FOR ALL TABLES`, which takes a superuser.
    AllTables,
    /// It is not created: it must exist.
    Disabled,
    /// It is created for the captured tables.
    Filtered,
    /// It is created without a table: somebody adds them.
    NoTables,
}

/// `binaryHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// `schemaNameAdjustmentMode` and `fieldNameAdjustmentMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameAdjustmentMode {
    /// Names stay as they are.
    None,
    /// What Avro does not allow becomes `_`.
    Avro,
    /// What Avro does not allow becomes `_u` and its number in Unicode.
    AvroUnicode,
}

/// `snapshotIsolationMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotIsolationMode {
    /// `SERIALIZABLE`, `DEFERRABLE`.
    Serializable,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `READ UNCOMMITTED`.
    ReadUncommitted,
}

/// `snapshotMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// Rows are copied at every start, then changes follow.
    Always,
    /// Rows are copied at the first start, then changes follow.
    Initial,
    /// Rows are copied at the first start, then the stream is complete.
    InitialOnly,
    /// No rows are copied: changes only.
    NoData,
    /// An older word for `no_data`.
    Never,
    /// As `initial`. A slot that lost changes stops the stream, and the message says how to copy again.
    WhenNeeded,
    /// As the `snapshotModeConfigurationBased…` properties say.
    ConfigurationBased,
    /// By a Java class, which cannot run here: refused.
    Custom,
}

/// `snapshotLockingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotLockingMode {
    /// Tables are not locked.
    None,
    /// Tables cannot be altered during the snapshot.
    Shared,
}

/// `snapshotQueryMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotQueryMode {
    /// Every row, with its captured columns.
    SelectAll,
}

/// `eventProcessingFailureHandlingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureHandlingMode {
    /// The stream stops.
    Fail,
    /// It is left out, with a line in the log.
    Warn,
    /// It is left out.
    Skip,
}

/// `schemaRefreshMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaRefreshMode {
    /// Whenever a change does not fit it.
    ColumnsDiff,
    /// The same, but not for large values that the log leaves out.
    ColumnsDiffExcludeUnchangedToast,
}

/// An entry of `skippedOperations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operation {
    /// Inserts.
    #[serde(rename = "c")]
    Create,
    /// Updates.
    #[serde(rename = "u")]
    Update,
    /// Deletes.
    #[serde(rename = "d")]
    Delete,
    /// Truncates.
    #[serde(rename = "t")]
    Truncate,
    /// Nothing is skipped.
    #[serde(rename = "none")]
    None,
}

/// An entry of `signalEnabledChannels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignalChannel {
    /// Annotations of the `SGStream`.
    SgstreamAnnotations,
    /// Rows of the table that `signalDataCollection` names.
    Source,
    /// A topic: there are none here.
    Kafka,
    /// A file: not read here.
    File,
    /// Calls into a JVM: there is none here.
    Jmx,
}

/// An entry of `notificationEnabledChannels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationChannel {
    /// The stream's target.
    Sink,
    /// The log.
    Log,
    /// Calls into a JVM: there is none here.
    Jmx,
}

/// `incrementalSnapshotWatermarkingStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkingStrategy {
    /// A row when the chunk begins, another one when it ends.
    InsertInsert,
    /// A row when the chunk begins, which is deleted when it ends.
    InsertDelete,
}

/// `guardrailCollectionsLimitAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailAction {
    /// A line in the log.
    Warn,
    /// The stream does not start.
    Fail,
}

/// `columnMaskHash` and `columnMaskHashV2`: by algorithm and salt, the columns to hash.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ColumnHashes(pub BTreeMap<String, BTreeMap<String, Vec<String>>>);

// Without the salts: who has them can try values until a hash fits.
impl fmt::Debug for ColumnHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = |(algorithm, salts)| (algorithm, BTreeMap::values(salts).collect::<Vec<_>>());
        f.debug_map().entries(self.0.iter().map(columns)).finish()
    }
}
