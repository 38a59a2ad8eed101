//! `kubectl` on the shared API server, in a namespace of one test.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stream_api::throwaway::{ControlPlane, testing};

use crate::definition::DEFINITION;

/// Asks what would be said about a new object.
pub(crate) const DRY_RUN: [&str; 4] = ["create", "--dry-run=server", "-f", "-"];

/// How long the API server may take to serve a resource that was defined.
const PATIENCE: Duration = Duration::from_secs(60);

static INSTALLED: Once = Once::new();
static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// What a command printed.
pub(crate) struct Told {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Told {
    /// What was printed, when all went well and nobody was warned.
    #[track_caller]
    pub(crate) fn quietly(self) -> String {
        let Self { success, out, errors } = self;
        assert!(success && errors.is_empty(), "{errors}{out}");
        out
    }

    /// What was said, when it did not go well.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.success, "accepted: {}", self.out);
        self.errors
    }
}

/// A namespace of one test.
pub(crate) struct Namespace {
    control_plane: &'static ControlPlane,
    name: String,
}

impl Namespace {
    /// A new one, on an API server that knows the resource.
    #[track_caller]
    pub(crate) fn create() -> Self {
        let name = format!("test-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let namespace = Self { control_plane: testing::control_plane(), name };
        INSTALLED.call_once(|| namespace.install(DEFINITION, "sgstreams.stackgres.io"));
        namespace.run(&["create", "namespace", &namespace.name]).quietly();
        namespace
    }

    /// Installs the definition of a resource, and waits until the API server serves and explains it.
    #[track_caller]
    pub(crate) fn install(&self, definition: &str, name: &str) {
        self.run_with(&["apply", "--server-side", "-f", "-"], definition).quietly();
        let deadline = Instant::now() + PATIENCE;
        for condition in [&["get", name][..], &["explain", name]] {
            loop {
                let told = self.run(condition);
                if told.success {
                    break;
                }
                assert!(Instant::now() < deadline, "`kubectl {condition:?}`: {}", told.errors);
            }
        }
    }

    /// Runs `kubectl` with these arguments.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        self.run_with(arguments, "")
    }

    /// Runs `kubectl` with these arguments and this input.
    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Told {
        let mut kubectl = self.control_plane.kubectl();
        kubectl.args(["--namespace", &self.name]).args(arguments);
        kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().unwrap();
        // Dropped at the end of the statement: that is the end of the input.
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let success = output.status.success();
        Told { success, out: text(output.stdout), errors: text(output.stderr) }
    }
}
