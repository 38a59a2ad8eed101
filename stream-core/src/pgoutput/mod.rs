//! The messages of pgoutput, the plugin with which PostgreSQL writes changes into a replication stream.
//!
//! In: the payload of an XLogData message. Out: a [`Message`], one variant per message of the manual.
//! Does no I/O and knows no order: what messages mean in sequence is the assembler's business.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

#![deny(clippy::indexing_slicing)]

mod decode;
mod reader;

use bytes::Bytes;

use crate::change::{OldTuple, Tuple};
use crate::lsn::Lsn;
use crate::relation::{Relation, RelationId};

/// Decodes the payload of one XLogData message.
///
/// # Errors
///
/// [`DecodeError::UnknownTag`] when the first byte names no message; [`DecodeError::Malformed`] when the rest
/// is not laid out as the manual says, is cut short, or is too long.
pub fn decode(body: Bytes, framing: Framing) -> Result<Message, DecodeError> {
    decode::message(body, framing)
}

/// How the transaction around a message arrives, which decides the message's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Whole, after its commit: all there is in protocol 1.
    Whole,
    /// In chunks while it runs, protocol 2 and later: between Stream Start and Stream Stop every change
    /// carries the number of its (sub)transaction.
    Streamed,
}

/// A message of pgoutput, protocols 1 to 4.
///
/// The variants that have an `xid` carry `Some` under [`Framing::Streamed`] and `None` otherwise. It is the
/// number of the subtransaction, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A committed transaction begins.
    Begin(Begin),
    /// It ends.
    Commit(Commit),
    /// The transaction came from elsewhere: it was replicated to the source under an origin's name.
    Origin {
        /// Where the commit stands in the log of the server it came from.
        commit_lsn: Lsn,
        /// The origin's name on the source.
        name: String,
    },
    /// A table as the next rows have it. Comes before its first row and after each change to it.
    Relation {
        /// The subtransaction.
        xid: Option<u32>,
        /// The table.
        relation: Relation,
    },
    /// A type that is not built in, before the Relation message with a column of it.
    Type {
        /// The subtransaction.
        xid: Option<u32>,
        /// `pg_type.oid` on the source.
        id: u32,
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A new row.
    Insert {
        /// The subtransaction.
        xid: Option<u32>,
        /// The table.
        relation: RelationId,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// The subtransaction.
        xid: Option<u32>,
        /// The table.
        relation: RelationId,
        /// The row before; `None` when its replica identity did not change.
        old: Option<OldTuple>,
        /// The row after.
        new: Tuple,
    },
    /// A row that is gone.
    Delete {
        /// The subtransaction.
        xid: Option<u32>,
        /// The table.
        relation: RelationId,
        /// The row as it was.
        old: OldTuple,
    },
    /// Tables emptied by one statement.
    Truncate {
        /// The subtransaction.
        xid: Option<u32>,
        /// The tables, those reached by CASCADE among them.
        relations: Vec<RelationId>,
        /// Whether the statement said CASCADE.
        cascade: bool,
        /// Whether the statement said RESTART IDENTITY.
        restart_identity: bool,
    },
    /// A message written by `pg_logical_emit_message`.
    Message {
        /// The subtransaction.
        xid: Option<u32>,
        /// Whether it is part of a transaction.
        transactional: bool,
        /// Where the message stands in the log.
        lsn: Lsn,
        /// The author's prefix.
        prefix: String,
        /// The author's bytes.
        content: Bytes,
    },
    /// A chunk of a running transaction begins.
    StreamStart {
        /// The transaction.
        xid: u32,
        /// Whether this is its first chunk.
        first: bool,
    },
    /// The chunk ends.
    StreamStop,
    /// A transaction that came in chunks is committed.
    StreamCommit {
        /// The transaction.
        xid: u32,
        /// Its commit.
        commit: Commit,
    },
    /// A transaction that came in chunks, or a part of it, is rolled back.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// The subtransaction that is rolled back; equal to `xid` when it is all of it.
        subxid: u32,
        /// Where and when; sent only in protocol 4 with `streaming = parallel`.
        abort: Option<Abort>,
    },
    /// A prepared transaction begins.
    BeginPrepare(Prepare),
    /// It ends, prepared.
    Prepare(Prepare),
    /// A transaction that was prepared earlier is committed.
    CommitPrepared {
        /// The transaction.
        xid: u32,
        /// The name that `PREPARE TRANSACTION` gave it.
        gid: String,
        /// Its commit.
        commit: Commit,
    },
    /// A transaction that was prepared earlier is rolled back.
    RollbackPrepared(RollbackPrepared),
    /// A transaction that came in chunks is prepared.
    StreamPrepare(Prepare),
}

