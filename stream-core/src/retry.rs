//! Waiting between attempts.

use std::time::Duration;

/// Delays that double from one attempt to the next, with jitter, up to a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    attempts: u32,
}

impl Backoff {
    /// Delays from about `first` up to `limit`.
    #[must_use]
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, attempts: 0 }
    }

    /// The next delay: between half and all of the doubled one before it.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.attempts.min(20)).min(self.limit);
        self.attempts += 1;
        doubled.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Attempts since the start or the last reset.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Something worked: begin with the first delay again.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay();
            assert!(delay >= Duration::from_millis(expected / 2), "{delay:?}");
            assert!(delay <= Duration::from_millis(expected), "{delay:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
