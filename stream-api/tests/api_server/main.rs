//! The resource as a real API server takes it, and as `kubectl` shows it.
//!
//! All tests of this program share one API server, and each has a namespace of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod definition;
mod kubectl;
mod manifests;
// Tests that need a control plane have this in their path: `cargo xtask test --no-cluster` goes by it.
mod on_a_cluster;
