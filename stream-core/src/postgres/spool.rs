//! Transactions that the server sends while they run, kept until they are committed.
//!
//! ```text
//!  Stream Start … Stop   kept for its transaction: in memory, and in a file beyond a bound
//!  Stream Abort          forgotten, or what its savepoint holds is
//!  Stream Commit         Begin, the changes, Commit: as if it had come whole, with the same numbers
//!  anything else         passes
//! ```
//!
//! The files have no names: they are gone with the process, and the server sends again what was not committed.

mod held;

use std::collections::HashMap;
use std::path::PathBuf;

use bytes::Bytes;

use self::held::Held;
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::pgoutput::{self, Begin, Commit, DecodeError, Framing, Message};

/// Most bytes that all of them hold in memory together, one message more at most.
const MEMORY_BYTES: usize = 4 << 20;

/// Why a transaction cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// A piece of the log is not what a stream asked for. Nothing of its transaction was written.
    ///
    /// Remedy: what the last part of the message says, each of which is explained on this page.
    #[error("cannot decode the source's log: {0}")]
    Decode(#[from] DecodeError),
    /// A message speaks of a transaction that never began: a part of the log did not come. Nothing of the transaction was written.
    ///
    /// Remedy: restart the stream. If it comes again, report it with the server's version.
    #[error(
        "a {message} message came for transaction `{xid}`, of which no part came before: messages were lost; restart the stream"
    )]
    Unknown {
        /// The message's name in the manual.
        message: &'static str,
        /// The transaction.
        xid: u32,
    },
    /// The disk for transactions that come before their commit is full, or refuses. Nothing of them was written to the target.
    ///
    /// Remedy: make room there; or remove `streaming` from `slotStreamParams`, and the source keeps such transactions.
    #[error(
        "cannot {doing} a transaction that is not committed yet in `{}`: {source}; make room there, or let the source keep such \
         transactions: remove `streaming` from `slotStreamParams`",
        directory.display()
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        directory: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SpoolError {
    pub(super) fn into_error(self) -> Error {
        let kind = match self {
            Self::Decode(_) | Self::Unknown { .. } => ErrorKind::Permanent,
            // There may be room later; nothing is lost until then.
            Self::Io { .. } => ErrorKind::Transient,
        };
        Error::new(kind, self)
    }
}

/// A message, and where it stands in the log.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) lsn: Lsn,
    pub(super) message: Message,
    pub(super) size_bytes: usize,
}

impl Logged {
    /// Decodes what did not come in a chunk.
    pub(super) fn decode(lsn: Lsn, body: Bytes) -> Result<Self, SpoolError> {
        let size_bytes = body.len();
        let message = pgoutput::decode(body, Framing::Whole)?;
        Ok(Self { lsn, message, size_bytes })
    }
}

/// Transactions that are not committed yet, and the one that is being passed on.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    running: HashMap<u32, Held>,
    /// The transaction whose chunk is coming in.
    chunk: Option<u32>,
    memory_bytes: usize,
    committed: Option<Committed>,
}

/// A transaction on its way.
#[derive(Debug)]
struct Committed {
    xid: u32,
    commit: Commit,
    is_begun: bool,
    held: Held,
}

impl Spool {
    /// What does not fit into memory goes to `directory`, which is made when it is needed.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, running: HashMap::new(), chunk: None, memory_bytes: 0, committed: None }
    }

    /// Takes what came; gives it back when it is not to be kept.
    pub(super) fn push(&mut self, lsn: Lsn, body: Bytes) -> Result<Option<Logged>, SpoolError> {
        match (body.first(), self.chunk) {
            (Some(b'S' | b'E' | b'c' | b'A'), _) => {
                self.control(pgoutput::decode(body, Framing::Whole)?)?;
                Ok(None)
            }
            (_, Some(xid)) => {
                let held = self.running.get_mut(&xid).ok_or_else(|| unknown("chunk", xid))?;
                self.memory_bytes += held.push(lsn, &body);
                Ok(None)
            }
            (_, None) => Logged::decode(lsn, body).map(Some),
        }
    }

    fn control(&mut self, message: Message) -> Result<(), SpoolError> {
        let name = message.name();
        match message {
            Message::StreamStart { xid, first } => {
                if first {
                    self.forget(xid);
                    self.running.insert(xid, Held::default());
                } else if !self.running.contains_key(&xid) {
                    return Err(unknown(name, xid));
                }
                self.chunk = Some(xid);
            }
            Message::StreamAbort { xid, subxid, .. } if xid == subxid => {
                self.forget(xid);
            }
            Message::StreamAbort { xid, subxid, .. } => {
                // The server tells it of every savepoint within one that is rolled back, too.
                if let Some(held) = self.running.get_mut(&xid) {
                    held.roll_back(subxid);
                }
            }
            Message::StreamCommit { xid, commit } => {
                let held = self.forget(xid).ok_or_else(|| unknown(name, xid))?;
                self.committed = Some(Committed { xid, commit, is_begun: false, held });
            }
            _ => self.chunk = None,
        }
        Ok(())
    }

    fn forget(&mut self, xid: u32) -> Option<Held> {
        let held = self.running.remove(&xid)?;
        self.memory_bytes -= held.memory_bytes();
        Some(held)
    }

    /// Writes to the disk what is too much for the memory.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: called again it goes on.
    pub(super) async fn settle(&mut self) -> Result<(), SpoolError> {
        while self.memory_bytes > MEMORY_BYTES {
            let Some((xid, held)) =
                self.running.iter_mut().max_by_key(|(_, held)| held.memory_bytes())
            else {
                break;
            };
            if !held.has_file() {
                tracing::info!(
                    "transaction `{xid}` is large and not committed yet: keeping what came of it in `{}`",
                    self.directory.display()
                );
            }
            self.memory_bytes -=
                held.write_out(&self.directory).await.map_err(|(doing, source)| {
                    SpoolError::Io { doing, directory: self.directory.clone(), source }
                })?;
        }
        Ok(())
    }

    /// The next message of a transaction that was committed; `None` when there is none to pass on.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub(super) async fn next(&mut self) -> Result<Option<Logged>, SpoolError> {
        let Some(Committed { xid, commit, is_begun, held }) = &mut self.committed else {
            return Ok(None);
        };
        let Commit { commit_lsn, commit_time_us, .. } = *commit;
        let (lsn, size_bytes) = (commit_lsn, 0);
        if !std::mem::replace(is_begun, true) {
            let message =
                Message::Begin(Begin { final_lsn: commit_lsn, commit_time_us, xid: *xid });
            return Ok(Some(Logged { lsn, message, size_bytes }));
        }
        loop {
            let next = held.next().await.map_err(|source| {
                let directory = self.directory.clone();
                SpoolError::Io { doing: "read", directory, source }
            })?;
            let Some((lsn, body)) = next else { break };
            let size_bytes = body.len();
            let mut message = pgoutput::decode(body, Framing::Streamed)?;
            if !held.is_rolled_back(message.take_xid()) {
                return Ok(Some(Logged { lsn, message, size_bytes }));
            }
        }
        let message = Message::Commit(*commit);
        self.committed = None;
        Ok(Some(Logged { lsn, message, size_bytes }))
    }
}

fn unknown(message: &'static str, xid: u32) -> SpoolError {
    SpoolError::Unknown { message, xid }
}
