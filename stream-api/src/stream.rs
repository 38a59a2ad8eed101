//! `SGStream`: one stream from a PostgreSQL database to a target.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pods::{Pods, ResourceMetadata};
use crate::problem::Problem;
use crate::properties::{EngineProperties, Support};
use crate::schema::structural;
use crate::source::Source;
use crate::status::StreamStatus;
use crate::target::{Target, TargetKind};

/// What the stream does: where it reads, where it writes, and how it runs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "stackgres.io",
    version = "v1alpha1",
    kind = "SGStream",
    plural = "sgstreams",
    shortname = "sgstr",
    category = "stackgres",
    namespaced,
    status = "StreamStatus",
    derive = "PartialEq",
    doc = "One stream from a PostgreSQL database to a target: a snapshot, then every change.",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source.type", description = "Kind of the source"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target.type", description = "Kind of the target"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "What the stream does, or why it does not"
    ),
    printcolumn(name = "Lag", type_ = "string", json_path = ".status.streaming.lag", description = "Distance to the source"),
    printcolumn(name = "Snapshot", type_ = "string", json_path = ".status.snapshot.progress", description = "Progress of the snapshot"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since the stream was created"),
    validation = Rule::new("self.metadata.name.size() <= 56 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 56 lower-case letters, digits and -, start with a letter and not end with -"),
)]
#[schemars(transform = structural, extend("x-kubernetes-validations" = [{
    "rule": "!has(self.maxRetries) || self.maxRetries < 0 || self == oldSelf",
    "message": "spec can not be updated when maxRetries is greater than -1",
    "reason": "FieldValueForbidden",
}]))]
pub struct StreamSpec {
    /// Database that is read: its tables are copied, then its changes are followed.
    pub source: Source,
    /// Where rows and changes go.
    pub target: Target,
    /// Volume, resources and scheduling of the worker's pod. Without meaning outside of a cluster.
    pub pods: Pods,
    /// Restarts after a failure. Default: -1, without end.
    ///
    /// With -1 the worker is a Deployment. From 0 on it is a Job with this limit, and `spec` can not be changed any more.
    #[serde(default = "default_max_retries")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self >= -1",
        "message": "maxRetries must be greater or equal to -1",
    }]))]
    pub max_retries: i32,
    /// Annotations and labels for the objects that the operator creates for the stream.
    #[serde(default)]
    pub metadata: ResourceMetadata,
    /// Settings under the names that Debezium's engine has for them.
    #[serde(default)]
    pub debezium_engine_properties: EngineProperties,
    /// Stop the worker, and keep slot and progress. Default: false. An addition to the resource.
    ///
    /// Meanwhile the source keeps its log for the slot.
    #[serde(default)]
    pub paused: bool,
    /// What becomes of slot and publication when the stream is deleted. Default: `Retain`.
    ///
    /// An addition to the resource.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

impl StreamSpec {
    /// Properties that are set and have no effect, each with the reason. One that is set to its default counts as not set.
    pub fn without_effect(&self) -> Vec<Problem> {
        let source = self.source.kind().map(|kind| kind.capture()).ok();
        let source = source.map(|block| (block.path, block.properties.without_effect()));
        let target = match self.target.kind() {
            Ok(TargetKind::SGCluster(block)) => {
                Some(("spec.target.sgCluster", block.debezium_properties.without_effect()))
            }
            Ok(TargetKind::CloudEvent(_) | TargetKind::PgLambda(_)) | Err(_) => None,
        };
        let of_blocks = source.into_iter().chain(target).flat_map(|(path, rows)| {
            rows.into_iter().map(move |row| (format!("{path}.debeziumProperties"), row))
        });
        let engine = self.debezium_engine_properties.without_effect().into_iter();
        let of_engine = engine.map(|row| ("spec.debeziumEngineProperties".to_owned(), row));
        of_blocks
            .chain(of_engine)
            .filter_map(|(path, row)| match row.support {
                Support::Honoured => None,
                Support::Ignored(reason) | Support::Rejected(reason) => Some(Problem::at(
                    format!("{path}.{}", row.name),
                    format!("no effect: {reason}"),
                )),
            })
            .collect()
    }
}

/// What becomes of slot and publication when the stream is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// They stay. A slot that nobody reads holds back the server's log.
    #[default]
    Retain,
    /// They are dropped.
    Delete,
}

fn default_max_retries() -> i32 {
    -1
}
