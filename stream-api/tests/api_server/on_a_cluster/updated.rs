//! What may be changed of a stream that exists.

use serde_json::{Value, json};

use crate::kubectl::{Namespace, Told};
use crate::manifests::{self, patch};

/// What is said of a change to a Job.
const IMMUTABLE: &str = "spec can not be updated when maxRetries is greater than -1";

fn change(namespace: &Namespace, change: &Value) -> Told {
    let arguments = ["patch", "sgstream", "migration-stream", "--type=merge", "--patch"];
    namespace.run(&[&arguments[..], &[&change.to_string()]].concat())
}

/// A namespace with a stream of this many retries.
fn with_stream(max_retries: i32) -> Namespace {
    let namespace = Namespace::create();
    let mut stream = manifests::stream("migration-stream");
    patch(&mut stream, &json!({"spec": {"maxRetries": max_retries}}));
    namespace.run_with(&["create", "-f", "-"], &stream.to_string()).quietly();
    namespace
}

#[test]
fn a_stream_without_end_can_be_changed() {
    let namespace = with_stream(-1);
    for to in [
        json!({"spec": {"paused": true}}),
        json!({"spec": {"source": {"sgCluster": {"includes": [r"public\.orders"]}}}}),
        json!({"spec": {"pods": {"persistentVolume": {"size": "2Gi"}}}}),
        json!({"spec": {"maxRetries": null}}),
    ] {
        change(&namespace, &to).quietly();
    }
}

#[test]
fn a_stream_that_is_a_job_cannot_be_changed() {
    let namespace = with_stream(0);
    for to in [
        json!({"spec": {"paused": true}}),
        json!({"spec": {"maxRetries": 3}}),
        json!({"spec": {"source": {"sgCluster": {"database": "other"}}}}),
    ] {
        let told = change(&namespace, &to).refused();
        assert!(told.trim_end().ends_with(IMMUTABLE), "{to}: {told}");
        assert!(told.contains(": spec: "), "{to}: {told}");
    }
}

#[test]
fn a_job_can_be_labelled_and_become_a_stream_without_end() {
    let namespace = with_stream(3);
    change(&namespace, &json!({"metadata": {"labels": {"team": "blue"}}})).quietly();
    let tombstone =
        json!({"metadata": {"annotations": {"debezium-signal.stackgres.io/tombstone": ""}}});
    change(&namespace, &tombstone).quietly();
    change(&namespace, &json!({"spec": {"maxRetries": -1, "paused": true}})).quietly();
}

#[test]
fn a_stream_without_end_cannot_become_a_job_by_a_change() {
    let namespace = with_stream(-1);
    let told = change(&namespace, &json!({"spec": {"maxRetries": 0}})).refused();
    assert!(told.trim_end().ends_with(IMMUTABLE), "{told}");
}

#[test]
fn a_change_into_a_mistake_is_refused() {
    let namespace = with_stream(-1);
    let told = change(&namespace, &json!({"spec": {"target": {"sgCluster": null}}})).refused();
    let message = "target.sgCluster is required when target.type is SGCluster";
    assert!(told.trim_end().ends_with(message), "{told}");
}

#[test]
fn status_changes_only_by_its_subresource_and_spec_never_by_it() {
    let namespace = with_stream(0);
    let failed = json!({"status": {"failure": "gone"}, "spec": {"paused": true}});
    let get = |path: &str| {
        let jsonpath = format!("jsonpath={path}");
        namespace.run(&["get", "sgstream", "migration-stream", "-o", &jsonpath]).quietly()
    };
    change(&namespace, &json!({"status": {"failure": "gone"}})).quietly();
    assert_eq!(get("{.status.failure}"), "");
    let arguments = [
        "patch",
        "sgstream",
        "migration-stream",
        "--subresource=status",
        "--type=merge",
        "--patch",
    ];
    namespace.run(&[&arguments[..], &[&failed.to_string()]].concat()).quietly();
    assert_eq!(get("{.status.failure}"), "gone");
    assert_ne!(get("{.spec.paused}"), "true");
    assert_eq!(get("{.metadata.generation}"), "1");
}
