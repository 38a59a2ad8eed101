//! A session in the [frontend/backend protocol], for what `tokio-postgres` cannot do: replication,
//! raw COPY and pipelined statements.
//!
//! In: bytes of a connection. Out: [`Frame`]s, whole and unparsed. The two halves are separate
//! fields: whoever sends much while the server answers must use both at once, or the two ends wait
//! for each other with full buffers.
//!
//! ```text
//!  socket ─► WireReader.buffer ─► try_frame / frame ─► Frame { tag, body }     body shares the buffer
//!                              └► copy_piece ─► runs of CopyData, headers included
//!  socket ◄─ flush ◄─ WireWriter.buffer() ◄─ postgres_protocol::message::frontend
//! ```
//!
//! [frontend/backend protocol]: https://www.postgresql.org/docs/current/protocol-flow.html

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::{backend, frontend};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::error::{ServerError, WireError};

/// A session. Made by [`Wire::connect`], or from any stream for tests.
pub struct Wire {
    /// What comes from the server.
    pub reader: WireReader,
    /// What goes to the server.
    pub writer: WireWriter,
    pub(super) process_id: i32,
    pub(super) secret_key: i32,
}

/// The half that reads.
pub struct WireReader {
    half: ReadHalf<BoxedStream>,
    pub(super) buffer: BytesMut,
    /// Bytes to make room for at a time: small for an idle session, grown by a busy one.
    chunk: usize,
    pub(super) parameters: HashMap<String, String>,
    /// An error of the server whose `ReadyForQuery` is still to come.
    failed: Option<Box<ServerError>>,
    /// A warning that something is not in the state that it should be in (SQLSTATE 55000).
    pub(super) warning: Option<Box<ServerError>>,
    /// Bytes of the current `CopyData` frame that are still to come.
    pub(super) copy_rest: usize,
    pub(super) completed_rows: u64,
    pub(super) copy_messages: u64,
}

/// The half that writes.
pub struct WireWriter {
    half: WriteHalf<BoxedStream>,
    buffer: BytesMut,
}

/// A message of the server; its `Debug` hides the body, which can be row data.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind; `postgres_protocol::message::backend` names them.
    pub tag: u8,
    /// What follows the length. Shares the memory of the reader: whoever keeps it keeps that.
    pub body: Bytes,
}

/// What a message means within an answer.
pub(super) enum Answer {
    /// It is a part of the answer.
    Message(Frame),
    /// The statement failed: the error is kept until the server is ready.
    Failing,
    /// The server is ready for the next statement.
    Ready,
}

/// What a session can run over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

pub(super) type BoxedStream = Box<dyn Stream>;

/// Tag of `CopyBothResponse`, which `postgres_protocol` does not know.
pub const COPY_BOTH_RESPONSE_TAG: u8 = b'W';

/// Tag and length.
pub(super) const HEADER_BYTES: usize = 5;
/// A server makes no message longer than 1 GiB; the rest is for what wraps a row.
const MAX_BODY_BYTES: usize = (1 << 30) + (1 << 20);
const MIN_CHUNK_BYTES: usize = 16 << 10;
const MAX_CHUNK_BYTES: usize = 256 << 10;
/// A buffer that one long message made larger than this is given back.
const KEPT_BYTES: usize = 1 << 20;
const GOODBYE: Duration = Duration::from_secs(1);

impl Wire {
    /// A session that is logged in already, over any stream.
    pub fn from_stream(stream: impl Stream + 'static) -> Self {
        let (read, write) = tokio::io::split::<BoxedStream>(Box::new(stream));
        Self {
            reader: WireReader {
                half: read,
                buffer: BytesMut::new(),
                chunk: MIN_CHUNK_BYTES,
                parameters: HashMap::new(),
                failed: None,
                warning: None,
                copy_rest: 0,
                completed_rows: 0,
                copy_messages: 0,
            },
            writer: WireWriter { half: write, buffer: BytesMut::new() },
            process_id: 0,
            secret_key: 0,
        }
    }

    /// The stream again, and what was read from it but not used.
    pub(super) fn into_stream(self) -> (BoxedStream, BytesMut) {
        (self.reader.half.unsplit(self.writer.half), self.reader.buffer)
    }

