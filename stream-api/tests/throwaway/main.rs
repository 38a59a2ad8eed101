//! Throwaway control planes: several run at once, and none outlives its owner unless it is let go.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use stream_api::throwaway::{ControlPlaneError, Programs};

// Tests that need a control plane have this in their path: `cargo xtask test --no-cluster` goes by it.
mod on_a_cluster;

#[test]
fn a_missing_program_is_named_with_its_remedy() {
    let error = Programs::find(&[]).unwrap_err();
    assert!(matches!(error, ControlPlaneError::Missing { program: "etcd" }), "{error}");
    assert_eq!(
        error.to_string(),
        "no `etcd` was found: `cargo xtask cluster up --control` finds or builds it"
    );
}

#[test]
fn the_directories_of_programs_find_the_same_programs_again() {
    let (first, second, third) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (directory, program) in [
        (&second, "kubectl"),
        (&third, "kubectl"),
        (&third, "etcd"),
        (&third, "kube-apiserver"),
        (&third, "kube-controller-manager"),
    ] {
        std::fs::write(directory.path().join(program), "").unwrap();
    }
    let all = [first.path().into(), second.path().into(), third.path().into()];
    let programs = Programs::find(&all).unwrap();
    assert_eq!(programs.kubectl, second.path().join("kubectl"));
    let directories = programs.directories(&all);
    assert_eq!(directories, all[1..]);
    assert_eq!(Programs::find(&directories).unwrap(), programs);
}
