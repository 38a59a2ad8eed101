//! What users have written so far is accepted.

use serde_json::json;

use crate::kubectl::Namespace;
use crate::manifests::{self, patch};

/// `SGCluster` is a resource of somebody else: any definition of it will do.
const CLUSTERS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sgclusters.stackgres.io}
spec:
  group: stackgres.io
  scope: Namespaced
  names: {kind: SGCluster, plural: sgclusters, singular: sgcluster}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn every_manifest_is_accepted_without_a_warning() {
    let namespace = Namespace::create();
    namespace.install(CLUSTERS, "sgclusters.stackgres.io");
    let names = manifests::all();
    assert_eq!(names.len(), 15, "{names:?}");
    for name in names {
        let manifest = manifests::text(&name);
        let told = namespace
            .run_with(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &manifest);
        assert!(told.success && told.errors.is_empty(), "{name}: {}", told.errors);
    }
}

#[test]
fn a_duration_is_accepted_in_every_form() {
    let namespace = Namespace::create();
    for duration in [
        json!("5s"),
        json!("500ms"),
        json!("1m30s"),
        json!("1.5s"),
        json!("2h"),
        json!("PT5S"),
        json!("PT1M30S"),
        json!("PT0.5S"),
        json!("P1DT1H"),
        json!("P1D"),
        json!("0"),
        json!(0),
        json!("PT0S"),
    ] {
        let mut stream = manifests::stream("events-stream");
        let timeouts = json!({"connectTimeout": duration, "readTimeout": duration});
        patch(&mut stream, &json!({"spec": {"target": {"cloudEvent": {"http": timeouts}}}}));
        let told =
            namespace.run_with(&["create", "--dry-run=server", "-f", "-"], &stream.to_string());
        assert!(told.success && told.errors.is_empty(), "{duration}: {}", told.errors);
    }
}

#[test]
fn defaults_are_written_into_the_object() {
    let namespace = Namespace::create();
    namespace.run_with(&["create", "-f", "-"], &manifests::text("external-migration")).quietly();
    for (path, default) in [
        ("{.spec.maxRetries}", "-1"),
        ("{.spec.reclaimPolicy}", "Retain"),
        ("{.spec.target.sgCluster.database}", "postgres"),
    ] {
        let jsonpath = format!("jsonpath={path}");
        let told = namespace.run(&["get", "sgstream", "external-migration", "-o", &jsonpath]);
        assert_eq!(told.quietly(), default, "{path}");
    }
}
