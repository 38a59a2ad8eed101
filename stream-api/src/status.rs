//! `status`: what the worker and the operator tell about a stream. Nobody writes a status in other words.
//!
//! Every field is optional, so that the status that another version wrote can be read.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::schema::structural;

/// What the stream has done, and how it is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
pub struct StreamStatus {
    /// Generation of the spec that this status speaks of.
    pub observed_generation: Option<i64>,
    /// State of the stream, one entry a type.
    ///
    /// `Ready` sums up the others. Further types: `Running`, `Failed`, `Completed`, `SourceReady`, `TargetReady`, `SlotHealthy`, `SnapshotComplete`,
    /// `TargetDiverged`, `Paused`. A message names the cause and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Progress of the snapshot.
    pub snapshot: Option<SnapshotStatus>,
    /// Progress of the streaming of changes.
    pub streaming: Option<StreamingStatus>,
    /// What was sent to the target.
    pub events: Option<EventsStatus>,
    /// Why the stream failed, and what to do. Absent while it works.
    pub failure: Option<String>,
    /// Properties that were set and have no effect, each with the reason.
    ///
    /// Example: `spec.source.sgCluster.debeziumProperties.topicCacheSize: there are no topics here`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_properties: Vec<String>,
    /// Signals that were carried out, the last of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub signals: Vec<SignalStatus>,
}

/// One aspect of the stream's state, as [Kubernetes' conventions](https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md)
/// have it.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Aspect that the condition is about. Example: `Ready`.
    #[schemars(length(max = 316))]
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Generation of the spec that the condition was found for.
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When `status` changed last.
    pub last_transition_time: Option<Time>,
    /// Word for the cause, for programs. Example: `Streaming`.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Cause and remedy, for people.
    #[serde(default)]
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

/// `status.snapshot`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Progress in words. Example: `3/12 tables`, then `done`. An addition to the resource.
    pub progress: Option<String>,
    /// Last row that was read: its table and key.
    pub last_event: Option<String>,
    /// Time since the last row was read, in milliseconds.
    pub milli_seconds_since_last_event: Option<i64>,
    /// Rows read since the worker started.
    pub total_number_of_events_seen: Option<i64>,
    /// Rows left out by a filter.
    pub number_of_events_filtered: Option<i64>,
    /// Tables that belong to the snapshot, as `schema.table`.
    pub captured_tables: Option<Vec<String>>,
    /// Events that fit between reader and writer.
    pub queue_total_capacity: Option<i64>,
    /// Events that fit at this moment.
    pub queue_remaining_capacity: Option<i64>,
    /// Number of tables that belong to the snapshot.
    pub total_table_count: Option<i64>,
    /// Number of tables that are not complete.
    pub remaining_table_count: Option<i64>,
    /// Whether the snapshot is being taken.
    pub snapshot_running: Option<bool>,
    /// Whether the snapshot was told to pause.
    pub snapshot_paused: Option<bool>,
    /// Whether the snapshot ended before it was complete.
    pub snapshot_aborted: Option<bool>,
    /// Whether the snapshot is complete.
    pub snapshot_completed: Option<bool>,
    /// Time that the snapshot has taken so far, in seconds, pauses included.
    pub snapshot_duration_in_seconds: Option<i64>,
    /// Time that the snapshot was paused, in seconds.
    pub snapshot_paused_duration_in_seconds: Option<i64>,
    /// Rows read so far, by table.
    pub rows_scanned: Option<BTreeMap<String, i64>>,
    /// Room between reader and writer, in bytes.
    pub max_queue_size_in_bytes: Option<i64>,
    /// Size of what is between reader and writer at this moment, in bytes.
    pub current_queue_size_in_bytes: Option<i64>,
    /// Chunk that an incremental snapshot is at.
    pub chunk_id: Option<String>,
    /// First key of that chunk.
    pub chunk_from: Option<String>,
    /// Last key of that chunk.
    pub chunk_to: Option<String>,
    /// First key of the table that an incremental snapshot is at.
    pub table_from: Option<String>,
    /// Last key of that table.
    pub table_to: Option<String>,
}

/// `status.streaming`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamingStatus {
    /// Distance to the source in words. Example: `1.2 MiB, 3 s`. An addition to the resource.
    pub lag: Option<String>,
    /// Log that the source has written and the target has not confirmed, in bytes. An addition.
    pub lag_bytes: Option<i64>,
    /// Log that the source keeps for the slot, in bytes. An addition to the resource.
    pub retained_wal_bytes: Option<i64>,
    /// Position in the source's log up to which all is durable at the target. An addition.
    ///
    /// Example: `0/16B3748`.
    pub confirmed_lsn: Option<String>,
    /// Last change that was read: its table and position.
    pub last_event: Option<String>,
    /// Time since the last change was read, in milliseconds.
    pub milli_seconds_since_last_event: Option<i64>,
    /// Changes read since the worker started.
    pub total_number_of_events_seen: Option<i64>,
    /// Inserts among them.
    pub total_number_of_create_events_seen: Option<i64>,
    /// Updates among them.
    pub total_number_of_update_events_seen: Option<i64>,
    /// Deletes among them.
    pub total_number_of_delete_events_seen: Option<i64>,
    /// Changes left out by a filter.
    pub number_of_events_filtered: Option<i64>,
    /// Tables whose changes are captured, as `schema.table`.
    pub captured_tables: Option<Vec<String>>,
    /// Events that fit between reader and writer.
    pub queue_total_capacity: Option<i64>,
    /// Events that fit at this moment.
    pub queue_remaining_capacity: Option<i64>,
    /// Whether the replication connection is open.
    pub connected: Option<bool>,
    /// Time between a change's commit at the source and its arrival, in milliseconds.
    pub milli_seconds_behind_source: Option<i64>,
    /// Source transactions that were delivered.
    pub number_of_committed_transactions: Option<i64>,
    /// Position of the last change, by the names of its parts.
    pub source_event_position: Option<BTreeMap<String, String>>,
    /// Identifier of the last transaction.
    pub last_transaction_id: Option<String>,
    /// Room between reader and writer, in bytes.
    pub max_queue_size_in_bytes: Option<i64>,
    /// Size of what is between reader and writer at this moment, in bytes.
    pub current_queue_size_in_bytes: Option<i64>,
}

/// `status.events`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsStatus {
    /// Whether the last attempt to send succeeded.
    pub last_event_was_sent: Option<bool>,
    /// Last event that was sent, by its id.
    pub last_event_sent: Option<String>,
    /// Events that were sent since the worker started.
    pub total_number_of_events_sent: Option<i64>,
    /// Last error of the target.
    pub last_error_seen: Option<String>,
    /// Errors of the target since the worker started.
    pub total_number_of_errors_seen: Option<i64>,
}

/// An entry of `status.signals`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalStatus {
    /// Type of the signal: the end of the annotation's key. Example: `tombstone`.
    pub r#type: String,
    /// Digest of the annotation's value: the same value is the same signal.
    pub digest: String,
    /// When the signal was carried out.
    pub time: Option<Time>,
    /// What came of it, for people.
    pub message: Option<String>,
}
