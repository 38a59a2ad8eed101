//! The snapshot's own road: a piece of a table as the raw bytes of a `COPY`.
//!
//! A sink that takes `COPY` data itself forwards the bytes unread. Any other gets decoded rows: see
//! [`Rows`].

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::change::Tuple;
use crate::error::{Error, ErrorKind};
use crate::relation::TableName;
use crate::table::Table;

/// Which rows of a table a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// All.
    Whole,
    /// Those on the pages from `from` up to, and without, `to`.
    Pages {
        /// The first page.
        from: u32,
        /// The page after the last; `None`: to the end, however far that is by now.
        to: Option<u32>,
    },
}

/// A piece of a table that is copied at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// The table.
    pub table: TableName,
    /// Which of its rows.
    pub range: Range,
    /// The chunk's place among those of its table, counted from 0.
    pub ordinal: u32,
    /// How many chunks its table has.
    pub of: u32,
}

/// The form of the values in a `COPY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Each type's binary form.
    Binary,
    /// Text.
    Text,
    /// Text, with the row's place (`ctid`) as first column. Only for tables with [`Table::has_ctid`].
    PlacedText,
    /// Text, sorted by the whole row: equal rows come one after the other, wherever they are stored. For tables whose rows cannot be
    /// told apart.
    SortedText,
}

/// A run of received bytes of a sequence of `CopyData` messages, their headers included, cut anywhere.
#[derive(Clone, Debug)]
pub struct CopyPiece {
    /// The bytes.
    pub bytes: Bytes,
    /// How many messages begin in them: one a row.
    pub rows: u64,
}

/// The pieces of one chunk.
pub type CopyStream<'a> = Pin<Box<dyn Stream<Item = Result<CopyPiece, Error>> + Send + 'a>>;

/// A chunk on its way to the target.
pub struct TableCopy<'a> {
    /// Its table.
    pub table: Arc<Table>,
    /// Which part of the table.
    pub chunk: Chunk,
    /// The form that the sink asked for.
    pub format: CopyFormat,
    /// The data. An error in it means that the chunk must not become visible at the target.
    pub data: CopyStream<'a>,
}

/// Decodes text `COPY` data into rows: pieces in, tuples out.
#[derive(Debug)]
pub struct Rows {
    columns: u16,
    buffer: BytesMut,
}

impl Rows {
    /// A decoder for rows of `columns` columns.
    #[must_use]
    pub fn new(columns: u16) -> Self {
        Self { columns, buffer: BytesMut::new() }
    }

    /// Adds received bytes.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Takes the next row, if all of it has been received.
    ///
    /// # Errors
    /// When the bytes are no text `COPY` data with the expected number of columns.
    pub fn next_row(&mut self) -> Result<Option<Tuple>, Error> {
        let Some((&[kind, a, b, c, d], _)) = self.buffer.split_first_chunk::<5>() else {
            return Ok(None);
        };
        if kind != b'd' {
            return Err(malformed("a message that is no data"));
        }
        let length = usize::try_from(i32::from_be_bytes([a, b, c, d]))
            .ok()
            .and_then(|length| length.checked_sub(4))
            .ok_or_else(|| malformed("a length below 4"))?;
        if self.buffer.len() < 5 + length {
            return Ok(None);
        }
        self.buffer.advance(5);
        let row = self.buffer.split_to(length);
        let row = row.strip_suffix(b"\n").ok_or_else(|| malformed("a row without line end"))?;
        self.tuple(row).map(Some)
    }

    /// Checks that no row was cut off at the end of the data.
    ///
    /// # Errors
    /// When one was.
    pub fn finish(self) -> Result<(), Error> {
        if self.buffer.is_empty() { Ok(()) } else { Err(malformed("a row that is cut off")) }
    }

    fn tuple(&self, row: &[u8]) -> Result<Tuple, Error> {
        let mut bytes = BytesMut::with_capacity(row.len() + 5 * usize::from(self.columns));
        if self.columns > 0 {
            for field in row.split(|&byte| byte == b'\t') {
                put_field(&mut bytes, field)?;
            }
        }
        Tuple::new(bytes.freeze(), self.columns)
            .ok_or_else(|| malformed("another number of columns"))
    }
}

/// Appends one field of a row, without its escapes, in the form that a [`Tuple`] has.
///
/// Source: <https://www.postgresql.org/docs/current/sql-copy.html> ("Text Format")
fn put_field(bytes: &mut BytesMut, field: &[u8]) -> Result<(), Error> {
    if field == b"\\N" {
        bytes.put_u8(b'n');
        return Ok(());
    }
    bytes.put_u8(b't');
    let length_at = bytes.len();
    bytes.put_i32(0);
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escaped) = rest.split_at(at);
        bytes.extend_from_slice(plain);
        let [_, letter, after @ ..] = escaped else {
            return Err(malformed("a lone backslash"));
        };
        bytes.put_u8(match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => *other,
        });
        rest = after;
    }
    bytes.extend_from_slice(rest);
    let length =
        i32::try_from(bytes.len() - length_at - 4).map_err(|_| malformed("a huge value"))?;
    if let Some(place) = bytes.get_mut(length_at..length_at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// The source's answer to a `COPY` is not of the form that PostgreSQL's manual shows.
///
/// Remedy: connect to PostgreSQL itself, not through something that changes what it sends; else report it.
fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Permanent, format!("the source sent malformed COPY data: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TupleData;

    fn frame(row: &[u8]) -> Vec<u8> {
        let mut frame = vec![b'd'];
        frame.extend_from_slice(&i32::try_from(row.len() + 4).unwrap().to_be_bytes());
        frame.extend_from_slice(row);
        frame
    }

    #[test]
    fn rows_cut_anywhere_are_put_together() {
        let mut bytes = frame(b"1\ta\\tb\\\\c\t\\N\n");
        bytes.extend(frame(b"2\t\tx\n"));
        for cut in 0..bytes.len() {
            let mut rows = Rows::new(3);
            let mut found = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                rows.push(piece);
                while let Some(row) = rows.next_row().unwrap() {
                    found.push(row);
                }
            }
            assert_eq!(found.len(), 2);
            let first: Vec<_> = found[0].iter().collect();
            assert_eq!(
                first,
                [TupleData::Text(b"1"), TupleData::Text(b"a\tb\\c"), TupleData::Null]
            );
            assert_eq!(found[1].get(1), Some(TupleData::Text(b"")));
        }
    }

    #[test]
    fn malformed_rows_are_errors() {
        for row in [&b"1\n"[..], b"1\t2\t3\t4\n", b"1\t2\t3", b"1\t2\t\\\n"] {
            let mut rows = Rows::new(3);
            rows.push(&frame(row));
            assert!(rows.next_row().is_err(), "{row:?}");
        }
        for message in [&b"d\0\0\0\x01"[..], b"c\0\0\0\x04", b"d\xff\xff\xff\xff"] {
            let mut rows = Rows::new(1);
            rows.push(message);
            assert!(rows.next_row().is_err(), "{message:?}");
        }
    }

    #[test]
    fn a_row_that_is_cut_off_is_an_error() {
        for cut in [1, 5, 6] {
            let mut rows = Rows::new(1);
            rows.push(&frame(b"1\n")[..cut]);
            assert!(rows.next_row().unwrap().is_none());
            assert!(rows.finish().is_err(), "{cut}");
        }
    }

    #[test]
    fn a_table_without_columns_has_rows_too() {
        let mut rows = Rows::new(0);
        rows.push(&frame(b"\n"));
        assert!(rows.next_row().unwrap().is_some());
    }
}
