//! Control planes for tests.
//!
//! The tests of one test program share one. The first that asks for it starts it, and it ends with
//! the process. Without the programs a test panics with the remedy: it never skips.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::{ControlPlane, ControlPlaneError, Programs};

/// Names the directories to search for the programs, separated by `:`.
///
/// Set by `cargo xtask test`; without it, tests use `KUBEBUILDER_ASSETS` and `PATH`.
pub const DIRECTORIES_VARIABLE: &str = "STREAM_KUBERNETES_DIRS";

/// What a test does about missing programs.
const REMEDY: &str = "run `cargo xtask test`, or leave this out with its `--no-cluster`";

static SHARED: OnceLock<ControlPlane> = OnceLock::new();

/// The control plane that the tests of this process share; the first call starts it.
///
/// # Panics
///
/// Without the programs, or when it does not start.
#[must_use]
#[track_caller]
pub fn control_plane() -> &'static ControlPlane {
    SHARED.get_or_init(private_control_plane)
}

/// A new control plane, for a test that breaks or stops it.
///
/// # Panics
///
/// Without the programs, or when it does not start.
#[must_use]
#[track_caller]
pub fn private_control_plane() -> ControlPlane {
    ControlPlane::start_temporary(programs()).unwrap_or_else(|error| fail(&error))
}

/// The programs to test with.
///
/// # Panics
///
/// Without one of them.
#[must_use]
#[track_caller]
pub fn programs() -> Programs {
    let variables = match env::var_os(DIRECTORIES_VARIABLE) {
        Some(directories) => vec![directories],
        None => ["KUBEBUILDER_ASSETS", "PATH"].into_iter().filter_map(env::var_os).collect(),
    };
    let directories: Vec<PathBuf> = variables.iter().flat_map(env::split_paths).collect();
    Programs::find(&directories).unwrap_or_else(|error| fail(&error))
}

#[track_caller]
#[expect(clippy::panic, reason = "these functions run in tests only, and a test fails by a panic")]
fn fail(error: &ControlPlaneError) -> ! {
    panic!("{error} ({REMEDY})")
}
