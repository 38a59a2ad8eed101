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
