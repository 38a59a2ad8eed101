//! Progress as log lines: at each new phase, and every ten seconds.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use stream_core::stats::{Phase, StreamStats};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Lag, word};
use crate::supervise::tenths;

/// How often the numbers are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many looks there are from one line to the next.
const LOOKS: u32 = 10;

pub(super) async fn show(mut numbers: watch::Receiver<StreamStats>) -> Infallible {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lag = Lag::default();
    let mut phase = Phase::Starting;
    let mut looks = 0;
    loop {
        tokio::select! {
            _ = look.tick() => looks += 1,
            Ok(_) = numbers.wait_for(|stats| stats.phase != phase) => looks = LOOKS,
        }
        let stats = numbers.borrow().clone();
        let (lag_bytes, behind) = lag.measure(&stats, Instant::now());
        if looks < LOOKS {
            continue;
        }
        looks = 0;
        phase = stats.phase;
        if let Some(waiting) = &stats.waiting_for {
            tracing::warn!(phase = word(phase), "still waiting: {waiting}");
            continue;
        }
        let done = stats.tables.values().filter(|table| table.done).count();
        let rows: u64 = stats.tables.values().map(|table| table.rows).sum();
        tracing::info!(
            phase = word(phase),
            tables_done = done,
            tables = stats.tables.len(),
            rows,
            changes = stats.changes,
            lag_bytes,
            lag_seconds = tenths(behind),
            "progress"
        );
    }
}
