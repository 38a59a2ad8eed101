//! Pipelined statements: many are sent before the first is answered.
//!
//! In: statements, each with the entry of the batch that it stands for. Out: [`Findings`], what the server
//! said of them. Statements of a group run until one fails; the server skips the rest of the group.

use std::collections::VecDeque;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use stream_core::change::TupleData;
use stream_core::postgres::{ServerError, Wire, WireError};

use super::encode::{CopyRows, bind_arrays, bind_execute};

/// Encoded statements are sent when there are about this many bytes of them.
const SEND_BYTES: usize = 256 << 10;

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Begins, marks or ends a transaction.
    Control,
    /// Makes sure that this worker still owns the stream: must find a row.
    Own,
    /// Adds this many rows; a trigger or a rule of the target may leave some out.
    Insert(u64),
    /// Changes a row: must find one.
    Update,
    /// Changes or removes this many rows: must find them.
    Rows(u64),
    /// Removes a row: finds one, unless somebody else wrote to the target.
    Delete,
    /// Makes sure that a table is what the plan says whose number stands in place of the entry: must find a row.
    Unaltered,
}

/// What the server said of the statements since the last [`Pipe::finish`].
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The first error, and the entry it belongs to.
    pub(super) refused: Option<(ServerError, usize)>,
    /// Whether a statement of [`Purpose::Own`] found no row.
    pub(super) fenced: bool,
    /// The first update that found no row, or statement that found another number of rows.
    pub(super) missed_update: Option<usize>,
    /// The first update or delete of a row that found several.
    pub(super) found_many: Option<usize>,
    /// The number of a plan whose table is not what it was.
    pub(super) altered: Option<usize>,
    /// Deletes that found no row.
    pub(super) missed_deletes: Vec<usize>,
    /// Inserts that added fewer rows than were sent, and how many fewer.
    pub(super) left_out: Vec<(usize, u64)>,
    /// Rows of the last statement.
    pub(super) rows: u64,
}

impl Findings {
    /// Whether the target is as the source's changes expect it, as far as it matters.
    pub(super) const fn as_expected(&self) -> bool {
        self.refused.is_none()
            && self.missed_update.is_none()
            && self.found_many.is_none()
            && self.altered.is_none()
            && !self.fenced
    }
}

#[derive(Clone, Copy, Debug)]
enum Awaited {
    Statement { purpose: Purpose, entry: usize },
    Ready,
}

/// A session to which statements are sent without waiting for their answers.
pub(super) struct Pipe {
    wire: Wire,
    awaited: VecDeque<Awaited>,
    /// Whether statements were sent that no `Sync` has followed.
    open_group: bool,
    findings: Findings,
}

impl Pipe {
    pub(super) const fn new(wire: Wire, findings: Findings) -> Self {
        Self { wire, awaited: VecDeque::new(), open_group: false, findings }
    }

    pub(super) fn process_id(&self) -> i32 {
        self.wire.process_id()
    }

    /// Where messages are encoded: rows of a `COPY` that was begun go here.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.wire.writer.buffer()
    }

    /// A statement in its own group, as text.
    pub(super) fn query(
        &mut self,
        sql: &str,
        purpose: Purpose,
        entry: usize,
    ) -> Result<(), WireError> {
        self.end_group();
        frontend::query(sql, self.buffer()).map_err(WireError::Io)?;
        self.awaited.push_back(Awaited::Statement { purpose, entry });
        self.awaited.push_back(Awaited::Ready);
        Ok(())
    }

    pub(super) fn prepare(
        &mut self,
        name: &str,
        sql: &str,
        types: &[u32],
    ) -> Result<(), WireError> {
        self.open_group = true;
        frontend::parse(name, sql, types.iter().copied(), self.buffer()).map_err(WireError::Io)
    }

    /// Executes a prepared statement.
    pub(super) fn execute<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = TupleData<'a>> + Clone,
        purpose: Purpose,
        entry: usize,
    ) -> Result<(), WireError> {
        self.open_group = true;
        bind_execute(name, values, self.buffer()).map_err(WireError::Io)?;
        self.awaited.push_back(Awaited::Statement { purpose, entry });
        Ok(())
    }

    /// Executes a prepared statement whose parameters are arrays of `rows` elements, and that must find as many
    /// rows.
    pub(super) fn execute_arrays(
        &mut self,
        name: &str,
        elements: &[u32],
        values: &[TupleData<'_>],
        rows: usize,
        entry: usize,
    ) -> Result<(), WireError> {
        self.open_group = true;
        bind_arrays(name, elements, values, rows, self.buffer()).map_err(WireError::Io)?;
        let purpose = Purpose::Rows(u64::try_from(rows).unwrap_or(u64::MAX));
        self.awaited.push_back(Awaited::Statement { purpose, entry });
        Ok(())
    }

    /// Sends what is encoded when it is much, and takes the answers that come meanwhile.
    pub(super) async fn send_when_much(&mut self) -> Result<(), WireError> {
        if self.wire.writer.buffer().len() >= SEND_BYTES { self.send().await } else { Ok(()) }
    }

    /// As [`Self::send_when_much`], in the middle of a `COPY`.
    pub(super) async fn send_rows_when_much(
        &mut self,
        rows: &mut CopyRows,
    ) -> Result<(), WireError> {
        if self.wire.writer.buffer().len() >= SEND_BYTES {
            rows.close(self.wire.writer.buffer()).map_err(WireError::Io)?;
            self.send().await?;
        }
        Ok(())
    }

    /// Waits until every statement is answered.
    pub(super) async fn finish(&mut self) -> Result<Findings, WireError> {
        self.end_group();
        self.send().await?;
        while !self.awaited.is_empty() {
            let frame = self.wire.reader.frame().await?;
            take(&mut self.awaited, &mut self.findings, frame.tag, &frame.body)?;
        }
        Ok(std::mem::take(&mut self.findings))
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.open_group) {
            frontend::sync(self.buffer());
            self.awaited.push_back(Awaited::Ready);
        }
    }

    async fn send(&mut self) -> Result<(), WireError> {
        let Self { wire, awaited, findings, .. } = self;
        let Wire { reader, writer, .. } = wire;
        let flush = writer.flush();
        tokio::pin!(flush);
        loop {
            tokio::select! {
                biased;
                flushed = &mut flush => return flushed,
                frame = reader.frame() => {
                    let frame = frame?;
                    take(awaited, findings, frame.tag, &frame.body)?;
                }
            }
        }
    }
}

