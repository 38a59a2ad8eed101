//! The engine that moves PostgreSQL data as it changes.

pub mod assemble;
pub mod change;
pub mod lsn;
pub mod pgoutput;
pub mod relation;
pub mod sql;
