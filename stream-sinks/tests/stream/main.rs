//! PostgreSQL to PostgreSQL, between real servers.

mod fixture;
mod keys;
mod tables;
mod types;
