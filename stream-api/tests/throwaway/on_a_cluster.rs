//! Tests that start control planes.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use stream_api::throwaway::{self, ControlPlane, ControlPlaneError, PROCESSES, testing};

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the process lives; one that ended and waits for its parent does not.
fn is_alive(pid: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// What `kubectl` prints with these arguments, and whether it succeeded.
fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> (bool, String) {
    let output = control_plane.kubectl().args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn two_run_at_once_and_end_with_their_files_when_they_are_dropped() {
    let (first, second) = (testing::private_control_plane(), testing::private_control_plane());
    assert!(kubectl(&first, &["create", "namespace", "only-here"]).0);
    assert!(kubectl(&first, &["get", "namespace", "only-here"]).0);
    let (found, told) = kubectl(&second, &["get", "namespace", "only-here"]);
    assert!(!found && told.contains("not found"), "{told}");

    let pids: Vec<_> = first.pids().chain(second.pids()).map(|pid| pid.to_string()).collect();
    assert_eq!(pids.len(), 2 * PROCESSES);
    assert!(pids.iter().all(|pid| is_alive(pid)));
    let homes = [first.home().to_owned(), second.home().to_owned()];
    drop((first, second));
    assert!(!pids.iter().any(|pid| is_alive(pid)));
    assert!(!homes.iter().any(|home| home.exists()));
}

#[test]
fn the_controllers_work() {
    let control_plane = testing::private_control_plane();
    // The account is made by the controller manager, and its token is signed by the API server.
    wait_until("the namespace has an account", || {
        kubectl(&control_plane, &["create", "token", "default"]).0
    });
}

#[test]
fn a_guessed_token_is_refused_and_nobody_else_can_read_the_right_one() {
    let control_plane = testing::private_control_plane();
    let kubeconfig = std::fs::read_to_string(control_plane.kubeconfig()).unwrap();
    let (_, token) = kubeconfig.split_once(r#""token":""#).unwrap();
    let guessed = kubeconfig.replace(&token[..32], &"0".repeat(32));
    std::fs::write(control_plane.kubeconfig(), guessed).unwrap();
    let (success, told) = kubectl(&control_plane, &["get", "namespaces"]);
    assert!(!success && told.contains("provide credentials"), "{told}");
    for (file, mode) in [("", 0o700), ("tokens.csv", 0o600), ("kubeconfig", 0o600)] {
        let metadata = control_plane.home().join(file).metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
    }
}

#[test]
fn a_control_plane_whose_owner_is_killed_is_gone() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_control_plane_owner"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let (home, pids) = words.split_last().unwrap();
    assert_eq!(pids.len(), PROCESSES, "{line}");
    assert!(pids.iter().all(|pid| is_alive(pid)));
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the programs end", || !pids.iter().any(|pid| is_alive(pid)));
    wait_until("the files are deleted", || !Path::new(home).exists());
}

#[test]
fn one_that_was_let_go_lives_on_until_it_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("kept");
    let programs = testing::programs();
    let started = ControlPlane::start(programs.clone(), &home).unwrap();
    let mut get = started.kubectl();
    started.let_go().unwrap();
    assert!(get.args(["get", "--raw=/readyz"]).output().unwrap().status.success());
    assert_eq!(throwaway::running(&home), PROCESSES);

    let refused = ControlPlane::start(programs, &home).unwrap_err();
    assert!(matches!(refused, ControlPlaneError::InUse { .. }), "{refused}");
    assert_eq!(throwaway::running(&home), PROCESSES);

    assert!(throwaway::stop(&home).unwrap());
    assert_eq!(throwaway::running(&home), 0);
    assert!(!home.exists());
    assert!(!throwaway::stop(&home).unwrap());
}