    /// Process id of the server process, as in `pg_stat_activity.pid`.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// A setting that the server reports (`server_version`, `TimeZone`, …), as it is now.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.reader.parameters.get(name).map(String::as_str)
    }

    /// The server's version as a number: 150018 for 15.18; 0 if the server did not tell.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        version_num(self.parameter("server_version").unwrap_or_default())
    }

    /// Ends the session as the protocol wants it; waits at most a second.
    ///
    /// # Cancel safety
    /// Safe: the connection is closed in any case.
    pub async fn terminate(mut self) {
        at_most_a_second(self.goodbye()).await;
    }

    /// Ends the session, and waits for the server to have ended it too, so that nobody finds in use what it held; waits at
    /// most a second. What the server still sends is thrown away.
    ///
    /// # Cancel safety
    /// Safe: the connection is closed in any case.
    pub async fn terminate_and_wait(mut self) {
        at_most_a_second(async {
            self.goodbye().await?;
            loop {
                self.reader.buffer.clear();
                match self.reader.fill().await {
                    Ok(()) => {}
                    Err(WireError::Closed) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        })
        .await;
    }

    async fn goodbye(&mut self) -> Result<(), WireError> {
        frontend::terminate(self.writer.buffer());
        self.writer.flush().await?;
        self.writer.half.shutdown().await.map_err(WireError::Io)
    }

    pub(super) async fn send_query(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::query(sql, self.writer.buffer())
            .map_err(|error| WireError::Protocol(format!("a statement cannot be sent: {error}")))?;
        self.writer.flush().await
    }
}

/// The server may be gone already: that ends the session as well.
async fn at_most_a_second(goodbye: impl Future<Output = Result<(), WireError>>) {
    if let Ok(Err(error)) = tokio::time::timeout(GOODBYE, goodbye).await {
        tracing::debug!(error = %error, "session ended without a goodbye");
    }
}

impl WireReader {
    /// The next message, if all of it has been read. Notices, notifications and changed settings
    /// are taken care of here; an `ErrorResponse` is a message like any other.
    ///
    /// # Errors
    /// [`WireError::Protocol`] for a length that no message has.
    pub fn try_frame(&mut self) -> Result<Option<Frame>, WireError> {
        while let Some(frame) = self.split_frame()? {
            if let Some(frame) = self.absorb(frame) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Waits for the next message, see [`Self::try_frame`].
    ///
    /// # Errors
    /// [`WireError`], but not [`WireError::Server`].
    ///
    /// # Cancel safety
    /// Cancel safe: what was read stays in the buffer.
    pub async fn frame(&mut self) -> Result<Frame, WireError> {
        loop {
            match self.try_frame()? {
                Some(frame) => return Ok(frame),
                None => self.fill().await?,
            }
        }
    }

    /// Waits for the next message of an answer; `None` when the server is ready for the next
    /// statement.
    ///
    /// # Errors
    /// [`WireError::Server`] for an `ErrorResponse`, once the server is ready for the next
    /// statement or has closed the connection.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn reply(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            let frame = self.frame().await?;
            match self.answer(frame)? {
                Answer::Message(frame) => return Ok(Some(frame)),
                Answer::Ready => return Ok(None),
                Answer::Failing => {}
            }
        }
    }

    /// Takes in what the server may say at any time; gives back any other message.
    pub(super) fn absorb(&mut self, frame: Frame) -> Option<Frame> {
        match frame.tag {
            backend::NOTICE_RESPONSE_TAG => {
                let notice = ServerError::parse(&frame.body);
                // Not its text, which can hold row data.
                tracing::debug!(severity = notice.severity, code = notice.code, "notice");
                if notice.severity == "WARNING" && notice.code == "55000" {
                    self.warning = Some(Box::new(notice));
                }
            }
            backend::PARAMETER_STATUS_TAG => {
                let mut fields = frame.body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                let name = fields.next().unwrap_or_default().into_owned();
                let value = fields.next().unwrap_or_default().into_owned();
                tracing::debug!(name, value, "server setting");
                self.parameters.insert(name, value);
            }
            backend::NOTIFICATION_RESPONSE_TAG => {}
            _ => return Some(frame),
        }
        None
    }

    /// What a message means within an answer.
    pub(super) fn answer(&mut self, frame: Frame) -> Result<Answer, WireError> {
        match frame.tag {
            backend::ERROR_RESPONSE_TAG => {
                self.failed = Some(Box::new(ServerError::parse(&frame.body)));
                Ok(Answer::Failing)
            }
            backend::READY_FOR_QUERY_TAG => {
                self.failed.take().map_or(Ok(Answer::Ready), |error| Err(WireError::Server(error)))
            }
            _ => Ok(Answer::Message(frame)),
        }
    }

    /// Reads once, at least one byte. The error that the server announced its end with goes before
    /// the end itself.
    pub(super) async fn fill(&mut self) -> Result<(), WireError> {
        if self.buffer.capacity() - self.buffer.len() < self.chunk / 16 {
            self.buffer.reserve(self.chunk);
        }
        let spare = self.buffer.capacity() - self.buffer.len();
        let end = match self.half.read_buf(&mut self.buffer).await {
            Ok(0) => WireError::Closed,
            Ok(read) => {
                if read == spare {
                    self.chunk = MAX_CHUNK_BYTES.min(self.chunk * 2);
                }
                return Ok(());
            }
            Err(error) => WireError::Io(error),
        };
        Err(self.failed.take().map_or(end, WireError::Server))
    }

    pub(super) fn split_frame(&mut self) -> Result<Option<Frame>, WireError> {
        let Some((tag, length)) = header(&self.buffer)? else { return Ok(None) };
        if self.buffer.len() - HEADER_BYTES < length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(length).freeze();
        if length > KEPT_BYTES {
            self.buffer = BytesMut::from(self.buffer.as_ref());
        }
        Ok(Some(Frame { tag, body }))
    }
}

impl WireWriter {
    /// Where to encode messages with `postgres_protocol::message::frontend`; sent by
    /// [`Self::flush`].
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Sends what is in the buffer.
    ///
    /// # Errors
    /// [`WireError::Io`].
    ///
    /// # Cancel safety
    /// Cancel safe: what is not sent yet stays in the buffer, for the next call.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        while !self.buffer.is_empty() {
            let sent = self.half.write_buf(&mut self.buffer).await.map_err(WireError::Io)?;
            if sent == 0 {
                return Err(WireError::Io(io::ErrorKind::WriteZero.into()));
            }
        }
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        self.half.flush().await.map_err(WireError::Io)
    }

    /// Sends what is in the buffer, then `bytes`: whole messages or a part of one.
    ///
    /// # Errors
    /// [`WireError::Io`].
    ///
    /// # Cancel safety
    /// Not cancel safe: nobody knows how much was sent, so the session must be dropped.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.flush().await?;
        self.half.write_all(bytes).await.map_err(WireError::Io)?;
        self.half.flush().await.map_err(WireError::Io)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}, {} bytes)", self.tag.escape_ascii(), self.body.len())
    }
}

