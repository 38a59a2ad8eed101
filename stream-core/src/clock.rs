//! The time of day, for what is shown or sent.
//!
//! It jumps: it is set by hand, by the network, or while a machine sleeps. So nothing waits or measures by it; that is done with
//! `tokio::time::Instant`, which only goes forward. Clippy refuses every other use of the wall clock.

use std::time::SystemTime;

/// The time of day, now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where it is asked")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
