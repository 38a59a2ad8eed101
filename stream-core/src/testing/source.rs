//! A source that follows a script.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::change::Change;
use crate::checkpoint::{Checkpoint, SourceIdentity, TableSync};
use crate::copy::CopyFormat;
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::{RelationId, TableName};
use crate::source::{Beginning, CountsFrom, Inspected, Snapshot, Source, SourceEvent};
use crate::stats::Stats;
use crate::testing::faults::Faults;
use crate::testing::reader::{
    Parts, ScriptedReader, chunks, relation_id, row_name, table, table_name,
};
use crate::testing::script::{START, Script, Step};

/// A [`Source`] that follows a [`Script`]. Clones are further sessions with the same server: each sends
/// again what was not confirmed, and a failure or a pause happens once.
#[derive(Debug)]
pub struct ScriptedSource {
    server: Arc<Mutex<Server>>,
    session: Session,
    /// Tables to copy: a name, and the number of rows in each chunk.
    pub tables: Vec<(&'static str, Vec<usize>)>,
    /// Where the snapshot is taken.
    pub snapshot_lsn: Lsn,
    /// How many chunks may be read at once.
    pub readers: usize,
    /// Whether there is no stream after the snapshot.
    pub snapshot_only: bool,
    /// Trouble of `inspect`.
    pub inspects: Faults,
    /// Trouble of `begin`.
    pub begins: Faults,
    /// Trouble in the middle of a chunk's data.
    pub reads: Faults,
    /// Trouble of `confirm`.
    pub confirms: Faults,
    /// Trouble of `remove`.
    pub removes: Faults,
}

/// What one connection knows.
#[derive(Debug, Default)]
struct Session {
    cursor: usize,
    from: Lsn,
    skipping: bool,
    waits_until: Option<Instant>,
    pinged: bool,
    until: Option<Lsn>,
    parts: Parts,
}

/// What all sessions share.
#[derive(Debug)]
struct Server {
    script: Script,
    /// Steps that have happened.
    happened: usize,
    confirmed: Lsn,
    removed: bool,
}

impl Clone for ScriptedSource {
    fn clone(&self) -> Self {
        Self {
            server: Arc::clone(&self.server),
            session: Session::default(),
            tables: self.tables.clone(),
            snapshot_lsn: self.snapshot_lsn,
            readers: self.readers,
            snapshot_only: self.snapshot_only,
            inspects: self.inspects.clone(),
            begins: self.begins.clone(),
            reads: self.reads.clone(),
            confirms: self.confirms.clone(),
            removes: self.removes.clone(),
        }
    }
}

impl ScriptedSource {
    /// A source that follows `script` and has no tables to copy.
    #[must_use]
    pub fn new(script: Script) -> Self {
        let server = Server { script, happened: 0, confirmed: START, removed: false };
        Self {
            server: Arc::new(Mutex::new(server)),
            session: Session::default(),
            tables: Vec::new(),
            snapshot_lsn: START,
            readers: 1,
            snapshot_only: false,
            inspects: Faults::default(),
            begins: Faults::default(),
            reads: Faults::default(),
            confirms: Faults::default(),
            removes: Faults::default(),
        }
    }

    /// The name of the table `name`.
    #[must_use]
    pub fn table_name(name: &str) -> TableName {
        table_name(name)
    }

    /// The identifier of the table `name`.
    #[must_use]
    pub fn relation_id(name: &str) -> RelationId {
        relation_id(name)
    }

    /// Where the commit record of the script's transaction `index` begins.
    #[must_use]
    pub fn commit_of(&self, index: usize) -> Lsn {
        let server = self.server();
        let mut commits = server.script.steps.iter().filter_map(|(step, _)| match step {
            Step::Event(SourceEvent::Begin(transaction)) => Some(transaction.commit_lsn),
            _ => None,
        });
        commits.nth(index).unwrap_or_default()
    }

    /// What was confirmed, by any session.
    #[must_use]
    pub fn confirmed(&self) -> Lsn {
        self.server().confirmed
    }

    /// Whether what the server keeps for the stream is gone.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.server().removed
    }

