//! The first copy of the tables.

pub mod plan;
