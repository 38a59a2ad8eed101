//! How far the stream is, and what may be confirmed.
//!
//! Pure. Received is always at or beyond flushed, and what may be confirmed never goes back.

use crate::lsn::Lsn;

/// Positions of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    received: Lsn,
    flushed: Lsn,
    confirmable: Lsn,
    /// Batches that left and are not durable yet.
    in_flight: u64,
}

impl Progress {
    /// A stream that starts at `position`: all below it is durable.
    #[must_use]
    pub const fn new(position: Lsn) -> Self {
        Self { received: position, flushed: position, confirmable: position, in_flight: 0 }
    }

    /// All that the source will ever send below `position` has been received.
    pub fn received(&mut self, position: Lsn) {
        self.received = self.received.max(position);
    }

    /// A batch left for the sink.
    pub const fn dispatched(&mut self) {
        self.in_flight += 1;
    }

    /// All batches but `in_flight` are durable at the target, everything below `position` with them.
    pub fn flushed(&mut self, in_flight: u64, position: Lsn) {
        self.in_flight = in_flight;
        self.flushed = self.flushed.max(position);
    }

    /// What the source may be told: what is flushed, and for a stream with nothing on its way
    /// (`collecting_nothing`, and no batch in flight) all that it received.
    pub fn confirmable(&mut self, collecting_nothing: bool) -> Lsn {
        let idle = collecting_nothing && self.in_flight == 0;
        let position = if idle { self.received } else { self.flushed };
        self.confirmable = self.confirmable.max(position);
        self.confirmable
    }

    /// The highest position received.
    #[must_use]
    pub const fn highest_received(&self) -> Lsn {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_follows_what_it_received() {
        let mut progress = Progress::new(Lsn::new(10));
        progress.received(Lsn::new(30));
        assert_eq!(progress.confirmable(true), Lsn::new(30));
    }

    #[test]
    fn nothing_on_its_way_is_passed() {
        let mut progress = Progress::new(Lsn::new(10));
        progress.received(Lsn::new(30));
        assert_eq!(progress.confirmable(false), Lsn::new(10));
        progress.dispatched();
        progress.received(Lsn::new(40));
        assert_eq!(progress.confirmable(true), Lsn::new(10));
        progress.flushed(0, Lsn::new(30));
        assert_eq!(progress.confirmable(false), Lsn::new(30));
        assert_eq!(progress.confirmable(true), Lsn::new(40));
    }

    #[test]
    fn an_idle_stream_that_turns_busy_does_not_go_back() {
        let mut progress = Progress::new(Lsn::new(10));
        progress.received(Lsn::new(56));
        assert_eq!(progress.confirmable(true), Lsn::new(56));
        progress.dispatched();
        progress.flushed(0, Lsn::new(48));
        assert_eq!(progress.confirmable(false), Lsn::new(56));
    }
}
