//! A small fixed set of `cargo xtask torture`: streams go through faults at moments that their seeds tell.

use std::process::Command;

/// Runs seeds of the harness with the worker that these tests were built with.
fn torture(arguments: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--package", "xtask", "--", "torture", "--worker"]);
    cargo.arg(env!("CARGO_BIN_EXE_stream-worker")).args(arguments);
    // What Cargo tells this test about itself: crates that look at it would be built again.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
}

#[test]
fn streams_through_faults_lose_nothing_and_double_nothing() {
    torture(&["--seeds", "6", "--first-seed", "100", "--jobs", "2"]);
}
