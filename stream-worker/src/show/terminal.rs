//! Progress on a terminal: a bar for each table that is being copied, and one line for the stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use stream_core::relation::TableName;
use stream_core::stats::{Phase, StreamStats, TableProgress};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Lag, word};

/// How often the picture changes.
const REDRAW: Duration = Duration::from_millis(200);
const BAR: &str = "{prefix:30!} {bar:30} {percent:>3}%  {msg}";
const LINE: &str = "{spinner} {msg}";

pub(super) async fn show(
    bars: &MultiProgress,
    numbers: &watch::Receiver<StreamStats>,
) -> Infallible {
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut picture = Picture::new(bars);
    loop {
        redraw.tick().await;
        let stats = numbers.borrow().clone();
        picture.draw(bars, &stats, Instant::now());
    }
}

struct Picture {
    tables: BTreeMap<TableName, (ProgressBar, Instant)>,
    line: ProgressBar,
    lag: Lag,
}

impl Picture {
    fn new(bars: &MultiProgress) -> Self {
        let line = bars.add(ProgressBar::new_spinner().with_style(style(LINE)));
        Self { tables: BTreeMap::new(), line, lag: Lag::default() }
    }

    fn draw(&mut self, bars: &MultiProgress, stats: &StreamStats, now: Instant) {
        for (name, table) in &stats.tables {
            let is_copied = table.bytes > 0 && !table.done && stats.phase == Phase::Snapshot;
            if is_copied {
                let line = &self.line;
                let (bar, started) = self.tables.entry(name.clone()).or_insert_with(|| {
                    let bar = ProgressBar::new(0).with_style(style(BAR));
                    (bars.insert_before(line, bar.with_prefix(name.to_string())), now)
                });
                // A row can take more bytes on the wire than on the disk.
                bar.set_length(table.source_bytes.max(table.bytes).max(1));
                bar.set_position(table.bytes);
                bar.set_message(rate(table, now.duration_since(*started)));
            } else if let Some((bar, _)) = self.tables.remove(name) {
                bar.finish_and_clear();
                bars.remove(&bar);
                if table.done {
                    // What cannot be printed is not seen.
                    let _ = bars.println(format!("{name}: {} rows copied", HumanCount(table.rows)));
                }
            }
        }
        let (bytes, behind) = self.lag.measure(stats, now);
        self.line.set_message(line(stats, bytes, behind));
        self.line.tick();
    }
}

/// The line of the stream.
fn line(stats: &StreamStats, lag_bytes: u64, behind: Duration) -> String {
    if let Some(waiting) = &stats.waiting_for {
        return waiting.clone();
    }
    match stats.phase {
        Phase::Streaming => format!(
            "streaming: {} changes, {} and {:.1} s behind",
            HumanCount(stats.changes),
            BinaryBytes(lag_bytes),
            behind.as_secs_f32()
        ),
        Phase::Snapshot => {
            let done = stats.tables.values().filter(|table| table.done).count();
            format!("{}: {done} of {} done", word(stats.phase), stats.tables.len())
        }
        Phase::Starting | Phase::Finishing | Phase::Completed => word(stats.phase).to_owned(),
    }
}

/// Rows, rows a second, and how long the rest takes if it goes on like this.
fn rate(table: &TableProgress, taken: Duration) -> String {
    let milliseconds = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX).max(1);
    let rows_per_second = table.rows.saturating_mul(1000) / milliseconds;
    let left = table.source_bytes.saturating_sub(table.bytes);
    let eta = u128::from(left) * u128::from(milliseconds) / u128::from(table.bytes.max(1)) / 1000;
    format!("{} rows, {}/s, {eta} s left", HumanCount(table.rows), HumanCount(rows_per_second))
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a test draws them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [BAR, LINE] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn the_rest_is_estimated_by_what_is_done() {
        let table = TableProgress { rows: 5_000, bytes: 100, source_bytes: 400, done: false };
        assert_eq!(rate(&table, Duration::from_secs(5)), "5,000 rows, 1,000/s, 15 s left");
        assert_eq!(rate(&TableProgress::default(), Duration::ZERO), "0 rows, 0/s, 0 s left");
    }
}