    /// Whether all of the script has happened, in whichever session.
    #[must_use]
    pub fn has_happened(&self) -> bool {
        let server = self.server();
        server.happened >= server.script.steps.len()
    }

    /// The server keeps something for a stream that begins anew at `from`.
    pub fn begin_anew(&self, from: Lsn) {
        let mut server = self.server();
        server.removed = false;
        server.confirmed = from;
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tables without a snapshot.
    fn unfinished(
        &self,
        checkpoint: &Checkpoint,
    ) -> impl Iterator<Item = &(&'static str, Vec<usize>)> {
        self.tables.iter().filter(|(name, _)| {
            let sync = checkpoint.tables.get(&Self::table_name(name));
            !matches!(sync, Some(TableSync::Synced { .. }))
        })
    }

    /// The step under the cursor, and whether it happens for the first time.
    fn step(&self) -> Option<(Step, bool)> {
        let server = self.server();
        let (step, _) = server.script.steps.get(self.session.cursor)?;
        Some((step.clone(), self.session.cursor >= server.happened))
    }

    fn pass(&mut self) {
        self.session.cursor += 1;
        self.session.waits_until = None;
        let cursor = self.session.cursor;
        let mut server = self.server();
        server.happened = server.happened.max(cursor);
    }

    /// The end of the log as this session has looked through it.
    fn looked_through(&self) -> Lsn {
        let server = self.server();
        let last = self.session.cursor.checked_sub(1);
        last.and_then(|last| server.script.steps.get(last)).map_or(START, |(_, log)| *log)
    }

    /// Whether an event comes after the end of what this session was asked for.
    fn is_beyond(&self, event: &SourceEvent) -> bool {
        let at = match event {
            SourceEvent::Begin(transaction) => transaction.commit_lsn,
            SourceEvent::Heartbeat { wal_end, .. } => *wal_end,
            SourceEvent::Change { .. }
            | SourceEvent::Commit { .. }
            | SourceEvent::Stale(_)
            | SourceEvent::End => {
                return false;
            }
        };
        self.session.until.is_some_and(|until| at >= until)
    }

    /// The answer to a ping, if one was asked.
    fn pong(&mut self) -> Option<SourceEvent> {
        let wal_end = self.looked_through();
        let asked = std::mem::take(&mut self.session.pinged);
        asked.then_some(SourceEvent::Heartbeat { wal_end, reply: false })
    }

    /// Whether the server has no reason to send `event` to this session.
    fn skips(&mut self, event: &SourceEvent) -> bool {
        let from = self.session.from;
        match event {
            SourceEvent::Begin(transaction) => {
                self.session.skipping = transaction.commit_lsn < from;
                self.session.skipping
            }
            SourceEvent::Commit { .. } => std::mem::take(&mut self.session.skipping),
            SourceEvent::Change { change: Change::Message { transactional, lsn, .. }, .. } => {
                self.session.skipping || (!transactional && *lsn < from)
            }
            SourceEvent::Change { .. } | SourceEvent::Stale(_) => self.session.skipping,
            SourceEvent::Heartbeat { wal_end, .. } => self.session.skipping || *wal_end < from,
            SourceEvent::End => false,
        }
    }
}

impl Source for ScriptedSource {
    type Reader = ScriptedReader;

    async fn inspect(
        &mut self,
        checkpoint: &Checkpoint,
        _stats: &Stats,
    ) -> Result<Inspected, Error> {
        self.inspects.meet("inspect").await?;
        if self.is_removed() {
            return Err(Error::new(ErrorKind::Permanent, "what the source kept is gone"));
        }
        let confirmed = self.server().confirmed;
        if checkpoint.position.is_some_and(|position| position < confirmed) {
            return Err(Error::new(ErrorKind::Permanent, "the slot is beyond what was saved"));
        }
        let identity =
            SourceIdentity { system_id: "1".into(), slot: "script".into(), timeline: Some(1) };
        let tables = self.tables.iter().map(|(name, _)| Arc::new(table(name))).collect();
        let to_copy = self.unfinished(checkpoint).map(|(name, _)| Self::table_name(name)).collect();
        let types = Arc::default();
        Ok(Inspected { identity, tables, types, to_copy, ..Inspected::default() })
    }

