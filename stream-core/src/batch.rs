//! Batches: what travels from the read half to the write half.
//!
//! In: transactions, change by change. Out: [`Batch`]es that hold whole transactions, so that a sink can
//! keep them whole. Only a transaction that is larger than a batch travels in several; the last of them
//! holds its commit. Pure: keeps no time and does no I/O.

use crate::change::{Change, Transaction};
use crate::lsn::Lsn;

/// A step of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A transaction begins.
    Begin(Transaction),
    /// A change. Of the transaction that was begun last, or of none (a snapshot's rows, messages written
    /// outside of transactions).
    Change {
        /// The change's number in its transaction, from 0.
        ordinal: u64,
        /// Where the change stands in the log; 0 for a snapshot's rows.
        lsn: Lsn,
        /// What happened.
        change: Change,
    },
    /// The transaction that was begun last is complete.
    Commit {
        /// That transaction.
        transaction: Transaction,
        /// Where its commit record ends: what may be confirmed once it is durable.
        end: Lsn,
    },
}

/// What a sink gets at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The steps, in the source's order.
    pub entries: Vec<Entry>,
    /// What may be confirmed when the batch is durable; `None` inside of a transaction and for a
    /// snapshot's rows.
    pub ack: Option<Lsn>,
}

impl Batch {
    /// How many changes the batch holds.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Change { .. })).count()
    }
}

/// Collects changes into batches, counted in bytes.
#[derive(Debug)]
pub struct Batcher {
    limit_bytes: usize,
    bytes: usize,
    entries: Vec<Entry>,
    /// How many entries, from the front, belong to complete transactions.
    complete: usize,
    /// Bytes of those.
    complete_bytes: usize,
    ack: Option<Lsn>,
    /// The open transaction, as long as none of its changes was kept.
    begun: Option<Transaction>,
    in_transaction: bool,
}

