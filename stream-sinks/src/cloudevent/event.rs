//! What an encoder gives: an event's place in a buffer, and what it is about.

use std::ops::Range;
use std::sync::Arc;

use stream_core::change::Transaction;
use stream_core::lsn::Lsn;
use stream_core::relation::Relation;
use stream_core::{Error, ErrorKind};

use super::attributes::Header;
use crate::envelope::codec::ValueError;

/// How events travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One in a request, as a JSON object with its attributes.
    #[default]
    Structured,
    /// One in a request: its data, with the attributes as headers.
    Binary,
    /// Several in a request, as a JSON array.
    Batched,
}

impl Mode {
    /// The content type of a request.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Structured => "application/cloudevents+json; charset=utf-8",
            Self::Binary => "application/json",
            Self::Batched => "application/cloudevents-batch+json; charset=utf-8",
        }
    }
}

/// What an event must not overtake, and what must not overtake it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Events of the same row, by fingerprints of its table's name, which another table may have had before, and of its key, with that name or as a
    /// transform has made it; where that key was chosen and may change, also by one of what tells the row from all others. Equal keys are one,
    /// whatever the table.
    Row(u64, u64, Option<u64>),
    /// All events of the table.
    Table(u64),
    /// Messages with the same prefix, by its fingerprint.
    Message(u64),
}

/// An event in a buffer.
#[derive(Clone, Debug)]
pub struct Event {
    /// What is sent: the whole event, or in binary mode its data.
    pub body: Range<usize>,
    /// In binary mode the attributes, whose values lie in the buffer; otherwise empty.
    pub headers: Vec<Header>,
    /// The request's content type, when the event travels alone.
    pub content_type: &'static str,
    /// The event's `id`: printable ASCII that needs no encoding anywhere, unless a transform
    /// took it from a row.
    pub id: Range<usize>,
    /// Its `partitionkey`, as its attribute has it, to name the row when it cannot be delivered; empty without one.
    pub key: Range<usize>,
    /// What must stay in order.
    pub order: Order,
    /// The table, to name it when the event cannot be delivered; `None` for a message.
    pub relation: Option<Arc<Relation>>,
    /// Where the change stands in the log.
    pub lsn: Lsn,
}

/// Where a row stands in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The first of all.
    First,
    /// The first of its table.
    FirstInTable,
    /// Any other.
    Inside,
    /// The last of its table.
    LastInTable,
    /// The last of all.
    Last,
    /// In a snapshot that is taken while the stream runs.
    Incremental,
}

impl Marker {
    /// The marker's name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::FirstInTable => "first_in_data_collection",
            Self::Inside => "true",
            Self::LastInTable => "last_in_data_collection",
            Self::Last => "last",
            Self::Incremental => "incremental",
        }
    }
}

/// A snapshot, as its rows tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// How many snapshots somebody asked for before: part of the rows' `id`s.
    pub generation: u64,
    /// Where it was taken.
    pub lsn: Lsn,
    /// Its transaction, if it has a number.
    pub xid: Option<u64>,
    /// When it was taken: microseconds since 1970.
    pub time_us: i64,
}

/// A row of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The snapshot.
    pub snapshot: &'a SnapshotFacts,
    /// Where in the snapshot.
    pub marker: Marker,
    /// Where in the table: its `ctid`, or anything else that no other row of the table has and that comes again when the row
    /// is read again. Needed where the row has no key.
    pub place: &'a [u8],
}

/// Where a change of the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its transaction; `None` for a message outside of any.
    pub transaction: Option<Transaction>,
    /// Its number in the transaction, from 0.
    pub ordinal: u64,
    /// Where it stands in the log.
    pub lsn: Lsn,
}

/// A change that cannot become an event.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A value cannot be shown as JSON. Nothing of the row was sent.
    ///
    /// Remedy: correct the row or exclude the column, as the message says, and start the stream again: it goes on with this row.
    #[error("column `{column}` of table `{table}`, row `{key}`, at `{lsn}` {problem}")]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The row's partition key.
        key: String,
        /// Where the change stands in the log.
        lsn: Lsn,
        /// What is wrong.
        problem: ValueError,
    },
    /// A transform cannot go on with the row.
    ///
    /// Remedy: correct the row, or `transforms`, and start the stream again: it goes on with this row.
    #[error(
        "the transforms cannot take row `{key}` at `{lsn}`: {reason}; correct the row or `transforms`"
    )]
    Transform {
        /// The row's partition key.
        key: String,
        /// Where the change stands in the log.
        lsn: Lsn,
        /// What is wrong.
        reason: String,
    },
    /// A table has a column of a type that came after the catalogue was read.
    ///
    /// Remedy: nothing: the catalogue is read again.
    #[error("type `{oid}` of table `{table}` is new: looking at the catalogue again")]
    NewType {
        /// The table.
        table: String,
        /// The type's `pg_type.oid`.
        oid: u32,
    },
}

impl EncodeError {
    /// The error as the engine knows it.
    #[must_use]
    pub fn into_error(self) -> Error {
        let kind = match self {
            Self::Value { .. } | Self::Transform { .. } => ErrorKind::Permanent,
            Self::NewType { .. } => ErrorKind::Changed,
        };
        Error::new(kind, self)
    }
}
