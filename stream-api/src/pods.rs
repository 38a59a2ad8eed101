//! Volume, resources, scheduling and metadata of what the operator creates: passed through, never interpreted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeAffinity, PodAffinity, PodAntiAffinity, ResourceRequirements, Toleration,
    TopologySpreadConstraint,
};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_with::skip_serializing_none;

use crate::schema::Explained;

/// `spec.pods`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pods {
    /// Volume in which the stream keeps its progress.
    pub persistent_volume: PersistentVolume,
    /// CPU and memory of the worker's container, as in a pod. Default: none.
    ///
    /// Example: `{requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}`.
    #[schemars(transform = Explained("pod.spec.containers.resources"))]
    pub resources: Option<ResourceRequirements>,
    /// Where the worker's pod may run.
    #[serde(default)]
    pub scheduling: Scheduling,
}

/// `spec.pods.persistentVolume`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersistentVolume {
    /// Size in Mi, Gi or Ti. Example: `1Gi`, which is plenty.
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[0-9]+([.][0-9]+)?(Mi|Gi|Ti)$')",
        "message": "size must be a number in Mi, Gi or Ti, as 1Gi",
    }]))]
    pub size: String,
    /// Storage class of the volume. Default: that of the cluster.
    pub storage_class: Option<String>,
}

/// `spec.pods.scheduling`: each field has the Kubernetes type of its name.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    /// Labels that a node must have, as in a pod. Example: `{disk: ssd}`.
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that are tolerated, as in a pod.
    #[schemars(transform = Explained("pod.spec.tolerations"))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Nodes that are wanted, as in a pod.
    #[schemars(transform = Explained("pod.spec.affinity.nodeAffinity"))]
    pub node_affinity: Option<NodeAffinity>,
    /// Pods whose neighbourhood is wanted, as in a pod.
    #[schemars(transform = Explained("pod.spec.affinity.podAffinity"))]
    pub pod_affinity: Option<PodAffinity>,
    /// Pods whose neighbourhood is not wanted, as in a pod.
    #[schemars(transform = Explained("pod.spec.affinity.podAntiAffinity"))]
    pub pod_anti_affinity: Option<PodAntiAffinity>,
    /// Name of the priority class, as in a pod.
    pub priority_class_name: Option<String>,
    /// How pods spread over the cluster, as in a pod.
    #[schemars(transform = Explained("pod.spec.topologySpreadConstraints"))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
}

/// `spec.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceMetadata {
    /// Annotations to add.
    #[serde(default)]
    pub annotations: ResourceAnnotations,
    /// Labels to add.
    #[serde(default)]
    pub labels: ResourceLabels,
}

/// Annotations by the objects they go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceAnnotations {
    /// On every object that is created for the stream.
    #[serde(default)]
    #[schemars(transform = annotations)]
    pub all_resources: BTreeMap<String, String>,
    /// On the pods.
    #[serde(default)]
    #[schemars(transform = annotations)]
    pub pods: BTreeMap<String, String>,
    /// On the service account. Example: `{eks.amazonaws.com/role-arn: …}`.
    #[serde(default)]
    #[schemars(transform = annotations)]
    pub service_account: BTreeMap<String, String>,
}

/// Labels by the objects they go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceLabels {
    /// On every object that is created for the stream.
    #[serde(default)]
    #[schemars(transform = labels)]
    pub all_resources: BTreeMap<String, String>,
    /// On the pods.
    #[serde(default)]
    #[schemars(transform = labels)]
    pub pods: BTreeMap<String, String>,
    /// On the service account.
    #[serde(default)]
    #[schemars(transform = labels)]
    pub service_account: BTreeMap<String, String>,
}

/// Most annotations or labels in one list: what the API server needs to know before it takes a rule about each of them.
const MOST_ENTRIES: usize = 128;

/// Keys as [Kubernetes has them](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
fn annotations(schema: &mut Schema) {
    schema.insert("maxProperties".to_owned(), MOST_ENTRIES.into());
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{
            "rule": "self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
            "message": "a key must be a name of at most 63 letters, digits, -, _ and ., after an optional domain and /",
        }]),
    );
}

/// As [`annotations`], with values that are names, too.
fn labels(schema: &mut Schema) {
    annotations(schema);
    if let Some(rules) = schema.get_mut("x-kubernetes-validations").and_then(Value::as_array_mut) {
        rules.push(json!({
            "rule": "self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
            "message": "a label's value must be empty or at most 63 letters, digits, -, _ and ., first and last a letter or digit",
        }));
    }
    schema.insert("additionalProperties".to_owned(), json!({"type": "string", "maxLength": 63}));
}
