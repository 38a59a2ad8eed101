//! The table of `spec.debeziumEngineProperties`.

use super::properties;

properties! {
    /// `spec.debeziumEngineProperties`.
    pub struct EngineProperties {
    }
    other {
        "offsetCommitPolicy": Text,
        "offsetFlushIntervalMs": Integer,
        "offsetFlushTimeoutMs": Integer,
        "errorsMaxRetries": Integer,
        "errorsRetryDelayInitialMs": Integer,
        "errorsRetryDelayMaxMs": Integer,
        "transforms": MapTree,
        "predicates": MapTree,
        "recordProcessingThreads": Integer,
        "recordProcessingShutdownTimeoutMs": Integer,
        "recordProcessingOrder": Text,
        "recordProcessingWithSerialConsumer": Boolean,
        "taskManagementTimeoutMs": Integer,
    }
}
