//! PostgreSQL to PostgreSQL, between real servers.

mod alter;
mod corners;
mod divergence;
mod fixture;
mod handover;
mod in_progress;
mod keys;
mod large;
mod lifecycle;
mod long_life;
mod mishaps;
mod resume;
mod roots;
mod standby;
mod tables;
mod types;
