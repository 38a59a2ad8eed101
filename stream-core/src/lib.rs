//! The engine that moves PostgreSQL data as it changes.
//!
//! A [`Pipeline`] takes a [`Source`] ([`postgres::PostgresSource`]), a [`Sink`] (yours, or one of `stream-sinks`) and an
//! [`OffsetStore`], copies the captured tables at the position where a replication slot begins, and then follows the log:
//!
//! ```text
//! snapshot   COPY … TO ───── pieces, unread ───────────────────────> Sink::copy ──┐
//! log        pgoutput::decode -> assemble -> filter -> Batch ──────> Sink::write ─┤ Ok means durable
//!            Source::confirm <─ Progress <── OffsetStore::save_position <─────────┘
//! ```
//!
//! What the source may forget is exactly what was written and then saved: nothing is confirmed earlier, and a stream
//! that is killed goes on from what was saved. Source transactions stay whole and in order; memory is bounded in bytes;
//! a slow sink never keeps the source from its sign of life.
//!
//! The page `docs/embedding.md` is a program of thirty lines that streams a table into its own `Sink`.
//! `testing` has a ledger that fails a test at the moment when a sink, a source or a store breaks its promise (feature
//! `testing`), `throwaway` starts private servers (feature `throwaway`).
//!
//! This crate knows nobody's configuration or orchestration, writes no metrics, and starts no stream again:
//! an error ends the pipeline, and its [`ErrorKind`] says whether a new one from the checkpoint may help.

pub mod assemble;
pub mod batch;
pub mod change;
pub mod checkpoint;
pub mod clock;
pub mod columns;
pub mod copy;
pub mod error;
pub mod failpoint;
pub mod file_store;
pub mod filter;
pub mod finding;
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
