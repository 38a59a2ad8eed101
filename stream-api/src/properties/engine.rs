//! The table of `spec.debeziumEngineProperties`, and the words its rows may have.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{Boolean, Integer, Millis, Text, properties, words};

properties! {
    /// `spec.debeziumEngineProperties`.
    pub struct EngineProperties {
        /// When the position is saved: a Java class.
        "offsetCommitPolicy": Text = none, Ignored("the position is saved with every batch");
        /// How often the position is saved, in milliseconds. Default: 60000.
        "offsetFlushIntervalMs": Integer = "60000", Ignored("the position is saved with every batch");
        /// How long saving the position may take, in milliseconds. Default: 5000.
        "offsetFlushTimeoutMs": Integer = "5000", Ignored("the position is part of what is written, and takes no time of its own");
        /// How often a stream that broke starts again, -1 for without end. Default: -1.
        "errorsMaxRetries": Integer = "-1", Ignored("`spec.maxRetries` decides");
        /// How long to wait before a stream that broke starts again at first. In milliseconds. Default: 300.
        "errorsRetryDelayInitialMs" => errors_retry_delay_initial: Millis = "300", Ignored("not implemented yet: waits begin with half a second");
        /// How long to wait before a stream that broke starts again at most. In milliseconds. Default: 10000.
        "errorsRetryDelayMaxMs" => errors_retry_delay_max: Millis = "10000", Ignored("not implemented yet: waits grow up to a minute");
        /// Transforms of each event, in their order; a cluster sorts them by name. By name: `type` and settings. A stream
        /// to an SGCluster that sets it is refused. Default: none.
        /// Example: `{unwrap: {type: io.debezium.transforms.ExtractNewRecordState}}`.
        "transforms" => transforms: IndexMap<String, BTreeMap<String, String>> = "{}", Honoured;
        /// Conditions that transforms refer to. By name: `type` and settings. Default: none.
        /// Example: `{orders: {type: org.apache.kafka.connect.transforms.predicates.TopicNameMatches, pattern: '.*orders'}}`.
        "predicates" => predicates: BTreeMap<String, BTreeMap<String, String>> = "{}", Honoured;
        /// Threads that prepare changes for the target. Unset: as many as there are CPUs.
        "recordProcessingThreads": Integer = none, Ignored("one task reads and another one writes, whatever the number of CPUs");
        /// How long changes may take to be written when the stream stops, in milliseconds. Default: 1000.
        "recordProcessingShutdownTimeoutMs": Integer = "1000", Ignored("a batch that is being written has ten seconds to end");
        /// Whether changes keep their order. Default: `ORDERED`.
        "recordProcessingOrder" => record_processing_order: RecordProcessingOrder = "ORDERED", Ignored("the order is always kept");
        /// Hand changes to the target one at a time. Default: false.
        "recordProcessingWithSerialConsumer": Boolean = "false", Ignored("changes are written in batches, in order");
        /// How long starting and stopping may take, in milliseconds. Default: 180000.
        "taskManagementTimeoutMs": Integer = "180000", Ignored("a start waits for its servers, and a stop takes ten seconds at most");
    }
}

words! {
    /// `recordProcessingOrder`.
    pub enum RecordProcessingOrder {
        /// As at the source.
        Ordered = "ORDERED",
        /// As they are prepared.
        Unordered = "UNORDERED",
    }
}
