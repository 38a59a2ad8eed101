//! A small fixed set of `cargo xtask torture`: streams go through faults at moments that their seeds tell.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Each run has as many jobs as there are cores to test with.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs seeds of the harness with the worker that these tests were built with.
fn torture(arguments: &[&str]) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
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
/// More than 30 kills.
fn a_worker_killed_at_any_moment_loses_nothing_and_doubles_nothing() {
    torture(&["--seeds", "7", "--only", "worker: SIGKILL"]);
}

#[test]
fn streams_through_faults_lose_nothing_and_double_nothing() {
    torture(&["--seeds", "4", "--first-seed", "100"]);
}

#[test]
/// One with large transactions, and one with changes of the schema.
fn events_through_faults_arrive_in_order_and_repeat_only_with_their_id() {
    torture(&["--seeds", "3", "--target", "http"]);
}
