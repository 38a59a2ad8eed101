//! Targets that the engine delivers to.
//!
//! - [`postgres`]: another PostgreSQL. The schema comes over with `pg_dump`, the snapshot as `COPY` data that nobody unpacks, the
//!   log in batches; progress is committed with the data, so that each change arrives once.
//!
//! A sink implements [`stream_core::Sink`], knows no other sink and no configuration format.

pub mod cloudevent;
pub mod envelope;
pub mod postgres;
pub mod transform;
