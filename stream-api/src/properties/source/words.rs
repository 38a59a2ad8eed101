//! The words that properties of the source may have, as users write them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::properties::words;

words! {
    /// `pluginName`.
    pub enum PluginName {
        /// Part of PostgreSQL.
        Pgoutput = "pgoutput",
        /// An extension that writes Protocol Buffers.
        Decoderbufs = "decoderbufs",
    }
}

words! {
    /// `timePrecisionMode`.
    pub enum TimePrecisionMode {
        /// The unit follows the column's precision: milliseconds up to 3 digits, microseconds otherwise.
        Adaptive = "adaptive",
        /// As `adaptive`, but `time` always in microseconds.
        AdaptiveTimeMicroseconds = "adaptive_time_microseconds",
        /// Milliseconds always: finer digits are lost.
        Connect = "connect",
        /// ISO 8601 text.
        IsoString = "isostring",
        /// Microseconds always.
        Microseconds = "microseconds",
        /// Nanoseconds always.
        Nanoseconds = "nanoseconds",
    }
}

words! {
    /// `decimalHandlingMode`.
    pub enum DecimalHandlingMode {
        /// Exact: the digits as a whole number in base64, its scale apart.
        Precise = "precise",
        /// A floating-point number: digits can be lost.
        Double = "double",
        /// Exact, as text.
        String = "string",
    }
}

words! {
    /// `hstoreHandlingMode`.
    pub enum HstoreHandlingMode {
        /// JSON, as text.
        Json = "json",
        /// An object.
        Map = "map",
    }
}

words! {
    /// `intervalHandlingMode`.
    pub enum IntervalHandlingMode {
        /// Microseconds, a month counted as 30.4375 days.
        Numeric = "numeric",
        /// ISO 8601 text, exact.
        String = "string",
    }
}

words! {
    /// `publicationAutocreateMode`.
    pub enum PublicationAutocreateMode {
        /// It is created `FOR ALL TABLES`, which takes a superuser.
        AllTables = "all_tables",
        /// It is not created: it must exist.
        Disabled = "disabled",
        /// It is created for the captured tables.
        Filtered = "filtered",
        /// It is created without a table: somebody adds them.
        NoTables = "no_tables",
    }
}

words! {
    /// `binaryHandlingMode`.
    pub enum BinaryHandlingMode {
        /// Bytes, which are base64 in JSON.
        Bytes = "bytes",
        /// Base64.
        Base64 = "base64",
        /// Base64 in the alphabet for URLs.
        Base64UrlSafe = "base64-url-safe",
        /// Hexadecimal, lower case.
        Hex = "hex",
    }
}

words! {
    /// `schemaNameAdjustmentMode` and `fieldNameAdjustmentMode`.
    pub enum NameAdjustmentMode {
        /// Names stay as they are.
        None = "none",
        /// What Avro does not allow becomes `_`.
        Avro = "avro",
        /// What Avro does not allow becomes `_u` and its number in Unicode.
        AvroUnicode = "avro_unicode",
    }
}

words! {
    /// `snapshotIsolationMode`.
    pub enum SnapshotIsolationMode {
        /// `SERIALIZABLE`, `DEFERRABLE`.
        Serializable = "serializable",
        /// `REPEATABLE READ`.
        RepeatableRead = "repeatable_read",
        /// `READ COMMITTED`.
        ReadCommitted = "read_committed",
        /// `READ UNCOMMITTED`.
        ReadUncommitted = "read_uncommitted",
    }
}

words! {
    /// `snapshotMode`.
    pub enum SnapshotMode {
        /// Rows are copied at every start, then changes follow.
        Always = "always",
        /// Rows are copied at the first start, then changes follow.
        Initial = "initial",
        /// Rows are copied at the first start, then the stream is complete.
        InitialOnly = "initial_only",
        /// No rows are copied: changes only.
        NoData = "no_data",
        /// An older word for `no_data`.
        Never = "never",
        /// As `initial`. A slot that lost changes stops the stream, and the message says how to copy again.
        WhenNeeded = "when_needed",
        /// As the `snapshotModeConfigurationBased…` properties say.
        ConfigurationBased = "configuration_based",
        /// By a Java class, which cannot run here: refused.
        Custom = "custom",
    }
}

words! {
    /// `snapshotLockingMode`.
    pub enum SnapshotLockingMode {
        /// Tables are not locked.
        None = "none",
        /// Tables cannot be altered during the snapshot.
        Shared = "shared",
    }
}

words! {
    /// `snapshotQueryMode`.
    pub enum SnapshotQueryMode {
        /// Every row, with its captured columns.
        SelectAll = "select_all",
    }
}

words! {
    /// `eventProcessingFailureHandlingMode`.
    pub enum FailureHandlingMode {
        /// The stream stops.
        Fail = "fail",
        /// It is left out, with a line in the log.
        Warn = "warn",
        /// It is left out.
        Skip = "skip",
    }
}

words! {
    /// `schemaRefreshMode`.
    pub enum SchemaRefreshMode {
        /// Whenever a change does not fit it.
        ColumnsDiff = "columns_diff",
        /// The same, but not for large values that the log leaves out.
        ColumnsDiffExcludeUnchangedToast = "columns_diff_exclude_unchanged_toast",
    }
}

words! {
    /// An entry of `skippedOperations`.
    pub enum Operation {
        /// Inserts.
        Create = "c",
        /// Updates.
        Update = "u",
        /// Deletes.
        Delete = "d",
        /// Truncates.
        Truncate = "t",
        /// Nothing is skipped.
        None = "none",
    }
}

words! {
    /// An entry of `signalEnabledChannels`.
    pub enum SignalChannel {
        /// Annotations of the `SGStream`.
        SgstreamAnnotations = "sgstream-annotations",
        /// Rows of the table that `signalDataCollection` names.
        Source = "source",
        /// A topic: there are none here.
        Kafka = "kafka",
        /// A file: not read here.
        File = "file",
        /// Calls into a JVM: there is none here.
        Jmx = "jmx",
    }
}

words! {
    /// An entry of `notificationEnabledChannels`.
    pub enum NotificationChannel {
        /// The stream's target.
        Sink = "sink",
        /// The log.
        Log = "log",
        /// Calls into a JVM: there is none here.
        Jmx = "jmx",
    }
}

words! {
    /// `incrementalSnapshotWatermarkingStrategy`.
    pub enum WatermarkingStrategy {
        /// A row when the chunk begins, another one when it ends.
        InsertInsert = "insert_insert",
        /// A row when the chunk begins, which is deleted when it ends.
        InsertDelete = "insert_delete",
    }
}

words! {
    /// `guardrailCollectionsLimitAction`.
    pub enum GuardrailAction {
        /// A line in the log.
        Warn = "warn",
        /// The stream does not start.
        Fail = "fail",
    }
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
