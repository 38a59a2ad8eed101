//! Steps at which a test lets the process die, to see that nothing is lost there.
//!
//! In: the step at which to die, given once by the program. Out: nothing, or the end of the process, as sudden as
//! `SIGKILL`. Without the feature `failpoints` all of it is empty, and compiles to nothing.

/// A step between what is received and what is confirmed, or of a snapshot, or of a stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The target has the schema.
    Prepared,
    /// The slot is made, and nothing is saved.
    SlotMade,
    /// The stream's beginning is saved.
    StartSaved,
    /// A chunk is at the target, and not committed.
    ChunkCopied,
    /// A chunk is committed, and its table is not recorded as complete.
    ChunkCommitted,
    /// A table is recorded as complete.
    TableSaved,
    /// An index or a constraint is built, and not committed.
    Built,
    /// An index or a constraint is committed.
    BuildCommitted,
    /// The log is followed from here on.
    Started,
    /// A transaction is received.
    Received,
    /// A batch has left for the sink.
    Sent,
    /// A batch is at the target, and not committed.
    Applied,
    /// A batch is committed.
    Written,
    /// Its position is saved.
    Saved,
    /// It is about to be confirmed.
    Confirming,
    /// It is confirmed.
    Confirmed,
    /// Sequences are synchronised, all is delivered.
    Finished,
    /// It is saved that all is delivered.
    DeliveredSaved,
    /// Slot and publication are removed.
    Removed,
    /// It is saved that the stream is complete.
    CompletedSaved,
}

impl Step {
    /// All of them, in the order in which a stream comes by.
    pub const ALL: [Self; 20] = [
        Self::Prepared,
        Self::SlotMade,
        Self::StartSaved,
        Self::ChunkCopied,
        Self::ChunkCommitted,
        Self::TableSaved,
        Self::Built,
        Self::BuildCommitted,
        Self::Started,
        Self::Received,
        Self::Sent,
        Self::Applied,
        Self::Written,
        Self::Saved,
        Self::Confirming,
        Self::Confirmed,
        Self::Finished,
        Self::DeliveredSaved,
        Self::Removed,
        Self::CompletedSaved,
    ];
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Step;

    static ARMED: OnceLock<(Step, AtomicU64)> = OnceLock::new();

    /// Lets the process die when it comes by `step` for the `times`th time. Only the first call in a process counts.
    pub fn arm(step: Step, times: u64) {
        let _ = ARMED.set((step, AtomicU64::new(times)));
    }

    pub(super) fn reached(step: Step) {
        let Some((armed, left)) = ARMED.get() else { return };
        if *armed == step && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::arm;

/// The process has come to `step`.
#[inline]
pub fn reached(step: Step) {
    #[cfg(feature = "failpoints")]
    armed::reached(step);
    #[cfg(not(feature = "failpoints"))]
    let _ = step;
}
