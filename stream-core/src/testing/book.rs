//! What a [`super::ledger::Ledger`] has written down, and its rules.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::batch::{Batch, Entry};
use crate::change::{Change, Transaction};
use crate::checkpoint::{Completion, TableSync};
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::source::SourceEvent;
use crate::testing::ledger::Call;

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) violations: Vec<String>,
    /// By the end of their commit record.
    pub(super) owed: BTreeMap<Lsn, Owed>,
    /// Messages outside of transactions, and whether they were written.
    pub(super) messages: BTreeMap<Lsn, bool>,
    /// All below was found to be written before.
    pub(super) durable: Lsn,
    pub(super) tables: BTreeMap<TableName, Copying>,
    pub(super) saved: Lsn,
    pub(super) completion: Completion,
    pub(super) confirmed_ever: Lsn,
    pub(super) confirms: Vec<(Instant, Lsn)>,
    pub(super) calls: Vec<Call>,
    pub(super) taken_bytes: usize,
    pub(super) run: Run,
}

/// What begins anew with every run.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) sending: Option<(Transaction, Vec<u64>)>,
    pub(super) writing: Option<(Transaction, Vec<u64>)>,
    pub(super) written: Lsn,
    pub(super) message: Lsn,
    pub(super) started: Lsn,
    pub(super) confirmed: Lsn,
    pub(super) finished: bool,
    pub(super) removed: bool,
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) transaction: Transaction,
    pub(super) ordinals: Vec<u64>,
    pub(super) sent: bool,
    pub(super) written: bool,
}

/// A table.
#[derive(Debug, Default)]
pub(super) struct Copying {
    pub(super) parts: usize,
    pub(super) copied: usize,
    pub(super) begun: bool,
    pub(super) sync: Option<TableSync>,
}

impl Owed {
    /// Whether it has changes that are not durable at the target.
    pub(super) const fn is_missing(&self) -> bool {
        !self.written && !self.ordinals.is_empty()
    }
}

impl Book {
    pub(super) fn broken(&mut self, violation: String) {
        self.violations.push(violation);
    }

    pub(super) fn synced(&self) -> BTreeMap<TableName, Lsn> {
        let synced = |(name, copying): (&TableName, &Copying)| match copying.sync {
            Some(TableSync::Synced { lsn, .. }) => Some((name.clone(), lsn)),
            Some(TableSync::Copying { .. }) | None => None,
        };
        self.tables.iter().filter_map(synced).collect()
    }

    /// Everything below `position` is written.
    pub(super) fn check_durable(&mut self, what: &str, position: Lsn) {
        let from = self.durable.min(position);
        let lost = self.owed.range(from..=position).find(|(_, owed)| owed.is_missing());
        if let Some((end, owed)) = lost {
            let xid = owed.transaction.xid;
            self.broken(format!(
                "{what} ({position}) covers transaction {xid} to {end}, which was not written"
            ));
        }
        let lost = self.messages.range(from..position).find(|(_, written)| !**written);
        self.durable = self.durable.max(position);
        if let Some((lsn, _)) = lost {
            self.broken(format!(
                "{what} ({position}) covers the message at {lsn}, which was not written"
            ));
        }
    }

    /// The source is told `position`, and may forget what is below.
    pub(super) fn confirm(&mut self, position: Lsn) {
        self.confirms.push((Instant::now(), position));
        let (saved, start, before) = (self.saved, self.run.started, self.run.confirmed);
        if position < before {
            self.broken(format!("{position} is confirmed after {before}"));
        }
        if position > saved.max(start) {
            self.broken(format!("{position} is confirmed, but only {saved} is saved"));
        }
        if self.completion == Completion::Completed {
            self.broken(format!("{position} is confirmed after the stream was completed"));
        }
        self.check_durable("a confirmed position", position);
        self.run.confirmed = position;
        self.confirmed_ever = self.confirmed_ever.max(position);
    }