/// Takes one message of the server.
fn take(
    awaited: &mut VecDeque<Awaited>,
    findings: &mut Findings,
    tag: u8,
    body: &[u8],
) -> Result<(), WireError> {
    match tag {
        b'C' => {
            let Some(Awaited::Statement { purpose, entry }) = awaited.pop_front() else {
                return Err(WireError::Protocol("an answer to no statement".to_owned()));
            };
            complete(findings, purpose, entry, rows_of(body));
        }
        b'E' => {
            let entry = match awaited.front() {
                Some(Awaited::Statement { entry, .. }) => *entry,
                Some(Awaited::Ready) | None => 0,
            };
            let error = ServerError::parse(body);
            if error.severity != "ERROR" {
                return Err(WireError::Server(Box::new(error)));
            }
            findings.refused.get_or_insert((error, entry));
        }
        b'Z' => {
            // The statements that the server skipped after an error have no answer of their own.
            while let Some(Awaited::Statement { .. }) = awaited.pop_front() {}
        }
        // Parse, Bind and Close are done; rows nobody asked to see; no data; COPY may begin.
        b'1' | b'2' | b'3' | b'T' | b'D' | b'n' | b't' | b'G' => {}
        other => {
            return Err(WireError::Protocol(format!("unexpected message `{}`", char::from(other))));
        }
    }
    Ok(())
}

fn complete(findings: &mut Findings, purpose: Purpose, entry: usize, rows: u64) {
    findings.rows = rows;
    match (purpose, rows) {
        (Purpose::Own, 0) => findings.fenced = true,
        (Purpose::Update, 0) => {
            findings.missed_update.get_or_insert(entry);
        }
        (Purpose::Rows(expected), found) if expected != found => {
            findings.missed_update.get_or_insert(entry);
        }
        (Purpose::Insert(sent), added) if added < sent => {
            findings.left_out.push((entry, sent - added));
        }
        (Purpose::Delete, 0) => findings.missed_deletes.push(entry),
        (Purpose::Update | Purpose::Delete, 2..) => {
            findings.found_many.get_or_insert(entry);
        }
        (Purpose::Unaltered, 0) => {
            findings.altered.get_or_insert(entry);
        }
        _ => {}
    }
}

/// The count at the end of a command tag: `INSERT 0 5`, `UPDATE 1`; 0 without one.
fn rows_of(body: &[u8]) -> u64 {
    let tag = body.strip_suffix(&[0]).unwrap_or(body);
    std::str::from_utf8(tag).ok().and_then(|tag| tag.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_statements_are_not_waited_for() {
        let statement = |entry| Awaited::Statement { purpose: Purpose::Update, entry };
        let mut awaited = VecDeque::from([
            statement(0),
            statement(1),
            statement(2),
            Awaited::Ready,
            statement(3),
        ]);
        let mut findings = Findings::default();
        take(&mut awaited, &mut findings, b'C', b"UPDATE 0\0").unwrap();
        take(&mut awaited, &mut findings, b'E', b"SERROR\0C23505\0Mduplicate\0\0").unwrap();
        take(&mut awaited, &mut findings, b'Z', b"E").unwrap();
        assert_eq!(awaited.len(), 1);
        assert_eq!(findings.missed_update, Some(0));
        assert_eq!(
            findings.refused.map(|(error, entry)| (error.code, entry)),
            Some(("23505".to_owned(), 1))
        );
    }

    #[test]
    fn a_tag_ends_with_its_count() {
        assert_eq!(rows_of(b"INSERT 0 5\0"), 5);
        assert_eq!(rows_of(b"COPY 17\0"), 17);
        assert_eq!(rows_of(b"BEGIN\0"), 0);
    }
}
