//! The engine that moves PostgreSQL data as it changes.

pub mod assemble;
pub mod batch;
pub mod change;
pub mod checkpoint;
pub mod copy;
pub mod error;
pub mod file_store;
pub mod filter;
pub mod lsn;
pub mod pgoutput;
pub mod pipeline;
pub mod postgres;
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
#[cfg(feature = "throwaway")]
pub mod throwaway;
pub mod types;

pub use checkpoint::{MemoryStore, OffsetStore};
pub use error::{Error, ErrorKind};
pub use file_store::FileStore;
pub use pipeline::{Control, Outcome, Pipeline};
pub use sink::Sink;
pub use source::Source;

/// The page on embedding, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;
