//! How far the stream is, and what may be confirmed.
//!
//! Pure. Only what was saved is ever confirmed, and no position goes back.

use crate::lsn::Lsn;

/// Positions of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    received: Lsn,
    sent: Lsn,
    flushed: Lsn,
}

impl Progress {
    /// A stream that starts at `position`: all below it is durable.
    #[must_use]
    pub const fn new(position: Lsn) -> Self {
        Self { received: position, sent: position, flushed: position }
    }

    /// All that the source will ever send below `position` has been received.
    pub fn received(&mut self, position: Lsn) {
        self.received = self.received.max(position);
    }

    /// All below `position`, and the position itself, is on the way to the target.
    pub fn sent(&mut self, position: Lsn) {
        self.sent = self.sent.max(position);
    }

    /// All below `position` is durable at the target, and the position is saved.
    pub fn saved(&mut self, position: Lsn) {
        self.flushed = self.flushed.max(position);
    }

    /// What the source may be told.
    #[must_use]
    pub const fn flushed(&self) -> Lsn {
        self.flushed
    }

    /// The highest position that is on the way to the target.
    #[must_use]
    pub const fn highest_sent(&self) -> Lsn {
        self.sent
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
    fn received_is_not_confirmed() {
        let mut progress = Progress::new(Lsn::new(10));
        progress.received(Lsn::new(30));
        progress.sent(Lsn::new(30));
        assert_eq!(progress.flushed(), Lsn::new(10));
        progress.saved(Lsn::new(20));
        assert_eq!((progress.flushed(), progress.highest_received()), (Lsn::new(20), Lsn::new(30)));
    }

    #[test]
    fn no_position_goes_back() {
        let mut progress = Progress::new(Lsn::new(10));
        progress.received(Lsn::new(30));
        progress.received(Lsn::new(20));
        progress.sent(Lsn::new(25));
        progress.sent(Lsn::new(20));
        assert_eq!(progress.highest_sent(), Lsn::new(25));
        progress.saved(Lsn::new(15));
        progress.saved(Lsn::new(12));
        assert_eq!((progress.flushed(), progress.highest_received()), (Lsn::new(15), Lsn::new(30)));
    }
}
