//! Tells people that an endpoint takes no events, and when it does again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use stream_core::stats::Stats;

/// How often it is said again.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was said last. Shared by all requests, so that many that fail are told as one.
#[derive(Debug)]
pub(super) struct Trouble {
    stats: Stats,
    is_told: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Trouble {
    pub(super) const fn new(stats: Stats) -> Self {
        Self { stats, is_told: AtomicBool::new(false), last: Mutex::new(None) }
    }

    /// An attempt failed, and another follows.
    pub(super) fn failed(&self, endpoint: &str, reason: &str, attempt: u64, delay: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        self.is_told.store(true, Ordering::Relaxed);
        let delay_seconds = (delay.as_secs_f64() * 10.0).round() / 10.0;
        tracing::warn!(
            endpoint,
            reason,
            attempt,
            delay_seconds,
            "the endpoint does not take an event: trying again"
        );
        self.stats
            .update(|stats| stats.waiting_for = Some(format!("endpoint {endpoint}: {reason}")));
    }

    /// A request was delivered.
    pub(super) fn passed(&self, endpoint: &str) {
        if self.is_told.load(Ordering::Relaxed) && self.is_told.swap(false, Ordering::Relaxed) {
            self.stats.update(|stats| stats.waiting_for = None);
            tracing::info!(endpoint, "the endpoint takes events again");
        }
    }
}
