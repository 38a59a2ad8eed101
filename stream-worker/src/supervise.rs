//! Runs a stream again and again, until it is complete, told to stop, or cannot go on.
//!
//! ```text
//!  open ─► run ─► complete ───────────────► exit code 0
//!   ▲       ├──── told to stop ───────────► 0 (SIGINT), 143 (SIGTERM)
//!   │       ├──── cannot go on ───────────► 1, 2 or 3
//!   └─ wait ┴──── broke, and may work again
//! ```

use std::time::Duration;

use stream_core::lsn::Lsn;
use stream_core::pipeline::{Control, Outcome};
use stream_core::retry::Backoff;
use stream_core::stats::{Phase, Stats};
use stream_core::{Error, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::compose::Composition;

/// Exit code: failed, and another attempt may help.
pub(crate) const FAILED: u8 = 1;
/// Exit code: the input is bad, and no other attempt helps.
pub(crate) const BAD_INPUT: u8 = 2;
/// Exit code: another worker runs the stream.
const FENCED: u8 = 3;
/// Exit code: told to stop, as by SIGTERM.
const TERMINATED: u8 = 143;

const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run that lasted so long, or came further, was well: the next failure is a new one.
const HEALTHY: Duration = Duration::from_secs(60);
/// Ctrl-C reaches child processes too, and their end can be noticed before the signal is.
const SIGNAL_DELAY: Duration = Duration::from_millis(200);
/// Whoever signals a process and its group, as `timeout` does, means it once.
const SAME_SIGNAL: Duration = Duration::from_millis(250);
/// How long a batch that is being written may keep a stream from stopping. Well below the 30 s after which a cluster
/// kills what it told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// `Complete` and `Stop`: nothing else is ever sent.
const CONTROLS: usize = 2;

/// How a stream ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is delivered.
    Completed,
    /// By SIGINT.
    Interrupted,
    /// By SIGTERM.
    Terminated,
}

impl Ending {
    /// What the process ends with.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Completed | Self::Interrupted => 0,
            Self::Terminated => TERMINATED,
        }
    }
}

/// What the process ends with after an error.
pub(crate) const fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Transient | ErrorKind::Changed | ErrorKind::Permanent => FAILED,
        ErrorKind::Configuration => BAD_INPUT,
        ErrorKind::Fenced => FENCED,
    }
}

/// SIGINT and SIGTERM. The first asks for an end; a second one ends the process at once.
pub(crate) struct Signals {
    asked: watch::Receiver<Option<Ending>>,
    _listener: JoinSet<()>,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> Result<Self, Error> {
        let refused = |error| unexpected(format!("cannot listen for signals: {error}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let (asks, asked) = watch::channel(None);
        let mut listener = JoinSet::new();
        listener.spawn(listen(interrupt, terminate, asks));
        Ok(Self { asked, _listener: listener })
    }

    /// The end that was asked for, if any was.
    pub(crate) fn asked(&self) -> Option<Ending> {
        *self.asked.borrow()
    }

    /// Waits until an end is asked for.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn wait(&self) -> Ending {
        let mut asked = self.asked.clone();
        match asked.wait_for(Option::is_some).await.ok().and_then(|ending| *ending) {
            Some(ending) => ending,
            // The listener ends with the process only.
            None => std::future::pending().await,
        }
    }

    /// `error`, unless it came of an end that was asked for.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn excuse(&self, error: Error) -> Result<Ending, Error> {
        match timeout(SIGNAL_DELAY, self.wait()).await {
            Ok(ending) if error.kind() != ErrorKind::Fenced => {
                tracing::debug!(%error, "failed while stopping");
                Ok(ending)
            }
            Ok(_) | Err(_) => Err(error),
        }
    }
}

async fn listen(mut interrupt: Signal, mut terminate: Signal, asks: watch::Sender<Option<Ending>>) {
    let mut first = None;
    loop {
        let ending = tokio::select! {
            _ = interrupt.recv() => Ending::Interrupted,
            _ = terminate.recv() => Ending::Terminated,
        };
        match first {
            None => first = Some(Instant::now()),
            Some(first) if first.elapsed() < SAME_SIGNAL => continue,
            // Throw-away servers notice that their owner is gone, and stop by themselves.
            Some(_) => std::process::exit(TERMINATED.into()),
        }
        asks.send_replace(Some(ending));
    }
}

