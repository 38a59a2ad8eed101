//! PostgreSQL to PostgreSQL, between real servers.

mod fixture;
mod keys;
mod reported;
mod tables;
mod types;
