//! Snapshots: what a stream copies before it follows the log.

pub mod copy;
pub mod plan;
