//! Tests that need an API server.

mod accepted;
mod printed;
mod refused;
mod updated;
