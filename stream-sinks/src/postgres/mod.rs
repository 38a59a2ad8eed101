//! A PostgreSQL database as the target.

pub mod schema;