/// Tag and length of the body of the message that `buffer` starts with; `None` if even those are
/// not all there.
pub(super) fn header(buffer: &[u8]) -> Result<Option<(u8, usize)>, WireError> {
    let Some(&[tag, a, b, c, d]) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes([a, b, c, d]);
    match usize::try_from(i64::from(length) - 4) {
        Ok(body) if body <= MAX_BODY_BYTES => Ok(Some((tag, body))),
        _ => Err(WireError::Protocol(format!(
            "message `{}` says it is {length} bytes long; is this a PostgreSQL server?",
            tag.escape_ascii()
        ))),
    }
}

pub(super) fn unexpected(tag: u8, during: &str) -> WireError {
    WireError::Protocol(format!("unexpected message `{}` during {during}", tag.escape_ascii()))
}

pub(super) fn malformed(tag: u8) -> WireError {
    WireError::Protocol(format!("message `{}` is cut short", tag.escape_ascii()))
}

/// `15.18 (Debian …)` is 150018, `18beta1` is 180000.
fn version_num(version: &str) -> u32 {
    let digits = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    let major: u32 = digits(major).unwrap_or(0);
    major.saturating_mul(10_000).saturating_add(digits(minor).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("18beta1", 180_000),
            ("17.0", 170_000),
            ("", 0),
            ("99999999999", 0),
        ] {
            assert_eq!(version_num(text), number, "{text}");
        }
    }

    #[tokio::test]
    async fn memory_is_small_when_idle_and_is_used_again_when_busy() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let mut reader = Wire::from_stream(ours).reader;
        theirs.write_all(b"Z\0\0\0\x05I").await.unwrap();
        reader.frame().await.unwrap();
        assert!(reader.buffer.capacity() <= MIN_CHUNK_BYTES);

        let frame = [&b"D\0\0\x03\xe8"[..], &[0; 996]].concat();
        let (mut seen, mut allocations) = (0, Vec::new());
        for _ in 0..100 {
            theirs.write_all(&frame.repeat(1000)).await.unwrap();
            for _ in 0..1000 {
                assert_eq!(reader.frame().await.unwrap().body.len(), 996);
                seen += 1;
            }
            let end = reader.buffer.as_ptr() as usize + reader.buffer.capacity();
            if !allocations.contains(&end) {
                allocations.push(end);
            }
        }
        assert_eq!(seen, 100_000);
        assert!(allocations.len() < 10, "{}", allocations.len());
        assert!(reader.buffer.capacity() <= 4 * MAX_CHUNK_BYTES);

        let long = [&b"D\0\x40\0\x04"[..], &vec![0; 4 << 20]].concat();
        let (sent, frame) = tokio::join!(theirs.write_all(&long), reader.frame());
        sent.unwrap();
        assert_eq!(frame.unwrap().body.len(), 4 << 20);
        assert!(reader.buffer.capacity() <= KEPT_BYTES);
    }
}
