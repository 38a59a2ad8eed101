//! The replication stream: what the walsender sends, and what we tell it.
//!
//! In: a session that speaks replication. Out: [`StreamMessage`]s. Knows nothing of transactions.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-replication.html>

use std::time::UNIX_EPOCH;

use bytes::{BufMut, Bytes};
use postgres_protocol::message::{backend, frontend};

use super::PluginOptions;
use super::error::{ServerError, WireError};
use super::wire::{Frame, Wire};
use crate::clock;
use crate::copy::CopyFormat;
use crate::lsn::Lsn;
use crate::sql::{Ident, Literal};

/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01 00:00 UTC.
const POSTGRES_EPOCH_SECONDS: u64 = 946_684_800;

/// A message of the walsender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamMessage {
    /// A message of the output plugin.
    Wal {
        /// Where what it speaks of stands in the log; 0 for a part of something larger.
        start: Lsn,
        /// The end of the server's log when it was sent.
        wal_end: Lsn,
        /// The plugin's bytes.
        body: Bytes,
    },
    /// A sign of life.
    Keepalive {
        /// Up to here the server has looked through the log and sent what there was to send.
        wal_end: Lsn,
        /// Whether the server asks for an answer.
        reply: bool,
    },
    /// The server ended the stream, because it shuts down.
    Done,
}

/// A running replication stream.
pub struct ReplicationStream {
    wire: Wire,
    received: Lsn,
}

impl ReplicationStream {
    /// Starts the stream of a slot at `position`, or where the slot stands when that is later.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn start(
        mut wire: Wire,
        slot: &str,
        publication: &str,
        position: Lsn,
        plugin: &PluginOptions,
        format: CopyFormat,
    ) -> Result<Self, WireError> {
        let binary = if format == CopyFormat::Binary { ", binary 'true'" } else { "" };
        // Publication names travel as an SQL list inside of a string.
        let publication = Ident(publication).to_string();
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL {position} ({}publication_names {}, messages 'true'{binary})",
            Ident(slot),
            plugin.to_sql(),
            Literal(&publication).to_string().trim_start(),
        );
        wire.start_copy_both(&sql).await?;
        Ok(Self { wire, received: position })
    }

    /// The next message.
    ///
    /// # Errors
    /// When the session breaks, or the server ends it with an error. Also when it warns that something is not as it
    /// should be (SQLSTATE 55000): a publication that is not there is skipped with a warning, and its changes with it.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Result<StreamMessage, WireError> {
        let frame = match self.wire.reader.try_frame()? {
            Some(frame) => frame,
            None => self.wire.reader.frame().await?,
        };
        if let Some(warning) = self.wire.reader.warning.take() {
            return Err(WireError::Server(warning));
        }
        let message = parse(frame)?;
        if let StreamMessage::Wal { wal_end, .. } | StreamMessage::Keepalive { wal_end, .. } =
            &message
        {
            self.received = self.received.max(*wal_end);
        }
        Ok(message)
    }

    /// Tells the server that all below `flush` is durable, and that we live. `ping` asks for a keepalive.
    ///
    /// # Errors
    /// When the session breaks.
    pub async fn status(&mut self, flush: Lsn, ping: bool) -> Result<(), WireError> {
        let mut update = [0_u8; 34];
        {
            let mut to = &mut update[..];
            to.put_u8(b'r');
            to.put_u64(self.received.max(flush).get());
            to.put_u64(flush.get());
            to.put_u64(flush.get());
            to.put_i64(now_us());
            to.put_u8(u8::from(ping));
        }
        let data = frontend::CopyData::new(&update[..]).map_err(WireError::Io)?;
        data.write(self.wire.writer.buffer());
        self.wire.writer.flush().await
    }

    /// Ends the session, and lets the server let go of the slot, which the next session would find in use; waits at most a second.
    pub async fn close(self) {
        self.wire.terminate_and_wait().await;
    }
}

/// Microseconds since 2000-01-01, by our clock.
pub(crate) fn now_us() -> i64 {
    let since = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros())
        .unwrap_or(i64::MAX)
        .saturating_sub_unsigned(POSTGRES_EPOCH_SECONDS * 1_000_000)
}

fn parse(frame: Frame) -> Result<StreamMessage, WireError> {
    match frame.tag {
        backend::COPY_DATA_TAG => parse_data(frame.body),
        backend::ERROR_RESPONSE_TAG => {
            Err(WireError::Server(Box::new(ServerError::parse(&frame.body))))
        }
        // A server that shuts down ends the command without ending the copy.
        backend::COPY_DONE_TAG | backend::COMMAND_COMPLETE_TAG => Ok(StreamMessage::Done),
        other => Err(WireError::Protocol(format!(
            "unexpected message `{}` in the replication stream",
            char::from(other)
        ))),
    }
}

fn parse_data(mut body: Bytes) -> Result<StreamMessage, WireError> {
    let short = || WireError::Protocol("a replication message is cut short".to_owned());
    match body.first() {
        Some(b'w') => {
            // Where the message's WAL begins (0 for parts of a larger one), the end of the log, the clock.
            let header = body.get(..25).ok_or_else(short)?;
            let wal_end = lsn_at(header, 9).ok_or_else(short)?;
            let start = lsn_at(header, 1).ok_or_else(short)?;
            Ok(StreamMessage::Wal { start, wal_end, body: body.split_off(25) })
        }
        Some(b'k') => {
            let wal_end = lsn_at(&body, 1).ok_or_else(short)?;
            let reply = *body.get(17).ok_or_else(short)? != 0;
            Ok(StreamMessage::Keepalive { wal_end, reply })
        }
        Some(other) => Err(WireError::Protocol(format!(
            "unknown replication message `{}`",
            char::from(*other)
        ))),
        None => Err(short()),
    }
}

fn lsn_at(bytes: &[u8], at: usize) -> Option<Lsn> {
    let bytes = bytes.get(at..)?.first_chunk::<8>()?;
    Some(Lsn::new(u64::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(body: &'static [u8]) -> Result<StreamMessage, WireError> {
        parse_data(Bytes::from_static(body))
    }

    #[test]
    fn messages_are_told_apart() {
        assert_eq!(
            data(b"w\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03body").unwrap(),
            StreamMessage::Wal {
                start: Lsn::new(1),
                wal_end: Lsn::new(2),
                body: Bytes::from_static(b"body")
            }
        );
        assert_eq!(
            data(b"k\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\x01").unwrap(),
            StreamMessage::Keepalive { wal_end: Lsn::new(5), reply: true }
        );
    }

    #[test]
    fn a_server_that_shuts_down_ends_the_stream() {
        for tag in [backend::COPY_DONE_TAG, backend::COMMAND_COMPLETE_TAG] {
            let frame = Frame { tag, body: Bytes::from_static(b"COPY 0\0") };
            assert_eq!(parse(frame).unwrap(), StreamMessage::Done);
        }
    }

    #[test]
    fn hostile_messages_are_errors() {
        for body in [&b""[..], b"w", b"w\0\0\0", b"k\0\0\0\0\0\0\0\x05", b"x"] {
            assert!(data(body).is_err(), "{body:?}");
        }
    }
}
