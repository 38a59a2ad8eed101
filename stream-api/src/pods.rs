//! Volume, resources, scheduling and metadata of what the operator creates: passed through, never interpreted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `spec.pods`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pods {
    /// Where the stream keeps its progress.
    pub persistent_volume: PersistentVolume,
    /// Kubernetes `ResourceRequirements` of the container.
    pub resources: Option<Value>,
    /// Where the pod may run.
    #[serde(default)]
    pub scheduling: Scheduling,
}

/// `spec.pods.persistentVolume`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersistentVolume {
    /// Size in Mi, Gi or Ti, as `1Gi`.
    pub size: String,
    /// Storage class; unset: the cluster's default.
    pub storage_class: Option<String>,
}

/// `spec.pods.scheduling`: each field has the Kubernetes type of its name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    /// Labels that a node must have.
    pub node_selector: Option<Value>,
    /// Taints that are tolerated.
    pub tolerations: Option<Value>,
    /// Affinity to nodes.
    pub node_affinity: Option<Value>,
    /// Affinity to pods.
    pub pod_affinity: Option<Value>,
    /// Repulsion from pods.
    pub pod_anti_affinity: Option<Value>,
    /// Name of the priority class.
    pub priority_class_name: Option<String>,
    /// How pods spread over nodes.
    pub topology_spread_constraints: Option<Value>,
}

/// `spec.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceMetadata {
    /// Annotations to add.
    #[serde(default)]
    pub annotations: ResourceTexts,
    /// Labels to add.
    #[serde(default)]
    pub labels: ResourceTexts,
}

/// Annotations or labels by the objects they go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceTexts {
    /// On every object.
    #[serde(default)]
    pub all_resources: BTreeMap<String, String>,
    /// On pods.
    #[serde(default)]
    pub pods: BTreeMap<String, String>,
    /// On the service account.
    #[serde(default)]
    pub service_account: BTreeMap<String, String>,
}
