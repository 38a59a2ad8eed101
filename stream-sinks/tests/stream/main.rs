//! PostgreSQL to PostgreSQL, between real servers.

mod alter;
mod away;
mod columns;
mod corners;
mod divergence;
mod emptied;
mod exchanged;
mod fit;
mod fixture;
mod frozen;
mod handover;
mod in_progress;
mod keys;
mod large;
mod left;
mod lifecycle;
mod locks;
mod long_life;
mod mishaps;
mod publication;
mod resume;
mod roots;
mod sequences;
mod standby;
mod tables;
mod types;