/// How persistent to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Restarts after failures that follow each other; `None`: without end.
    pub(crate) max_retries: Option<u32>,
    /// Whether the stream is to complete.
    pub(crate) complete: bool,
}

/// Runs `composition` until it ends.
///
/// # Errors
/// The first error that another attempt does not help against, or the one after the last attempt.
///
/// # Cancel safety
/// As a crash: what is confirmed is delivered.
pub(crate) async fn run(
    composition: &mut Composition,
    plan: Plan,
    stats: &Stats,
    signals: &Signals,
) -> Result<Ending, Error> {
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    loop {
        stats.update(|stats| {
            stats.phase = Phase::Starting;
            stats.waiting_for = None;
        });
        let (started, before) = (Instant::now(), saved(stats));
        let error = match attempt(composition, plan.complete, stats, signals).await {
            Ok(ending) => return Ok(ending),
            Err(error) => error,
        };
        if signals.asked().is_some() || !error.is_retryable() {
            return signals.excuse(error).await;
        }
        if error.kind() == ErrorKind::Changed {
            tracing::info!(reason = %error, "the stream starts again");
            tokio::select! {
                ending = signals.wait() => return Ok(ending),
                () = sleep(FIRST_DELAY) => continue,
            }
        }
        if started.elapsed() >= HEALTHY || saved(stats) > before {
            backoff.reset();
        }
        if plan.max_retries.is_some_and(|most| backoff.attempts() >= most) {
            let doing = match backoff.attempts() {
                0 => "failed, and `maxRetries` is 0".to_owned(),
                retries => format!("failed after {retries} retries (`maxRetries`)"),
            };
            return signals.excuse(error.context(doing)).await;
        }
        let delay = backoff.next_delay();
        tracing::warn!(
            retry = backoff.attempts(),
            delay_seconds = tenths(delay),
            %error,
            "the stream broke and starts again"
        );
        tokio::select! {
            ending = signals.wait() => return Ok(ending),
            () = sleep(delay) => {}
        }
    }
}

/// How far the stream is for good. What was delivered and could not be noted comes again: at an endpoint that would be a flood.
fn saved(stats: &Stats) -> Lsn {
    stats.subscribe().borrow().saved
}

/// Seconds for people, with one decimal place.
pub(crate) fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

async fn attempt(
    composition: &mut Composition,
    complete: bool,
    stats: &Stats,
    signals: &Signals,
) -> Result<Ending, Error> {
    let opened = tokio::select! {
        ending = signals.wait() => return Ok(ending),
        opened = composition.open(stats) => opened?,
    };
    let (control, commands) = mpsc::channel(CONTROLS);
    if complete {
        // There is room for it.
        let _ = control.try_send(Control::Complete);
    }
    let mut running = Box::pin(opened.run(commands));
    let (ending, outcome) = tokio::select! {
        outcome = &mut running => (None, outcome?),
        ending = signals.wait() => {
            let _ = control.try_send(Control::Stop);
            let Ok(outcome) = timeout(STOP_PATIENCE, &mut running).await else {
                tracing::warn!("the target did not finish a batch in time: it is delivered again at the next start");
                return Ok(ending);
            };
            (Some(ending), outcome?)
        }
    };
    match (outcome, ending) {
        (Outcome::Completed, _) => Ok(Ending::Completed),
        (Outcome::Stopped, Some(ending)) => Ok(ending),
        (Outcome::Stopped, None) => {
            Err(unexpected("the stream stopped, and nobody asked for it: report it"))
        }
    }
}

/// Something that does not happen unless the program, or the system below it, is wrong.
///
/// Message: `<what happened>`: report it
///
/// Remedy: start the stream again, and report it.
pub(crate) fn unexpected(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Permanent, what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_say_whether_another_attempt_helps() {
        let code = |kind| exit_code(&Error::new(kind, "reason"));
        assert_eq!(code(ErrorKind::Transient), 1);
        assert_eq!(code(ErrorKind::Permanent), 1);
        assert_eq!(code(ErrorKind::Configuration), 2);
        assert_eq!(code(ErrorKind::Fenced), 3);
        assert_eq!(Ending::Completed.exit_code(), 0);
        assert_eq!(Ending::Interrupted.exit_code(), 0);
        assert_eq!(Ending::Terminated.exit_code(), 143);
    }
}