    async fn begin(&mut self, checkpoint: &Checkpoint, _stats: &Stats) -> Result<Beginning, Error> {
        self.begins.meet("begin").await?;
        let unfinished: Vec<_> = self.unfinished(checkpoint).cloned().collect();
        let parts = unfinished.iter().map(|(name, chunks)| {
            let rows =
                |chunk, rows: usize| (0..rows).map(|row| row_name(name, chunk, row)).collect();
            let parts =
                chunks.iter().enumerate().map(|(chunk, count)| rows(chunk, *count)).collect();
            (Self::table_name(name), parts)
        });
        self.session.parts = Arc::new(Mutex::new(parts.collect()));
        let snapshot = (!unfinished.is_empty()).then(|| Snapshot {
            lsn: self.snapshot_lsn,
            tables: unfinished.iter().map(|(name, _)| Arc::new(table(name))).collect(),
            chunks: unfinished.iter().flat_map(|(name, parts)| chunks(name, parts)).collect(),
            last: None,
            taken_at: SystemTime::UNIX_EPOCH,
            readers: self.readers,
        });
        Ok(Beginning {
            start: checkpoint.position.unwrap_or_else(|| self.confirmed()),
            snapshot,
            taken_up: Vec::new(),
            republished: Vec::new(),
            snapshot_only: self.snapshot_only,
        })
    }

    async fn reader(&mut self) -> Result<ScriptedReader, Error> {
        Ok(ScriptedReader { parts: Arc::clone(&self.session.parts), reads: self.reads.clone() })
    }

    async fn start(
        &mut self,
        position: Lsn,
        _counts_from: CountsFrom,
        _format: CopyFormat,
        until: Option<Lsn>,
    ) -> Result<(), Error> {
        self.session.from = position.max(self.confirmed());
        self.session.until = until;
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent, Error> {
        loop {
            if let Some((Step::Event(event), _)) = self.step() {
                if self.is_beyond(&event) {
                    return Ok(SourceEvent::End);
                }
                self.pass();
                if self.skips(&event) {
                    continue;
                }
                return Ok(event);
            }
            match self.step() {
                Some((Step::Fail(kind), true)) => {
                    self.pass();
                    return Err(Error::new(kind, "planned failure of next"));
                }
                Some((Step::Pause(time), true)) => {
                    if let Some(pong) = self.pong() {
                        return Ok(pong);
                    }
                    let until = *self.session.waits_until.get_or_insert(Instant::now() + time);
                    tokio::time::sleep_until(until).await;
                    self.pass();
                }
                Some((Step::Until(gate), true)) => {
                    if let Some(pong) = self.pong() {
                        return Ok(pong);
                    }
                    gate.pass().await;
                    self.pass();
                }
                Some(_) => self.pass(),
                None => match self.pong() {
                    Some(pong) => return Ok(pong),
                    None => std::future::pending().await,
                },
            }
        }
    }

    async fn confirm(&mut self, flush: Lsn) -> Result<(), Error> {
        self.confirms.meet("confirm").await?;
        let mut server = self.server();
        server.confirmed = server.confirmed.max(flush);
        Ok(())
    }

    fn confirm_interval(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn ping(&mut self, flush: Lsn) -> Result<(), Error> {
        self.session.pinged = true;
        self.confirm(flush).await
    }

    fn last_known_end(&self) -> Lsn {
        self.looked_through()
    }

    async fn current_lsn(&mut self) -> Result<Lsn, Error> {
        let server = self.server();
        let happened = server.happened.max(self.session.cursor);
        let end = server.script.steps.iter().enumerate().take_while(|(at, (step, _))| {
            *at < happened || !matches!(step, Step::Pause(_) | Step::Until(_))
        });
        Ok(end.last().map_or(START, |(_, (_, log))| *log))
    }

    async fn close(&mut self) {}

    async fn remove(&mut self, delivered: Lsn) -> Result<(), Error> {
        self.removes.meet("remove").await?;
        let mut server = self.server();
        if server.confirmed > delivered {
            return Err(Error::new(ErrorKind::Fenced, "what the source keeps is another's"));
        }
        server.removed = true;
        Ok(())
    }
}
