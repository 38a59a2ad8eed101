//! `stream-worker local` from real servers to an HTTP endpoint.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod away;
mod fixture;
mod kill;
mod large;
mod left;
mod receiver;
mod runs;
mod trouble;
