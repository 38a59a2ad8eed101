//! One transaction's messages, in their order: first those in the file, then those in memory.
//!
//! Each stands there as its length (4 bytes), its position (8 bytes), and its bytes as they came.

use std::collections::HashSet;
use std::io::{self, SeekFrom};
use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::lsn::Lsn;

/// Bytes that are read from a file at once, at most and at least: a longer message takes several reads.
const PIECE_BYTES: usize = 256 << 10;
const HEAD_BYTES: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Held {
    tail: BytesMut,
    file: Option<File>,
    /// Bytes in the file.
    written_bytes: u64,
    rolled_back: HashSet<u32>,
    reading: Option<Reading>,
}

/// How far the file was read.
#[derive(Debug, Default)]
struct Reading {
    is_rewound: bool,
    read_bytes: u64,
    piece: BytesMut,
}

impl Held {
    /// Adds a message; returns by how many bytes the memory has grown.
    pub(super) fn push(&mut self, lsn: Lsn, body: &[u8]) -> usize {
        // A message of the protocol is below 2 GiB.
        self.tail.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        self.tail.put_u64(lsn.get());
        self.tail.extend_from_slice(body);
        HEAD_BYTES + body.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.tail.len()
    }

    pub(super) const fn has_file(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn roll_back(&mut self, subxid: u32) {
        self.rolled_back.insert(subxid);
    }

    /// Whether a change of this transaction or savepoint never was.
    pub(super) fn is_rolled_back(&self, xid: Option<u32>) -> bool {
        xid.is_some_and(|xid| self.rolled_back.contains(&xid))
    }

    /// Writes some of what is in memory to a file in `directory`; returns by how many bytes the memory has shrunk, or what failed.
    ///
    /// # Cancel safety
    /// Dropping the future writes nothing.
    pub(super) async fn write_out(
        &mut self,
        directory: &Path,
    ) -> Result<usize, (&'static str, io::Error)> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(directory).map_err(|error| ("begin", error))?),
        };
        let written = file.write(&self.tail).await.map_err(|error| ("keep", error))?;
        self.tail.advance(written);
        self.written_bytes += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    /// The next message; `None` at the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub(super) async fn next(&mut self) -> io::Result<Option<(Lsn, Bytes)>> {
        let reading = self.reading.get_or_insert_default();
        loop {
            if let Some(message) = split(&mut reading.piece) {
                return Ok(Some(message));
            }
            if reading.read_bytes < self.written_bytes {
                let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
                if !reading.is_rewound {
                    file.flush().await?;
                    file.seek(SeekFrom::Start(0)).await?;
                    reading.is_rewound = true;
                }
                reading.piece.reserve(PIECE_BYTES);
                let read = file.read_buf(&mut reading.piece).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                reading.read_bytes += u64::try_from(read).unwrap_or(u64::MAX);
            } else if self.tail.is_empty() {
                return if reading.piece.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            } else {
                reading.piece.unsplit(self.tail.split());
            }
        }
    }
}

/// A file that no other process sees, and that is gone when it is closed.
fn create(directory: &Path) -> io::Result<File> {
    std::fs::create_dir_all(directory)?;
    tempfile::tempfile_in(directory).map(File::from_std)
}

/// Takes the first message, if all of it is there.
fn split(piece: &mut BytesMut) -> Option<(Lsn, Bytes)> {
    let mut head = piece.get(..HEAD_BYTES)?;
    let length = usize::try_from(head.get_u32()).ok()?;
    let lsn = Lsn::new(head.get_u64());
    if piece.len() < HEAD_BYTES + length {
        return None;
    }
    piece.advance(HEAD_BYTES);
    Some((lsn, piece.split_to(length).freeze()))
}