impl Batcher {
    /// A batcher whose batches hold about `limit_bytes`, one change more at most.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            entries: Vec::new(),
            complete: 0,
            complete_bytes: 0,
            ack: None,
            begun: None,
            in_transaction: false,
        }
    }

    /// A transaction begins. Nothing is kept of it until it has a change.
    pub const fn begin(&mut self, transaction: Transaction) {
        self.begun = Some(transaction);
        self.in_transaction = true;
    }

    /// Adds a change. `held_bytes` is what the change keeps from being freed: it may pin a received
    /// buffer of which it is a small part.
    pub fn change(&mut self, ordinal: u64, lsn: Lsn, change: Change, held_bytes: usize) {
        if let Some(transaction) = self.begun.take() {
            self.push(Entry::Begin(transaction), 0);
        }
        let held_bytes = held_bytes.max(change.size_bytes());
        self.push(Entry::Change { ordinal, lsn, change }, held_bytes);
        if !self.in_transaction {
            self.close();
        }
    }

    /// The open transaction is complete. One without changes only moves the position of what leaves anyway:
    /// a source can have thousands of them a second that do not concern the stream.
    pub fn commit(&mut self, transaction: Transaction, end: Lsn) {
        self.in_transaction = false;
        if self.begun.take().is_none() {
            self.push(Entry::Commit { transaction, end }, 0);
        } else if self.is_idle() {
            return;
        }
        self.mark(end);
    }

    /// All below `position` is in what was taken and in what is kept: the next batch says so, and leaves even
    /// without entries. Never inside of a transaction.
    pub const fn mark(&mut self, position: Lsn) {
        debug_assert!(
            !self.in_transaction,
            "an open transaction is not complete below any position"
        );
        self.ack = Some(position);
        self.close();
    }

    /// Whether a batch should leave: a transaction is complete, or the limit is reached.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.complete > 0 || self.ack.is_some() || self.is_full()
    }

    /// Whether nothing more may be added before a batch has left.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.bytes >= self.limit_bytes
    }

    /// Whether a transaction has begun that is not complete.
    #[must_use]
    pub const fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Whether nothing is kept and no transaction is open.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.ack.is_none() && !self.in_transaction
    }

    /// Takes what is complete; when nothing is, the part of a transaction larger than a batch.
    pub fn take(&mut self) -> Batch {
        let ack = self.ack.take();
        if ack.is_none() && self.complete == 0 {
            self.bytes = 0;
            return Batch { entries: std::mem::take(&mut self.entries), ack: None };
        }
        let rest = self.entries.split_off(self.complete);
        self.bytes -= self.complete_bytes;
        self.complete = 0;
        self.complete_bytes = 0;
        Batch { entries: std::mem::replace(&mut self.entries, rest), ack }
    }

    fn push(&mut self, entry: Entry, held_bytes: usize) {
        self.bytes += held_bytes + size_of::<Entry>();
        self.entries.push(entry);
    }

    const fn close(&mut self) {
        self.complete = self.entries.len();
        self.complete_bytes = self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn transaction(xid: u32) -> Transaction {
        Transaction { xid, commit_lsn: Lsn::new(u64::from(xid) * 100), commit_time_us: 0 }
    }

    fn message(bytes: usize) -> Change {
        Change::Message {
            transactional: true,
            lsn: Lsn::default(),
            prefix: String::new(),
            content: Bytes::from(vec![0; bytes]),
        }
    }

    fn shape(batch: &Batch) -> String {
        batch
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Begin(_) => 'B',
                Entry::Change { .. } => 'c',
                Entry::Commit { .. } => 'C',
            })
            .collect()
    }

    #[test]
    fn a_batch_ends_at_a_commit_while_the_next_transaction_is_open() {
        let mut batcher = Batcher::new(10_000);
        batcher.begin(transaction(1));
        batcher.change(0, Lsn::default(), message(1), 0);
        assert!(!batcher.is_ready());
        batcher.commit(transaction(1), Lsn::new(110));
        batcher.begin(transaction(2));
        batcher.change(0, Lsn::default(), message(1), 0);
        assert!(batcher.is_ready());
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("BcC", Some(Lsn::new(110))));
        assert!(!batcher.is_ready() && !batcher.is_idle());
        batcher.commit(transaction(2), Lsn::new(210));
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("BcC", Some(Lsn::new(210))));
        assert!(batcher.is_idle());
    }

    #[test]
    fn a_giant_transaction_travels_in_parts_and_only_the_last_has_the_ack() {
        let mut batcher = Batcher::new(2_000);
        batcher.begin(transaction(1));
        batcher.change(0, Lsn::default(), message(1_500), 0);
        batcher.change(1, Lsn::default(), message(1_500), 0);
        assert!(batcher.is_full() && batcher.is_ready());
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("Bcc", None));
        assert!(!batcher.is_idle());
        batcher.commit(transaction(1), Lsn::new(110));
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("C", Some(Lsn::new(110))));
    }

    #[test]
    fn an_empty_transaction_moves_the_position_of_what_leaves_anyway() {
        let mut batcher = Batcher::new(2_000);
        batcher.begin(transaction(1));
        batcher.commit(transaction(1), Lsn::new(110));
        assert!(batcher.is_idle() && !batcher.is_ready());
        batcher.change(0, Lsn::default(), message(1), 0);
        batcher.begin(transaction(2));
        batcher.commit(transaction(2), Lsn::new(210));
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("c", Some(Lsn::new(210))));
        assert!(batcher.is_idle());
    }

    #[test]
    fn a_marked_position_leaves_alone() {
        let mut batcher = Batcher::new(2_000);
        batcher.mark(Lsn::new(110));
        assert!(batcher.is_ready() && !batcher.is_idle());
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("", Some(Lsn::new(110))));
        assert!(batcher.is_idle());
    }

    #[test]
    fn a_small_row_that_pins_a_large_buffer_counts_as_large() {
        let mut batcher = Batcher::new(2_000);
        batcher.begin(transaction(1));
        batcher.change(0, Lsn::default(), message(1), 5_000);
        assert!(batcher.is_full());
    }

    #[test]
    fn a_message_outside_of_transactions_leaves_without_an_ack() {
        let mut batcher = Batcher::new(2_000);
        batcher.change(0, Lsn::default(), message(1), 0);
        assert!(batcher.is_ready());
        let batch = batcher.take();
        assert_eq!((shape(&batch).as_str(), batch.ack), ("c", None));
        assert!(batcher.is_idle());
    }
}
