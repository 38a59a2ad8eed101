//! The engine that moves PostgreSQL data as it changes.

pub mod change;
pub mod filter;
pub mod lsn;
pub mod postgres;
pub mod relation;
pub mod snapshot;
pub mod sql;
