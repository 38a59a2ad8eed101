//! PostgreSQL to PostgreSQL, between real servers.

mod alter;
mod divergence;
mod fixture;
mod keys;
mod large;
mod lifecycle;
mod reported;
mod resume;
mod tables;
mod types;
