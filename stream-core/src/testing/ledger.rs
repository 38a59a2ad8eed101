//! The oracle: what was sent, written, saved and confirmed, and whether each may have happened.
//!
//! Fed by [`super::observed::Observed`]. Outlives a pipeline: what one run confirmed, the next must not
//! need.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::batch::{Batch, Entry};
use crate::change::Change;
use crate::checkpoint::{Checkpoint, Completion, TableSync};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::source::{Beginning, SourceEvent};
use crate::table::Table;
use crate::testing::book::{Book, Copying, Run};
use crate::testing::observed::Observed;
use crate::testing::script::Script;

/// Calls whose order matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `Source::close` ended.
    Close,
    /// `Sink::finish` ended well.
    Finish,
    /// `Source::remove` ended well.
    Remove,
}

/// Keeps the books of a stream. Clones are the same ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    /// Watches a source, a sink or a store.
    #[must_use]
    pub fn observe<T>(&self, inner: T) -> Observed<T> {
        Observed::new(inner, self.clone())
    }

    /// Enters all that `script` will send, so that confirming it before it is sent is noticed too.
    pub fn expect(&self, script: &Script) {
        let mut book = self.book();
        for event in script.events() {
            book.send(event, false);
        }
        book.run = Run::default();
    }

    /// The promises that were broken.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.book().violations.clone()
    }

    /// When which position was confirmed.
    #[must_use]
    pub fn confirmations(&self) -> Vec<(Instant, Lsn)> {
        self.book().confirms.clone()
    }

    /// The position saved last.
    #[must_use]
    pub fn saved_position(&self) -> Lsn {
        self.book().saved
    }

    /// Calls in their order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.book().calls.clone()
    }

    /// Bytes of the changes that were taken from the source.
    #[must_use]
    pub fn taken_bytes(&self) -> usize {
        self.book().taken_bytes
    }

    /// Checks that no promise was broken.
    ///
    /// # Panics
    /// When one was.
    #[track_caller]
    pub fn assert_kept(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "broken promises:\n  {}", violations.join("\n  "));
    }

    /// Checks that no promise was broken, and that everything was written, saved and confirmed.
    ///
    /// # Panics
    /// When something is missing.
    #[track_caller]
    pub fn assert_complete(&self) {
        let mut book = self.book();
        let (confirmed, saved) = (book.confirmed_ever, book.saved);
        let end = book.owed.last_key_value().map_or(Lsn::default(), |(end, _)| *end);
        book.check_durable("the end of the test", end);
        let messages = book.messages.values().filter(|written| !**written).count();
        if messages > 0 {
            book.broken(format!("{messages} messages were not written"));
        }
        if confirmed < end || saved < end {
            book.broken(format!("confirmed {confirmed} and saved {saved} at last, not {end}"));
        }
        drop(book);
        self.assert_kept();
    }

    pub(super) fn called(&self, call: Call) {
        let mut book = self.book();
        book.run.finished |= call == Call::Finish;
        book.run.removed |= call == Call::Remove;
        book.calls.push(call);
    }

    pub(super) fn runs(&self, checkpoint: &Checkpoint) {
        let mut book = self.book();
        book.run = Run::default();
        book.saved = checkpoint.position.unwrap_or_default();
        book.completion = checkpoint.completion;
        for (table, sync) in &checkpoint.tables {
            book.tables.entry(table.clone()).or_default().sync = Some(sync.clone());
        }
    }

    pub(super) fn begins(&self, beginning: &Beginning) {
        let mut book = self.book();
        book.run.started = beginning.start;
        for table in beginning.snapshot.iter().flat_map(|snapshot| &snapshot.tables) {
            let sync = book.tables.remove(&table.name).and_then(|copying| copying.sync);
            book.tables.insert(table.name.clone(), Copying { sync, ..Copying::default() });
        }
        for chunk in beginning.snapshot.iter().flat_map(|snapshot| &snapshot.chunks) {
            book.tables.entry(chunk.table.clone()).or_default().parts += 1;
        }
    }

    pub(super) fn begins_copy(&self, tables: &[Arc<Table>]) -> Result<(), Error> {
        self.enter(|book| {
            for table in tables {
                let copying = book.tables.entry(table.name.clone()).or_default();
                copying.begun = true;
                if !matches!(copying.sync, Some(TableSync::Copying { .. })) {
                    let table = &table.name;
                    book.broken(format!("`{table}` is emptied before it is saved as being copied"));
                }
            }
        })
    }

    pub(super) fn copied(&self, table: &TableName) {
        self.book().tables.entry(table.clone()).or_default().copied += 1;
    }

    pub(super) fn saves_tables(&self, tables: &[(TableName, TableSync)]) -> Result<(), Error> {
        self.enter(|book| {
            for (table, sync) in tables {
                let Some(copying) = book.tables.get(table) else { continue };
                let Copying { parts, copied, begun, .. } = copying;
                let complete = *begun && copied == parts;
                if matches!(sync, TableSync::Synced { .. }) && !complete {
                    let told = format!("`{table}` is saved as complete: {copied} of {parts} parts");
                    book.broken(told);
                }
            }
        })
    }

    pub(super) fn saved_tables(&self, tables: &[(TableName, TableSync)]) {
        let mut book = self.book();
        for (table, sync) in tables {
            book.tables.entry(table.clone()).or_default().sync = Some(sync.clone());
        }
    }

    pub(super) fn completes_snapshot(&self, consistent_at: Option<Lsn>) -> Result<(), Error> {
        self.enter(|book| {
            let synced = book.synced();
            if synced.len() < book.tables.len() {
                book.broken("the snapshot is called complete before each table is".to_owned());
            }
            let last = synced.values().max().copied();
            let expected = last.filter(|last| *last > book.run.started);
            if expected != consistent_at {
                book.broken(format!(
                    "the target is called consistent at {consistent_at:?}, not at {expected:?}"
                ));
            }
        })
    }

    pub(super) fn starts(
        &self,
        position: Lsn,
        synced: &BTreeMap<TableName, Lsn>,
        before_the_copy: bool,
    ) -> Result<(), Error> {
        self.enter(|book| {
            book.run.confirmed = position;
            book.check_durable("the start", position);
            if book.completion != Completion::Open {
                book.broken(format!("a stream that is {:?} starts again", book.completion));
            }
            // Before it, tables count that are to be copied.
            let saved = book.synced();
            let has_saved = saved.iter().all(|(name, lsn)| synced.get(name) == Some(lsn));
            if !has_saved || !before_the_copy && *synced != saved {
                book.broken(format!("the stream starts with {synced:?}, which is not saved"));
            }
        })
    }

    pub(super) fn sends(&self, event: &SourceEvent) {
        let mut book = self.book();
        if let SourceEvent::Change { change, held_bytes, .. } = event {
            book.taken_bytes += change.size_bytes().max(*held_bytes);
        }
        book.send(event, true);
    }

    pub(super) fn writes(&self, batch: &Batch) -> Result<(), Error> {
        self.enter(|book| book.write(batch))
    }

    pub(super) fn wrote(&self, batch: &Batch) {
        let mut book = self.book();
        for entry in &batch.entries {
            match entry {
                Entry::Commit { end, .. } => {
                    if let Some(owed) = book.owed.get_mut(end) {
                        owed.written = true;
                    }
                }
                Entry::Change {
                    change: Change::Message { transactional: false, lsn, .. }, ..
                } => {
                    book.messages.insert(*lsn, true);
                }
                Entry::Begin(_) | Entry::Change { .. } => {}
            }
        }
    }

    pub(super) fn saves(&self, position: Lsn) -> Result<(), Error> {
        self.enter(|book| {
            if position < book.saved {
                book.broken(format!("{position} is saved after {}", book.saved));
            }
            book.check_durable("a saved position", position);
        })
    }

    pub(super) fn saved(&self, position: Lsn) {
        self.book().saved = position;
    }

    pub(super) fn confirms(&self, flush: Lsn) -> Result<(), Error> {
        self.enter(|book| book.confirm(flush))
    }

    pub(super) fn saves_completion(&self, completion: Completion) -> Result<(), Error> {
        self.enter(|book| book.complete(completion))
    }

    pub(super) fn saved_completion(&self, completion: Completion) {
        self.book().completion = completion;
    }

    pub(super) fn finishes(&self) -> Result<(), Error> {
        self.enter(|book| {
            let lost = book.owed.iter().find(|(_, owed)| owed.sent && owed.is_missing());
            if let Some((end, _)) = lost {
                let told = format!("the target is finished without the transaction to {end}");
                book.broken(told);
            }
        })
    }

    pub(super) fn removes(&self) -> Result<(), Error> {
        self.enter(|book| {
            if book.completion != Completion::Delivered {
                let told = "the source is removed before it is saved that the target is finished";
                book.broken(told.to_owned());
            }
        })
    }

    /// Makes an entry; what it breaks is the caller's error.
    fn enter(&self, entry: impl FnOnce(&mut Book)) -> Result<(), Error> {
        let mut book = self.book();
        let before = book.violations.len();
        entry(&mut book);
        match book.violations.get(before) {
            Some(violation) => {
                Err(Error::new(ErrorKind::Permanent, format!("broken promise: {violation}")))
            }
            None => Ok(()),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
