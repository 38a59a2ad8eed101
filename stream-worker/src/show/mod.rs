//! Shows how a stream is doing: bars on a terminal, log lines elsewhere.
//!
//! In: the numbers that the engine publishes. Decides nothing, and never holds the stream up.

mod lines;
mod terminal;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant, UNIX_EPOCH};

use indicatif::MultiProgress;
use stream_core::lsn::Lsn;
use stream_core::stats::{Phase, StreamStats};
use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::LogFormat;

/// Between the epochs of Unix and of PostgreSQL.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);
/// Positions that are remembered to tell how long ago the source was there.
const REMEMBERED: usize = 600;

/// Where logs and progress go: the standard error.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    is_terminal: bool,
}

impl Screen {
    /// Begins to log in `format`.
    pub(crate) fn open(format: LogFormat) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let screen = Self { bars: MultiProgress::new(), is_terminal };
        let logs = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_writer(screen.clone())
            .with_ansi(is_terminal);
        // A second call, in tests, finds the first one's logger in place.
        let _ = match format {
            LogFormat::Text => logs.with_target(false).try_init(),
            LogFormat::Json => logs.json().flatten_event(true).try_init(),
        };
        screen
    }

    /// Shows `numbers` until it is dropped.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn show(&self, numbers: watch::Receiver<StreamStats>) -> Infallible {
        match self.is_terminal {
            true => terminal::show(&self.bars, &numbers).await,
            false => lines::show(numbers).await,
        }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        // What cannot be cleared was not seen either.
        let _ = self.bars.clear();
    }
}

/// Says a line to the user. Whoever closed the other end does not want to hear it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Above;

    fn make_writer(&'a self) -> Above {
        Above(self.clone())
    }
}

/// Writes above the bars.
pub(crate) struct Above(Screen);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.is_terminal {
            true => self.0.bars.suspend(|| io::stderr().write(bytes)),
            false => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// How far a stream is behind its source.
#[derive(Debug, Default)]
struct Lag {
    /// Ends of the source's log that are not delivered yet, and when they were first seen.
    seen: VecDeque<(Instant, Lsn)>,
    transactions: u64,
}

impl Lag {
    /// Bytes and time behind. While transactions arrive, the time is that since the commit of the last one;
    /// otherwise since the source's log was first seen to be longer than what is delivered.
    fn measure(&mut self, stats: &StreamStats, now: Instant) -> (u64, Duration) {
        let end = stats.source_end;
        if self.seen.back().is_none_or(|(_, last)| *last < end) && self.seen.len() < REMEMBERED {
            self.seen.push_back((now, end));
        }
        while self.seen.front().is_some_and(|(_, seen)| *seen <= stats.confirmed) {
            self.seen.pop_front();
        }
        let moves =
            std::mem::replace(&mut self.transactions, stats.transactions) < stats.transactions;
        let time = match self.seen.front() {
            None => Duration::ZERO,
            Some(_) if moves => since_commit(stats.last_commit_time_us),
            Some((first, _)) => now.duration_since(*first),
        };
        (end.bytes_since(stats.confirmed), time)
    }
}

/// Time since a commit, by this machine's clock.
fn since_commit(time_us: i64) -> Duration {
    let commit = POSTGRES_EPOCH + Duration::from_micros(u64::try_from(time_us).unwrap_or(0));
    let now = stream_core::clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(commit)
}

/// What the stream is doing, in a word.
const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Snapshot => "copying tables",
        Phase::Finishing => "finishing the snapshot",
        Phase::Streaming => "streaming",
        Phase::Completed => "complete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_nothing_once_all_is_delivered() {
        let mut lag = Lag::default();
        let start = Instant::now();
        let stats = |end, confirmed| StreamStats {
            source_end: Lsn::new(end),
            confirmed: Lsn::new(confirmed),
            ..StreamStats::default()
        };
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lag.measure(&stats(100, 40), at(0)), (60, Duration::ZERO));
        assert_eq!(lag.measure(&stats(200, 40), at(2)), (160, Duration::from_secs(2)));
        assert_eq!(lag.measure(&stats(200, 100), at(3)), (100, Duration::from_secs(1)));
        assert_eq!(lag.measure(&stats(200, 200), at(4)), (0, Duration::ZERO));
    }
}
