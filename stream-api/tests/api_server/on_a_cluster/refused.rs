//! Mistakes are refused, and the message says where and what.

use crate::kubectl::{DRY_RUN, Namespace};
use crate::manifests::{self, Mistake, patch};

/// What the API server adds to a message about the shape of an object.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid";

#[test]
fn every_mistake_is_refused_with_its_message() {
    let namespace = Namespace::create();
    let mistakes = manifests::mistakes();
    assert!(mistakes.len() >= 60, "{}", mistakes.len());
    let mut wrong = String::new();
    for Mistake { claim, of, patch: change, path, message, by: _ } in mistakes {
        let mut stream = manifests::stream(&of);
        patch(&mut stream, &change);
        let told = namespace.run_with(&DRY_RUN, &stream.to_string());
        // One mistake, one message. When the shape of an object is wrong, its rules are not looked at, which is said too.
        let is_cause = |line: &&str| line.trim_end().contains(": ") && !line.contains(NOT_CHECKED);
        let causes: Vec<_> = told.errors.lines().filter(is_cause).collect();
        let is_told = |cause: &&str| cause.contains(&path) && cause.ends_with(&message);
        if told.success || causes.len() != 1 || !causes.iter().any(is_told) {
            wrong +=
                &format!("{claim}\n  expected: {path}: … {message}\n  told: {}\n", told.errors);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_mistake_of_a_manifest_is_told_at_once() {
    let namespace = Namespace::create();
    let mut stream = manifests::stream("custom-auth-stream");
    let change = serde_json::json!({"spec": {
        "maxRetries": -2,
        "source": {"sgCluster": {"password": null}},
        "target": {"sgCluster": {"username": null}},
        "pods": {"persistentVolume": {"size": "1GB"}},
    }});
    patch(&mut stream, &change);
    let told = namespace.run_with(&["create", "-f", "-"], &stream.to_string()).refused();
    for path in [
        "spec.maxRetries",
        "spec.source.sgCluster.password",
        "spec.target.sgCluster.username",
        "spec.pods.persistentVolume.size",
    ] {
        assert!(told.contains(path), "{path}: {told}");
    }
}
