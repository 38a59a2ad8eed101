//! What a [`super::source::ScriptedSource`] does, written down before.

use std::time::Duration;

use bytes::Bytes;

use crate::change::{Change, Transaction};
use crate::error::ErrorKind;
use crate::lsn::Lsn;
use crate::source::SourceEvent;
use crate::testing::faults::Gate;

/// Where every script begins.
pub const START: Lsn = Lsn::new(100);

/// Bytes of log between two records.
const RECORD_BYTES: u64 = 8;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// The source sends this.
    Event(SourceEvent),
    /// Nothing happens for a while; what follows is not in the log before.
    Pause(Duration),
    /// Nothing happens until a gate is opened; what follows is not in the log before.
    Until(Gate),
    /// The stream breaks, once.
    Fail(ErrorKind),
}

/// Steps in order, each with the end of the log once it has happened.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) steps: Vec<(Step, Lsn)>,
    log: Lsn,
    xid: u32,
    open: Option<(Transaction, Lsn)>,
    ordinal: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self { steps: Vec::new(), log: START, xid: 0, open: None, ordinal: 0 }
    }
}

impl Script {
    /// A transaction of `changes` changes of about `bytes` bytes each; of none, it only moves the position.
    pub fn transaction(&mut self, changes: u64, bytes: usize) -> &mut Self {
        self.begin();
        for _ in 0..changes {
            self.change(bytes);
        }
        self.commit()
    }

    /// A transaction begins. It is in the log already: a source sends what is committed.
    pub fn begin(&mut self) -> &mut Self {
        let commit_lsn = self.advance();
        let end = self.advance();
        self.xid += 1;
        let transaction =
            Transaction { xid: self.xid, commit_lsn, commit_time_us: i64::from(self.xid) };
        self.open = Some((transaction, end));
        self.ordinal = 0;
        self.event(SourceEvent::Begin(transaction))
    }

    /// A change of the open transaction.
    pub fn change(&mut self, bytes: usize) -> &mut Self {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let change = message(true, self.log, bytes);
        self.event(SourceEvent::Change { ordinal, lsn: Lsn::default(), change, held_bytes: bytes })
    }

    /// The open transaction is complete.
    pub fn commit(&mut self) -> &mut Self {
        match self.open.take() {
            Some((transaction, end)) => self.event(SourceEvent::Commit { transaction, end }),
            None => self,
        }
    }

    /// A message outside of transactions.
    pub fn message(&mut self, bytes: usize) -> &mut Self {
        let change = message(false, self.advance(), bytes);
        self.event(SourceEvent::Change {
            ordinal: 0,
            lsn: Lsn::default(),
            change,
            held_bytes: bytes,
        })
    }

    /// A heartbeat that tells the end of the log, after `idle_bytes` that hold nothing for the stream.
    pub fn heartbeat(&mut self, idle_bytes: u64, reply: bool) -> &mut Self {
        self.log = Lsn::new(self.log.get() + idle_bytes);
        self.event(SourceEvent::Heartbeat { wal_end: self.log, reply })
    }

    /// A heartbeat of a source that has looked far further than it has sent: later transactions are below
    /// it. Happens inside of a transaction only.
    pub fn heartbeat_ahead(&mut self, bytes: u64, reply: bool) -> &mut Self {
        let wal_end = Lsn::new(self.log.get() + bytes);
        self.event(SourceEvent::Heartbeat { wal_end, reply })
    }

    /// Nothing happens for a while.
    pub fn pause(&mut self, time: Duration) -> &mut Self {
        self.step(Step::Pause(time))
    }

    /// Nothing happens until `gate` is opened.
    pub fn until(&mut self, gate: &Gate) -> &mut Self {
        self.step(Step::Until(gate.clone()))
    }

    /// The stream breaks, once.
    pub fn fail(&mut self, kind: ErrorKind) -> &mut Self {
        self.step(Step::Fail(kind))
    }

    /// The source has ended.
    pub fn end(&mut self) -> &mut Self {
        self.event(SourceEvent::End)
    }

    /// The end of the log once everything has happened.
    #[must_use]
    pub const fn log_end(&self) -> Lsn {
        self.log
    }

    /// What the source sends, in order.
    pub fn events(&self) -> impl Iterator<Item = &SourceEvent> {
        self.steps.iter().filter_map(|(step, _)| match step {
            Step::Event(event) => Some(event),
            Step::Pause(_) | Step::Until(_) | Step::Fail(_) => None,
        })
    }

    fn event(&mut self, event: SourceEvent) -> &mut Self {
        self.step(Step::Event(event))
    }

    fn step(&mut self, step: Step) -> &mut Self {
        self.steps.push((step, self.log));
        self
    }

    fn advance(&mut self) -> Lsn {
        self.log = Lsn::new(self.log.get() + RECORD_BYTES);
        self.log
    }
}

fn message(transactional: bool, lsn: Lsn, bytes: usize) -> Change {
    Change::Message {
        transactional,
        lsn,
        prefix: String::new(),
        content: Bytes::from(vec![0; bytes]),
    }
}
