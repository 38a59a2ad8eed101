//! The time of day, for what is shown or sent.
//!
//! It jumps: it is set by hand, by the network, or while a machine sleeps. So nothing waits or measures by it; that is done with
//! `tokio::time::Instant`, which only goes forward. Clippy refuses every other use of the wall clock.

#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicI64, Ordering};
#[cfg(any(test, feature = "testing"))]
use std::time::Duration;
use std::time::SystemTime;

/// Seconds that tests have set the clock forward, or back.
#[cfg(any(test, feature = "testing"))]
static JUMPED: AtomicI64 = AtomicI64::new(0);

/// The time of day, now.
#[must_use]
pub fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the one place where it is asked")]
    let now = SystemTime::now();
    #[cfg(any(test, feature = "testing"))]
    let now = {
        let jumped = JUMPED.load(Ordering::Relaxed);
        let by = Duration::from_secs(jumped.unsigned_abs());
        if jumped < 0 { now - by } else { now + by }
    };
    now
}

/// Sets the clock of this process `seconds` ahead of the machine's; behind it, when they are negative.
#[cfg(any(test, feature = "testing"))]
pub fn jump(seconds: i64) {
    JUMPED.store(seconds, Ordering::Relaxed);
}