impl Message {
    /// Takes off the number of the subtransaction, as if the message had not come in a chunk.
    pub const fn take_xid(&mut self) -> Option<u32> {
        match self {
            Self::Relation { xid, .. }
            | Self::Type { xid, .. }
            | Self::Insert { xid, .. }
            | Self::Update { xid, .. }
            | Self::Delete { xid, .. }
            | Self::Truncate { xid, .. }
            | Self::Message { xid, .. } => xid.take(),
            _ => None,
        }
    }

    /// The message's name in the manual.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "Begin",
            Self::Commit(_) => "Commit",
            Self::Origin { .. } => "Origin",
            Self::Relation { .. } => "Relation",
            Self::Type { .. } => "Type",
            Self::Insert { .. } => "Insert",
            Self::Update { .. } => "Update",
            Self::Delete { .. } => "Delete",
            Self::Truncate { .. } => "Truncate",
            Self::Message { .. } => "Message",
            Self::StreamStart { .. } => "Stream Start",
            Self::StreamStop => "Stream Stop",
            Self::StreamCommit { .. } => "Stream Commit",
            Self::StreamAbort { .. } => "Stream Abort",
            Self::BeginPrepare(_) => "Begin Prepare",
            Self::Prepare(_) => "Prepare",
            Self::CommitPrepared { .. } => "Commit Prepared",
            Self::RollbackPrepared(_) => "Rollback Prepared",
            Self::StreamPrepare(_) => "Stream Prepare",
        }
    }
}

/// The head of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where its commit record begins.
    pub final_lsn: Lsn,
    /// When it was committed: microseconds since 2000-01-01 00:00 UTC, by the source's clock.
    pub commit_time_us: i64,
    /// Its number (32 bits, wraps around).
    pub xid: u32,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record begins.
    pub commit_lsn: Lsn,
    /// Where it ends: what may be confirmed once the transaction is delivered.
    pub end_lsn: Lsn,
    /// When it was committed: microseconds since 2000-01-01 00:00 UTC, by the source's clock.
    pub commit_time_us: i64,
}

/// The place and time of a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Where the abort record begins.
    pub abort_lsn: Lsn,
    /// When: microseconds since 2000-01-01 00:00 UTC, by the source's clock.
    pub abort_time_us: i64,
}

/// A transaction that is, or is about to be, prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// Where the prepare record begins.
    pub prepare_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was prepared: microseconds since 2000-01-01 00:00 UTC, by the source's clock.
    pub prepare_time_us: i64,
    /// Its number (32 bits, wraps around).
    pub xid: u32,
    /// The name that `PREPARE TRANSACTION` gave it.
    pub gid: String,
}

/// The rollback of a transaction that was prepared earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackPrepared {
    /// Where the prepare record ended.
    pub prepare_end_lsn: Lsn,
    /// Where the rollback record ends.
    pub rollback_end_lsn: Lsn,
    /// When it was prepared: microseconds since 2000-01-01 00:00 UTC, by the source's clock.
    pub prepare_time_us: i64,
    /// When it was rolled back, likewise.
    pub rollback_time_us: i64,
    /// Its number (32 bits, wraps around).
    pub xid: u32,
    /// The name that `PREPARE TRANSACTION` gave it.
    pub gid: String,
}

/// Bytes that are no message of pgoutput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names no message of the output plugin.
    ///
    /// Remedy: see that the slot uses `pgoutput` (`SELECT plugin FROM pg_replication_slots`) and that the server is PostgreSQL 14 to 18;
    /// else report it.
    #[error(
        "message tag `{}` is unknown: no pgoutput protocol from 1 to 4 has it; \
         check the server's version and the slot's plugin",
        tag.escape_ascii()
    )]
    UnknownTag {
        /// The first byte.
        tag: u8,
    },
    /// A message of the output plugin is not laid out as PostgreSQL's manual says. No row of it was written.
    ///
    /// Remedy: see that the slot uses `pgoutput`, and that nothing between worker and server changes the connection; else report it with
    /// the server's version.
    #[error(
        "malformed {message} message of `{length}` bytes: expected {expected} at byte `{offset}`; \
         check the server's version and the slot's plugin"
    )]
    Malformed {
        /// The message's name in the manual.
        message: &'static str,
        /// Where the bytes stop making sense, counted from the tag.
        offset: usize,
        /// How long the message is, its tag included.
        length: usize,
        /// What should have stood there.
        expected: &'static str,
    },
}
