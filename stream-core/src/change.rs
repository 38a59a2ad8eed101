//! Changes: what happened to which row.
//!
//! A row is never unpacked here. A [`Tuple`] holds the bytes as they came, and whoever needs a value
//! walks over them; a sink that only passes them on allocates nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::lsn::Lsn;
use crate::relation::Relation;

/// One column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TupleData<'a> {
    /// SQL NULL.
    Null,
    /// A large value that the change did not touch, and that the log therefore does not hold.
    UnchangedToast,
    /// The value in text form, in the session's pinned styles.
    Text(&'a [u8]),
    /// The value in the type's binary form.
    Binary(&'a [u8]),
}

/// A row, as bytes in the form of pgoutput's `TupleData`, without the column count: per column a letter
/// (`n`, `u`, `t`, `b`) and, for the last two, a big-endian length and that many bytes.
///
/// Made by the decoder, which has checked every length; the walk over it cannot fail.
///
/// Source: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>
#[derive(Clone, PartialEq, Eq)]
pub struct Tuple {
    bytes: Bytes,
    columns: u16,
}

impl Tuple {
    /// Takes over bytes that hold exactly `columns` columns. `None` when they do not.
    #[must_use]
    pub fn new(bytes: Bytes, columns: u16) -> Option<Self> {
        let mut rest: &[u8] = &bytes;
        for _ in 0..columns {
            rest = split_column(rest)?.1;
        }
        rest.is_empty().then_some(Self { bytes, columns })
    }

    /// How many columns the row has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.columns as usize
    }

    /// Whether the row has no column at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// Bytes that the row takes in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The columns in order.
    #[must_use]
    pub fn iter(&self) -> TupleIter<'_> {
        TupleIter { rest: &self.bytes }
    }

    /// The first column and a row of the others, without a copy.
    #[must_use]
    pub fn split_first(&self) -> (TupleData<'_>, Self) {
        let mut rest = self.iter();
        let first = rest.next().unwrap_or(TupleData::Null);
        let bytes = self.bytes.slice_ref(rest.rest);
        (first, Self { bytes, columns: self.columns.saturating_sub(1) })
    }

    /// The row's bytes, for whoever compares rows or makes a fingerprint of them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The column at `index`, counted from 0; walks over those before it.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<TupleData<'_>> {
        self.iter().nth(index)
    }
}

impl std::fmt::Debug for Tuple {
    /// Never prints values: rows do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tuple({} columns, {} bytes)", self.columns, self.bytes.len())
    }
}

impl<'a> IntoIterator for &'a Tuple {
    type Item = TupleData<'a>;
    type IntoIter = TupleIter<'a>;

    fn into_iter(self) -> TupleIter<'a> {
        self.iter()
    }
}

/// Walks over the columns of a [`Tuple`].
#[derive(Clone)]
pub struct TupleIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TupleIter<'a> {
    type Item = TupleData<'a>;

    fn next(&mut self) -> Option<TupleData<'a>> {
        let (data, rest) = split_column(self.rest)?;
        self.rest = rest;
        Some(data)
    }
}

/// The first column of `bytes` and what follows it.
fn split_column(bytes: &[u8]) -> Option<(TupleData<'_>, &[u8])> {
    let (&letter, rest) = bytes.split_first()?;
    match letter {
        b'n' => Some((TupleData::Null, rest)),
        b'u' => Some((TupleData::UnchangedToast, rest)),
        b't' | b'b' => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            let data =
                if letter == b't' { TupleData::Text(value) } else { TupleData::Binary(value) };
            Some((data, rest))
        }
        _ => None,
    }
}

/// The old row of an update or delete, as far as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldTuple {
    /// Only the replica identity's columns hold values; the others are NULL whatever they were.
    Key(Tuple),
    /// The whole row (REPLICA IDENTITY FULL).
    Full(Tuple),
}

