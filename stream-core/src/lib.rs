//! The engine that moves PostgreSQL data as it changes.

pub mod batch;
pub mod change;
pub mod checkpoint;
pub mod copy;
pub mod error;
pub mod lsn;
pub mod pipeline;
pub mod progress;
pub mod relation;
pub mod retry;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod stats;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, ErrorKind};
