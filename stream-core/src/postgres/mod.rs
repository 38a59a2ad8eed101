//! The source: what is read from a PostgreSQL server and asked of it.

pub mod blocker;
pub mod capture;
pub mod catalog;
pub mod preflight;
pub mod publication;
pub mod query;
pub mod slot;
