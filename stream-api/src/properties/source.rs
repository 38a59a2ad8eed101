//! The table of `spec.source.*.debeziumProperties`.

mod words;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::{Boolean, Integer, List, MapTree, Millis, Text, properties};

pub use words::{
    BinaryHandlingMode, ColumnHashes, DecimalHandlingMode, FailureHandlingMode, GuardrailAction,
    HstoreHandlingMode, IntervalHandlingMode, NameAdjustmentMode, NotificationChannel, Operation,
    PluginName, PublicationAutocreateMode, SchemaRefreshMode, SignalChannel, SnapshotIsolationMode,
    SnapshotLockingMode, SnapshotMode, SnapshotQueryMode, TimePrecisionMode, WatermarkingStrategy,
};

properties! {
    /// `spec.source.*.debeziumProperties`: the same for every source.
    pub struct SourceProperties {
        /// The plugin that puts the source's log into messages. Default: `pgoutput`.
        "pluginName" => plugin_name: PluginName = "pgoutput", Ignored("`pgoutput` is always used: it is part of PostgreSQL, and the changes are the same");
        /// Name of the replication slot. 1 to 63 lower-case letters, digits and `_`. Unset: `<namespace>_<name>` of the stream, other
        /// characters turned to `_`. Example: `orders_slot`.
        "slotName" => slot_name: Option<String> = none, Honoured, Rule("self.size() <= 63 && self.matches('^[a-z0-9_]+$')", "slotName must be 1 to 63 lower-case letters, digits and `_`");
        /// Drop the replication slot whenever the stream stops. Default: false.
        "slotDropOnStop" => slot_drop_on_stop: bool = "false", Ignored("the slot is kept while the stream is stopped, because changes made meanwhile would be lost without it");
        /// Have standbys that synchronise slots keep the stream's slot too. The stream then goes on after a failover of the source. PostgreSQL
        /// 17 or newer. Default: false.
        "slotFailover" => slot_failover: bool = "false", Honoured;
        /// Name of the publication. Unset: the name of the slot. One that is named here is kept when the stream completes. Example: `orders_pub`.
        "publicationName" => publication_name: Option<String> = none, Honoured, Rule("self.size() >= 1 && bytes(self).size() <= 63", "publicationName must be 1 to 63 bytes");
        /// Leave out updates that change no captured column. Needs tables with `REPLICA IDENTITY FULL`. Default: false.
        /// A PostgreSQL target gets them all.
        "skipMessagesWithoutChange" => skip_messages_without_change: bool = "false", Honoured;
        /// How dates and times stand in events. A PostgreSQL target gets them as the source writes them. Default: `adaptive`.
        "timePrecisionMode" => time_precision_mode: TimePrecisionMode = "adaptive", Honoured;
        /// How `numeric` and `money` stand in events. A PostgreSQL target gets them as the source writes them. Default: `precise`.
        "decimalHandlingMode" => decimal_handling_mode: DecimalHandlingMode = "precise", Honoured;
        /// How `hstore` stands in events. A PostgreSQL target gets it as the source writes it. Default: `json`.
        "hstoreHandlingMode" => hstore_handling_mode: HstoreHandlingMode = "json", Honoured;
        /// How `interval` stands in events. A PostgreSQL target gets it as the source writes it. Default: `numeric`.
        "intervalHandlingMode" => interval_handling_mode: IntervalHandlingMode = "numeric", Honoured;
        /// Follow each delete with an empty record, for the compaction of a topic. Default: true.
        "tombstonesOnDelete": Boolean = "true", Ignored("a delete is one event here: there are no topics to compact");
        /// Text columns to cut to a length. Entries `N:regex`: N is the length in characters, the regular expression matches
        /// `schema.table.column`. Default: none. Example: `20:public\.users\.bio`.
        /// A stream to an SGCluster that sets it is refused.
        "columnTruncateToLengthChars" => column_truncate_to_length_chars: Vec<String> = "[]", Honoured;
        /// Text columns to replace by asterisks. Entries `N:regex`: N is how many, the regular expression matches `schema.table.column`.
        /// Default: none. Example: `10:public\.users\.phone`.
        /// A stream to an SGCluster that sets it is refused.
        "columnMaskWithLengthChars" => column_mask_with_length_chars: Vec<String> = "[]", Honoured;
        /// Text columns to replace by a salted hash, first version. By algorithm and salt: regular expressions that match
        /// `schema.table.column`. Default: none. Example: `{SHA-256: {salt: ['public\.users\.email']}}`.
        /// A stream to an SGCluster that sets it is refused.
        "columnMaskHash" => column_mask_hash: ColumnHashes = "{}", Honoured;
        /// Text columns to replace by a salted hash, second version. As `columnMaskHash`, but the hash is over the plain UTF-8 text, so
        /// that other programs can compute it. Default: none.
        /// A stream to an SGCluster that sets it is refused.
        "columnMaskHashV2" => column_mask_hash_v2: ColumnHashes = "{}", Honoured;
        /// Columns whose type is told in the schema of events. Regular expressions over `schema.table.column`. Default: `.*`.
        "columnPropagateSourceType": List = r#"[".*"]"#, Ignored("events carry no schemas that could tell a type");
        /// Types that are told in the schema of events. Regular expressions over `schema.table.TYPE`. Default: `.*`.
        "datatypePropagateSourceType": List = r#"[".*"]"#, Ignored("events carry no schemas that could tell a type");
        /// Columns that make the key of a table's events. Entries `table:columns`: a regular expression over `schema.table`, and column
        /// names with commas between. Default: none, the primary key. Example: `public\.orders:tenant,number`.
        /// A stream to an SGCluster that sets it is refused.
        "messageKeyColumns" => message_key_columns: Vec<String> = "[]", Honoured;
        /// Whether the publication is created, and for which tables. Default: `filtered`.
        "publicationAutocreateMode" => publication_autocreate_mode: PublicationAutocreateMode = "filtered", Honoured;
        /// Replica identities that tables are given. Entries `table:identity`: a regular expression over `schema.table`, and `DEFAULT`,
        /// `FULL`, `NOTHING` or `INDEX name`. Default: none. Example: `public\.orders:FULL`.
        "replicaIdentityAutosetValues" => replica_identity_autoset_values: Vec<String> = "[]", Ignored("not implemented yet: tables keep theirs, run `ALTER TABLE … REPLICA IDENTITY …` at the source");
        /// How `bytea` stands in events. A PostgreSQL target gets it as it is. Default: `bytes`.
        "binaryHandlingMode" => binary_handling_mode: BinaryHandlingMode = "bytes", Honoured;
        /// How names of schemas are fitted to other formats. Default: `none`.
        "schemaNameAdjustmentMode" => schema_name_adjustment_mode: NameAdjustmentMode = "none", Ignored("events carry no schemas that have a name");
        /// How names of columns are fitted to other formats. Default: `none`.
        "fieldNameAdjustmentMode" => field_name_adjustment_mode: NameAdjustmentMode = "none", Ignored("not implemented yet: a stream that sets it is refused");
        /// Digits after the point of `money` in events. From 0. Default: 2.
        "moneyFractionDigits" => money_fraction_digits: u32 = "2", Honoured;
        /// Prefixes of the logical messages that become events. Regular expressions for whole prefixes; not together with
        /// `messagePrefixExcludeList`. Default: none, every message. Example: `audit.*`.
        /// A stream to an SGCluster that sets it is refused.
        "messagePrefixIncludeList" => message_prefix_include_list: Vec<String> = "[]", Honoured;
        /// Prefixes of the logical messages that are left out. Regular expressions for whole prefixes; not together with
        /// `messagePrefixIncludeList`. Default: none. Example: `debug.*`.
        /// A stream to an SGCluster that sets it is refused.
        "messagePrefixExcludeList" => message_prefix_exclude_list: Vec<String> = "[]", Honoured;
        /// Converters of values: Java classes with their settings, by name. Default: none.
        "converters": MapTree = "{}", Rejected("needs Java classes, which cannot run here: remove it");
        /// Isolation of the transaction that reads the snapshot. Default: `serializable`.
        "snapshotIsolationMode" => snapshot_isolation_mode: SnapshotIsolationMode = "serializable", Ignored("every table is read in one exported snapshot, at the position where the stream begins");
        /// When existing rows are copied, and whether changes follow. Default: `initial`.
        "snapshotMode" => snapshot_mode: SnapshotMode = "initial", Honoured, Rule("self != 'custom'", "snapshotMode `custom` needs a Java class, which cannot run here: choose another mode");
        /// With mode `configuration_based`: copy existing rows. Default: false.
        "snapshotModeConfigurationBasedSnapshotData" => snapshot_mode_configuration_based_snapshot_data: bool = "false", Ignored("not implemented yet: `configuration_based` is refused");
        /// With mode `configuration_based`: read descriptions of tables. Default: false.
        "snapshotModeConfigurationBasedSnapshotSchema": Boolean = "false", Ignored("how a table looks is read whenever it is needed");
        /// With mode `configuration_based`: follow the changes after the snapshot. Default: false.
        "snapshotModeConfigurationBasedStartStream" => snapshot_mode_configuration_based_start_stream: bool = "false", Ignored("not implemented yet: `configuration_based` is refused");
        /// With mode `configuration_based`: read lost descriptions of tables again. Default: false.
        "snapshotModeConfigurationBasedSnapshotOnSchemaError": Boolean = "false", Ignored("there is no history of schemas that could be lost");
        /// With mode `configuration_based`: copy again when the slot lost changes. Default: false.
        "snapshotModeConfigurationBasedSnapshotOnDataError" => snapshot_mode_configuration_based_snapshot_on_data_error: bool = "false", Ignored("not implemented yet: `configuration_based` is refused");
        /// Name of a snapshot mode of your own: a Java class.
        "snapshotModeCustomName": Text = none, Rejected("needs a Java class, which cannot run here: remove it, and choose another `snapshotMode`");
        /// How tables are locked during the snapshot. `custom` needs a Java class and does not exist here. Default: `none`.
        "snapshotLockingMode" => snapshot_locking_mode: SnapshotLockingMode = "none", Ignored("`COPY` keeps a table from being altered while it is read, and stops nobody from writing");
        /// Name of a way of locking of your own: a Java class.
        "snapshotLockingModeCustomName": Text = none, Rejected("needs a Java class, which cannot run here: remove it");
        /// How a table is read for the snapshot. `custom` needs a Java class and does not exist here. Default: `select_all`.
        "snapshotQueryMode" => snapshot_query_mode: SnapshotQueryMode = "select_all", Honoured;
        /// Name of a way of reading tables of your own: a Java class.
        "snapshotQueryModeCustomName": Text = none, Rejected("needs a Java class, which cannot run here: remove it");
        /// Captured tables whose existing rows are copied. Regular expressions over `schema.table`; the changes of the others are captured
        /// all the same. Default: none, every captured table. Example: `public\.orders`.
        "snapshotIncludeCollectionList" => snapshot_include_collection_list: Vec<String> = "[]", Ignored("not implemented yet: a stream that sets it is refused");
        /// How long a snapshot waits for the lock of a table, in milliseconds. Default: 10000.
        "snapshotLockTimeoutMs": Integer = "10000", Ignored("a snapshot waits for a locked table as long as it takes");
        /// Queries that read a table for the snapshot instead of the whole of it. By `schema.table`. Default: none.
        /// Example: `{public.orders: 'SELECT * FROM public.orders WHERE NOT archived'}`.
        "snapshotSelectStatementOverrides" => snapshot_select_statement_overrides: BTreeMap<String, String> = "{}", Ignored("not implemented yet: a stream that sets it is refused");
        /// What happens with a change that cannot be processed. Default: `fail`.
        "eventProcessingFailureHandlingMode" => event_processing_failure_handling_mode: FailureHandlingMode = "fail", Ignored("such a change always stops the stream: nothing is left out in silence");
        /// Most changes in a batch. Default: 2048.
        "maxBatchSize": Integer = "2048", Ignored("batches are bounded by bytes");
        /// Most changes that wait for the target. Default: 8192.
        "maxQueueSize": Integer = "8192", Ignored("what waits is bounded by bytes");
        /// Most bytes of changes that wait for the target, 0 for no bound. Default: 0.
        "maxQueueSizeInBytes": Integer = "0", Ignored("at most three batches of 4 MiB are held at a time");
        /// How long to wait before looking for changes again, in milliseconds. Default: 500.
        "pollIntervalMs": Integer = "500", Ignored("changes are passed on as they arrive");
        /// Put columns of types without a form of their own into events. They stand there as the bytes of their text. Default: true.
        "includeUnknownDatatypes" => include_unknown_datatypes: bool = "true", Honoured;
        /// SQL statements that each session at the source begins with. Default: none. Example: `SET work_mem = '64MB'`.
        "databaseInitialStatements" => database_initial_statements: Vec<String> = "[]", Ignored("not implemented yet: sessions begin with the settings of the engine only");
        /// How often the source is told what was delivered, in milliseconds. More often when the server's `wal_sender_timeout` asks for
        /// it. Default: 10000.
        "statusUpdateIntervalMs" => status_update_interval: Millis = "10000", Honoured;
        /// How often `heartbeatActionQuery` runs, in milliseconds, 0 for never. Default: 0. Example: 60000.
        "heartbeatIntervalMs" => heartbeat_interval: Millis = "0", Ignored("not implemented yet: no beats are needed, an idle stream follows the log's end by itself");
        /// SQL statement that runs at the source at each heartbeat. Unset: none. Example: `UPDATE beat SET at = now()`.
        "heartbeatActionQuery" => heartbeat_action_query: Option<String> = none, Ignored("not implemented yet: the statement is not run");
        /// When the description of a table is read again. Default: `columns_diff`.
        "schemaRefreshMode" => schema_refresh_mode: SchemaRefreshMode = "columns_diff", Ignored("the log itself describes a table again whenever it changed");
        /// How long to wait before the snapshot, in milliseconds. Default: 0.
        "snapshotDelayMs": Integer = "0", Ignored("a snapshot begins as soon as it can");
        /// How long to wait between snapshot and stream, in milliseconds. Default: 0.
        "streamingDelayMs": Integer = "0", Ignored("the stream begins as soon as it can");
        /// Rows of a snapshot that are fetched at a time. Default: 10240.
        "snapshotFetchSize": Integer = "10240", Ignored("rows come by `COPY`, without round trips and in bounded memory");
        /// Options of the plugin, by name. There are `proto_version` (1 to 4) and `streaming` (`off`, `on`, or `parallel`). With `on`
        /// large transactions are received while they run and kept in the data directory until their commit. Default: none.
        /// Example: `{streaming: 'on'}`.
        "slotStreamParams" => slot_stream_params: BTreeMap<String, String> = "{}", Honoured, Rule("size(self) == ('proto_version' in self ? 1 : 0) + ('streaming' in self ? 1 : 0) && (!('proto_version' in self) || self['proto_version'] in ['1', '2', '3', '4']) && (!('streaming' in self) || self['streaming'] in ['off', 'false', 'on', 'true', 'parallel'])", "slotStreamParams takes `proto_version` (1 to 4) and `streaming` (off, on or parallel): the engine sets the other options itself");
        /// How often opening the slot is tried again. Default: 6.
        "slotMaxRetries": Integer = "6", Ignored("it is tried again like anything else, see `spec.maxRetries`");
        /// How long to wait before opening the slot is tried again, in milliseconds. Default: 10000.
        "slotRetryDelayMs": Integer = "10000", Ignored("waits grow from half a second to a minute");
        /// What stands in events for a large value that did not change. The log leaves such values out; a PostgreSQL target keeps those it
        /// has. Default: `__debezium_unavailable_value`.
        "unavailableValuePlaceholder" => unavailable_value_placeholder: String = "__debezium_unavailable_value", Honoured;
        /// Tell in each event its transaction and its place in it. Default: false.
        "provideTransactionMetadata" => provide_transaction_metadata: bool = "false", Honoured;
        /// Publish changes of partitions under the name of their root. A partitioned table is one table then, at the target and in events.
        /// Truncating one partition then reaches no target. Counts for a publication that the stream makes. Default: false.
        "publishViaPartitionRoot" => publish_via_partition_root: bool = "false", Honoured;
        /// Let the source discard the log that was delivered. Default: true.
        "flushLsnSource": Boolean = "true", Ignored("a position is confirmed as soon as it is durable at the target, always");
        /// How long to wait before a stream that broke starts again, in milliseconds. Default: 10000.
        "retriableRestartConnectorWaitMs": Integer = "10000", Ignored("waits grow from half a second to a minute");
        /// Operations that are left out of the stream. Default: none, truncates are captured too. Example: `[t]`.
        /// A stream to an SGCluster that sets it is refused.
        "skippedOperations" => skipped_operations: Vec<Operation> = "[]", Honoured;
        /// Table of the source through which signals come, as `schema.table`. It has the columns `id`, `type` and `data`; its rows are
        /// not delivered. Unset: none. Example: `public.signals`.
        "signalDataCollection" => signal_data_collection: Option<String> = none, Ignored("not implemented yet: signals are read from annotations only");
        /// Ways on which signals come. Default: `sgstream-annotations`. Example: `[source, sgstream-annotations]`.
        "signalEnabledChannels" => signal_enabled_channels: Vec<SignalChannel> = r#"["sgstream-annotations"]"#, Ignored("not implemented yet: signals are read from annotations only");
        /// Ways on which the progress of a snapshot is told. Default: none.
        "notificationEnabledChannels" => notification_enabled_channels: Vec<NotificationChannel> = "[]", Ignored("progress is told in the log and on the terminal");
        /// Rows of a chunk of an incremental snapshot. From 1. Default: 1024.
        "incrementalSnapshotChunkSize" => incremental_snapshot_chunk_size: NonZeroU32 = "1024", Ignored("not implemented yet: there are no incremental snapshots so far");
        /// How a chunk of an incremental snapshot is marked in the signal table. Default: `insert_insert`.
        "incrementalSnapshotWatermarkingStrategy" => incremental_snapshot_watermarking_strategy: WatermarkingStrategy = "insert_insert", Ignored("not implemented yet: there are no incremental snapshots so far");
        /// Write nothing into the source's tables, for incremental snapshots too. Default: false.
        "readOnly" => read_only: bool = "false", Ignored("not implemented yet: there are no incremental snapshots so far, and nothing else writes into tables");
        /// How often the oldest transaction that the slot keeps is asked for. In milliseconds, 0 for never. Default: 0.
        "xminFetchIntervalMs": Integer = "0", Ignored("it is not needed to go on from a position");
        /// How topics are named: a Java class. Default: `io.debezium.schema.SchemaTopicNamingStrategy`.
        "topicNamingStrategy": Text = "io.debezium.schema.SchemaTopicNamingStrategy", Rejected("needs a Java class, which cannot run here: remove it");
        /// What stands between the parts of a topic's name. Default: `.`.
        "topicDelimiter": Text = ".", Ignored("there are no topics here");
        /// Names of topics that are remembered. Default: 10000.
        "topicCacheSize": Integer = "10000", Ignored("there are no topics here");
        /// Start of the name of the heartbeats' topic. Default: `__debezium-heartbeat`.
        "topicHeartbeatPrefix": Text = "__debezium-heartbeat", Ignored("there are no topics here");
        /// Name of the transactions' topic. Default: `transaction`.
        "topicTransaction": Text = "transaction", Ignored("there are no topics here");
        /// Sessions that read the snapshot at the same time. From 1; each keeps a core of both servers busy. Unset: one for every two CPUs
        /// of the worker, 2 at most. Example: 4.
        "snapshotMaxThreads" => snapshot_max_threads: Option<NonZeroU32> = none, Honoured;
        /// Labels that the stream's metrics get in addition. Default: none. Example: `{team: orders}`.
        "customMetricTags" => custom_metric_tags: BTreeMap<String, String> = "{}", Ignored("not implemented yet: there are no metrics so far");
        /// How often a stream that broke starts again, -1 for without end. Default: -1.
        "errorsMaxRetries": Integer = "-1", Ignored("`spec.maxRetries` decides");
        /// How long a query at the source may take, in milliseconds, 0 for no limit. Default: 0.
        "databaseQueryTimeoutMs": Integer = "0", Ignored("queries have no limit, which would end snapshots in their midst");
        /// Most tables that may be captured, 0 for no limit. Default: 0. Example: 500.
        "guardrailCollectionsMax" => guardrail_collections_max: u32 = "0", Ignored("not implemented yet: tables are not counted");
        /// What happens when more tables than `guardrailCollectionsMax` are captured. Default: `warn`.
        "guardrailCollectionsLimitAction" => guardrail_collections_limit_action: GuardrailAction = "warn", Ignored("not implemented yet: tables are not counted");
        /// Put the names of connector and task into the headers of records. Default: true.
        "extendedHeadersEnabled": Boolean = "true", Ignored("events have no such headers");
    }
}
