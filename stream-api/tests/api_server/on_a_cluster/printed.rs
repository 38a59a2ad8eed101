//! What `kubectl` shows of the resource.

use serde_json::json;

use crate::kubectl::Namespace;
use crate::manifests;

#[test]
fn the_list_shows_source_target_status_lag_snapshot_and_age() {
    let namespace = Namespace::create();
    namespace.run_with(&["create", "-f", "-"], &manifests::text("migration-stream")).quietly();
    let words = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect());
        lines.collect()
    };
    let columns = ["NAME", "SOURCE", "TARGET", "STATUS", "LAG", "SNAPSHOT", "AGE"];
    let new = words(&namespace.run(&["get", "sgstream"]).quietly());
    assert_eq!(new[0], columns);
    // Nothing is known yet but the types and the age.
    assert_eq!(new[1][..3], ["migration-stream", "SGCluster", "SGCluster"]);
    assert_eq!(new[1].len(), 4, "{new:?}");

    let status = json!({"status": {
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "Streaming",
            "message": "",
            "lastTransitionTime": "2024-05-01T12:00:00Z",
        }],
        "streaming": {"lag": "1.5MiB"},
        "snapshot": {"progress": "12/12"},
    }});
    let status = status.to_string();
    let arguments =
        ["patch", "sgstream", "migration-stream", "--subresource=status", "--type=merge"];
    namespace.run(&[&arguments[..], &["--patch", &status]].concat()).quietly();
    // All names lead to the same list.
    for name in ["sgstream", "sgstreams", "sgstr", "sgstreams.stackgres.io", "stackgres"] {
        let shown = words(&namespace.run(&["get", name]).quietly());
        assert_eq!(shown[0], columns, "{name}");
        let values = &shown[1][1..6];
        assert_eq!(values, ["SGCluster", "SGCluster", "Streaming", "1.5MiB", "12/12"], "{name}");
        assert_eq!(shown[1].len(), 7, "{name}: {shown:?}");
    }
}

#[test]
fn kubectl_explains_blocks_fields_and_words() {
    let namespace = Namespace::create();
    for (path, expected) in [
        ("sgstream", &["KIND: SGStream", "VERSION: v1alpha1", "spec <Object> -required-"][..]),
        (
            "sgstream.spec.source",
            &[
                "FIELD: source <Object>",
                "postgres <Object>",
                "sgCluster <Object>",
                "type <string> -required- enum: SGCluster, Postgres",
            ],
        ),
        (
            "sgstream.spec.source.postgres",
            &["host <string> -required-", "port <integer>", "Default: 5432", "includes <[]string>"],
        ),
        (
            "sgstream.spec.source.sgCluster.debeziumProperties.snapshotMode",
            &["FIELD: snapshotMode <string>", "initial_only", "Default: `initial`"],
        ),
        (
            "sgstream.spec.target.cloudEvent.http.connectTimeout",
            &["FIELD: connectTimeout <", "Default: `10s`", "`500ms`"],
        ),
        ("sgstream.spec.pods.persistentVolume", &["size <string> -required-", "Example: `1Gi`"]),
        ("sgstream.status.conditions", &["type <string> -required-", "reason <string>"]),
    ] {
        // Lines are broken at some width.
        let told = namespace.run(&["explain", path]).quietly();
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in expected {
            assert!(told.contains(text), "{path}: {text}\n{told}");
        }
    }
}