impl OldTuple {
    /// The row's bytes.
    #[must_use]
    pub const fn tuple(&self) -> &Tuple {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => tuple,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A row as a snapshot found it.
    Read {
        /// Its table.
        relation: Arc<Relation>,
        /// The row.
        new: Tuple,
    },
    /// A new row.
    Insert {
        /// Its table.
        relation: Arc<Relation>,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// Its table.
        relation: Arc<Relation>,
        /// The row before; `None` when its replica identity did not change.
        old: Option<OldTuple>,
        /// The row after.
        new: Tuple,
    },
    /// A row that is gone.
    Delete {
        /// Its table.
        relation: Arc<Relation>,
        /// The row as it was.
        old: OldTuple,
    },
    /// Tables emptied by one statement.
    Truncate {
        /// The tables, those reached by CASCADE among them.
        relations: Vec<Arc<Relation>>,
        /// Whether the statement said CASCADE.
        cascade: bool,
        /// Whether the statement said RESTART IDENTITY.
        restart_identity: bool,
    },
    /// A message written by `pg_logical_emit_message`.
    Message {
        /// Whether it was part of a transaction.
        transactional: bool,
        /// Where the message stands in the log.
        lsn: Lsn,
        /// The author's prefix.
        prefix: String,
        /// The author's bytes.
        content: Bytes,
    },
}

impl Change {
    /// Bytes that the change takes in memory, its own size included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let rows = match self {
            Self::Read { new, .. } | Self::Insert { new, .. } => new.size_bytes(),
            Self::Update { old, new, .. } => {
                new.size_bytes() + old.as_ref().map_or(0, |old| old.tuple().size_bytes())
            }
            Self::Delete { old, .. } => old.tuple().size_bytes(),
            Self::Truncate { relations, .. } => relations.len() * size_of::<Arc<Relation>>(),
            Self::Message { prefix, content, .. } => prefix.len() + content.len(),
        };
        rows + size_of::<Self>()
    }

    /// The tables that it changes.
    pub(crate) fn relations_mut(&mut self) -> &mut [Arc<Relation>] {
        match self {
            Self::Read { relation, .. }
            | Self::Insert { relation, .. }
            | Self::Update { relation, .. }
            | Self::Delete { relation, .. } => std::slice::from_mut(relation),
            Self::Truncate { relations, .. } => relations,
            Self::Message { .. } => &mut [],
        }
    }
}

/// The transaction that changes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The source's transaction number (32 bits, wraps around).
    pub xid: u32,
    /// Where its commit record begins. A table whose snapshot was taken at this position or before
    /// it does not hold the transaction yet.
    pub commit_lsn: Lsn,
    /// When it was committed: microseconds since 2000-01-01 00:00 UTC, by the source's clock.
    pub commit_time_us: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_is_walked_without_copies() {
        let bytes = Bytes::from_static(b"nut\0\0\0\x02hib\0\0\0\x01\x07");
        let tuple = Tuple::new(bytes, 4).unwrap();
        let columns: Vec<_> = tuple.iter().collect();
        assert_eq!(
            columns,
            [
                TupleData::Null,
                TupleData::UnchangedToast,
                TupleData::Text(b"hi"),
                TupleData::Binary(b"\x07")
            ]
        );
        assert_eq!(tuple.get(2), Some(TupleData::Text(b"hi")));
        assert_eq!(tuple.get(4), None);
        let (first, rest) = tuple.split_first();
        assert_eq!((first, rest.len()), (TupleData::Null, 3));
        assert_eq!(rest.get(1), Some(TupleData::Text(b"hi")));
    }

    #[test]
    fn hostile_bytes_make_no_tuple() {
        let hostile: [(&[u8], u16); 6] = [
            (b"", 1),
            (b"x", 1),
            (b"nn", 1),
            (b"t\0\0\0\x02h", 1),
            (b"t\xff\xff\xff\xff", 1),
            (b"t\x7f\xff\xff\xff", 1),
        ];
        for (bytes, columns) in hostile {
            assert!(Tuple::new(Bytes::from_static(bytes), columns).is_none(), "{bytes:?}");
        }
    }
}
