//! `SGStream`: one stream from a PostgreSQL database to a target.

use serde::Deserialize;
use serde_json::Value;

use crate::metadata::Metadata;
use crate::pods::{Pods, ResourceMetadata};
use crate::properties::EngineProperties;
use crate::source::Source;
use crate::target::Target;

/// The resource `SGStream` of `stackgres.io/v1alpha1`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SGStream {
    /// Name, namespace, and the annotations that carry signals.
    pub metadata: Metadata,
    /// What the user asks for.
    pub spec: StreamSpec,
    /// Accepted and not read.
    pub status: Option<Value>,
}

/// `spec` of an [`SGStream`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamSpec {
    /// Where the data comes from.
    pub source: Source,
    /// Where the data goes.
    pub target: Target,
    /// Volume, resources and scheduling of the stream's pod. Not used outside a cluster.
    pub pods: Pods,
    /// Restarts after a failure. -1, the default: without end, as a Deployment; otherwise a Job with this limit.
    #[serde(default = "default_max_retries")]
    pub max_retries: i32,
    /// Annotations and labels for the objects that the operator creates.
    #[serde(default)]
    pub metadata: ResourceMetadata,
    /// `spec.debeziumEngineProperties`.
    #[serde(default)]
    pub debezium_engine_properties: EngineProperties,
    /// Stop delivering, and keep slot and progress; default false. An addition to the resource.
    #[serde(default)]
    pub paused: bool,
    /// What becomes of slot and publication when the stream is deleted; default `Retain`. An addition to the resource.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

/// What becomes of slot and publication when the stream is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ReclaimPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are dropped.
    Delete,
}

fn default_max_retries() -> i32 {
    -1
}
