//! What users have written so far is accepted.

use serde_json::{Value, json};
use stream_api::properties::{
    EngineProperties, Property, SinkProperties, SourceProperties, Support,
};

use crate::kubectl::{DRY_RUN, Namespace};
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
fn every_fragment_is_accepted_within_a_manifest() {
    let namespace = Namespace::create();
    for name in ["includes", "excludes"] {
        let fragment =
            serde_saphyr::from_str(&manifests::text(&format!("{name}.fragment"))).unwrap();
        let mut stream = manifests::stream("migration-stream");
        patch(&mut stream, &fragment);
        assert!(stream["spec"]["source"]["sgCluster"][name].is_array(), "{stream}");
        namespace.run_with(&DRY_RUN, &stream.to_string()).quietly();
    }
}

/// The properties of a table that are not refused, each with its default.
fn with_defaults(table: &[Property]) -> Value {
    let is_allowed = |property: &&Property| !matches!(property.support, Support::Rejected(_));
    let with_default = |property: &Property| {
        let text = property.default?;
        let value: Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
        Some((property.name.to_owned(), value))
    };
    table.iter().filter(is_allowed).filter_map(with_default).collect()
}

#[test]
fn every_property_is_accepted_with_its_default() {
    let namespace = Namespace::create();
    let source = with_defaults(SourceProperties::PROPERTIES);
    assert!(source.as_object().unwrap().len() > 40, "{source}");
    let change = json!({"spec": {
        "source": {"sgCluster": {"debeziumProperties": source}},
        "target": {"sgCluster": {"debeziumProperties": with_defaults(SinkProperties::PROPERTIES)}},
        "debeziumEngineProperties": with_defaults(EngineProperties::PROPERTIES),
    }});
    let mut stream = manifests::stream("migration-stream");
    patch(&mut stream, &change);
    namespace.run_with(&DRY_RUN, &stream.to_string()).quietly();
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
        let told = namespace.run_with(&DRY_RUN, &stream.to_string());
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

#[test]
fn a_field_that_does_not_exist_is_warned_of_and_dropped_where_it_is_not_refused() {
    let namespace = Namespace::create();
    let mut stream = manifests::stream("migration-stream");
    patch(&mut stream, &json!({"spec": {"maxretries": 1}}));
    let lenient = [&DRY_RUN[..], &["--validate=warn", "-o", "json"]].concat();
    let told = namespace.run_with(&lenient, &stream.to_string());
    assert!(told.success, "{}", told.errors);
    assert_eq!(told.errors.trim_end(), r#"Warning: unknown field "spec.maxretries""#);
    assert!(!told.out.contains("maxretries"), "{}", told.out);
}
