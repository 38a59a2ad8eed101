//! Delivery to real HTTP servers, well and badly behaved.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by a panic, in its helpers too"
)]

mod answers;
mod fixture;
mod http2;
mod large;
mod modes;
mod order;
mod sdk;
mod server;
mod tls;