    /// The stream is on the way to its end as far as `completion`.
    pub(super) fn complete(&mut self, completion: Completion) {
        let may = match completion {
            Completion::Open => false,
            Completion::Delivered => self.run.finished,
            Completion::Completed => self.run.removed,
        };
        if !may {
            self.broken(format!("the stream is saved as {completion:?}, and is not"));
        }
    }

    pub(super) fn send(&mut self, event: &SourceEvent, sent: bool) {
        match event {
            SourceEvent::Begin(transaction) => self.run.sending = Some((*transaction, Vec::new())),
            SourceEvent::Change { ordinal, change, .. } => match (&mut self.run.sending, change) {
                (Some((_, ordinals)), _) => ordinals.push(*ordinal),
                (None, Change::Message { lsn, .. }) => {
                    self.messages.entry(*lsn).or_default();
                }
                (None, _) => self.broken("a change is sent outside of a transaction".into()),
            },
            SourceEvent::Commit { end, .. } => {
                let Some((transaction, ordinals)) = self.run.sending.take() else {
                    return self.broken(format!("a commit to {end} is sent without its begin"));
                };
                let written = self.owed.get(end).is_some_and(|owed| owed.written);
                self.owed.insert(*end, Owed { transaction, ordinals, sent, written });
            }
            SourceEvent::Heartbeat { .. } | SourceEvent::Stale(_) | SourceEvent::End => {}
        }
    }

    pub(super) fn write(&mut self, batch: &Batch) {
        if batch.entries.is_empty() && batch.ack.is_none() {
            self.broken("a batch is written that holds nothing".to_owned());
        }
        let mut committed = None;
        for entry in &batch.entries {
            match entry {
                Entry::Begin(transaction) => {
                    if self.run.writing.replace((*transaction, Vec::new())).is_some() {
                        self.broken(format!("{transaction:?} begins inside of another"));
                    }
                }
                Entry::Change { ordinal, change, .. } => self.write_change(*ordinal, change),
                Entry::Commit { transaction, end } => {
                    self.write_commit(transaction, *end);
                    committed = Some(*end);
                }
            }
        }
        let open = self.run.writing.is_some();
        if open && (committed.is_some() || batch.ack.is_some()) {
            self.broken(format!("a batch to {:?} ends inside of a transaction", batch.ack));
        }
        if committed > batch.ack {
            self.broken(format!("a batch with the commit to {committed:?} has no ack for it"));
        }
    }

    fn write_change(&mut self, ordinal: u64, change: &Change) {
        match (&mut self.run.writing, change) {
            (Some((_, ordinals)), _) => ordinals.push(ordinal),
            (None, Change::Message { transactional: false, lsn, .. }) => {
                if *lsn <= self.run.message {
                    self.broken(format!("the message at {lsn} is written twice or out of order"));
                }
                self.run.message = *lsn;
            }
            (None, _) => self.broken("a change is written outside of its transaction".to_owned()),
        }
    }

    fn write_commit(&mut self, transaction: &Transaction, end: Lsn) {
        let written = self.run.writing.take();
        let owed = self.owed.get(&end).map(|owed| (owed.transaction, owed.ordinals.clone()));
        let xid = transaction.xid;
        match (written, owed) {
            (Some(written), Some(owed)) if written == owed => {}
            (Some((begun, got)), Some((_, sent))) => {
                let begun = begun.xid;
                self.broken(format!(
                    "transaction {xid} to {end} was sent with changes {sent:?}, but is written as \
                     transaction {begun} with {got:?}"
                ));
            }
            (None, _) => {
                self.broken(format!("transaction {xid} to {end} is written without begin"))
            }
            (Some(_), None) => self.broken(format!("transaction {xid} to {end} was never sent")),
        }
        if end <= self.run.written {
            self.broken(format!("transaction {xid} to {end} is written twice or out of order"));
        }
        self.run.written = end;
    }
}
