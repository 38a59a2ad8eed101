//! The control plane that the tests of one test program share.
//!
//! The first test that asks for it starts it; it ends with the process. Without the programs
//! a test panics with the remedy: it never skips.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::{ControlPlane, ControlPlaneError, Programs};

/// Names the directories to search for the programs, separated by `:`.
///
/// Set by `cargo xtask test`; without it, tests use `KUBEBUILDER_ASSETS` and `PATH`.
pub const DIRECTORIES_VARIABLE: &str = "STREAM_KUBERNETES_DIRS";

static SHARED: OnceLock<Result<ControlPlane, ControlPlaneError>> = OnceLock::new();

/// The control plane of this process.
///
/// # Panics
///
/// Without the programs, or when it does not start.
#[must_use]
#[track_caller]
#[expect(clippy::panic, reason = "this runs in tests only, and a test fails by a panic")]
pub fn control_plane() -> &'static ControlPlane {
    match SHARED.get_or_init(start) {
        Ok(control_plane) => control_plane,
        Err(error) => {
            panic!("{error} (run `cargo xtask test`, with `--no-cluster` to leave this out)")
        }
    }
}

/// A new control plane of its own.
///
/// # Errors
///
/// As [`ControlPlane::start`], and [`ControlPlaneError::Missing`] without the programs.
pub fn start() -> Result<ControlPlane, ControlPlaneError> {
    ControlPlane::start_temporary(programs()?)
}

/// The programs to test with.
///
/// # Errors
///
/// [`ControlPlaneError::Missing`] without one of them.
pub fn programs() -> Result<Programs, ControlPlaneError> {
    Programs::find(&directories())
}

fn directories() -> Vec<PathBuf> {
    let variables = match env::var_os(DIRECTORIES_VARIABLE) {
        Some(directories) => vec![directories],
        None => ["KUBEBUILDER_ASSETS", "PATH"].into_iter().filter_map(env::var_os).collect(),
    };
    variables.iter().flat_map(env::split_paths).collect()
}
