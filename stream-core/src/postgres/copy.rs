//! COPY in its raw form: what one server sends goes to another as it is.
//!
//! A `CopyData` message looks the same in both directions, so rows pass from
//! [`WireReader::copy_piece`] to [`Wire::copy_in_write`] without being taken apart; only the
//! headers are looked at. Never splits, joins or parses rows.

use bytes::Bytes;
use postgres_protocol::message::{backend, frontend};

use super::error::WireError;
use super::wire::{
    Answer, COPY_BOTH_RESPONSE_TAG, Frame, HEADER_BYTES, Wire, WireReader, header, malformed,
    unexpected,
};

impl Wire {
    /// Starts a `COPY … TO STDOUT`; [`WireReader::copy_piece`] gives the rows.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Protocol`] if `sql` is another statement.
    ///
    /// # Cancel safety
    /// Not cancel safe: the session must be dropped.
    pub async fn copy_out(&mut self, sql: &str) -> Result<(), WireError> {
        self.start_copy(sql, backend::COPY_OUT_RESPONSE_TAG).await
    }

    /// Starts a `COPY … FROM STDIN`; [`Self::copy_in_write`] takes the rows.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Protocol`] if `sql` is another statement.
    ///
    /// # Cancel safety
    /// Not cancel safe: the session must be dropped.
    pub async fn copy_in_start(&mut self, sql: &str) -> Result<(), WireError> {
        self.start_copy(sql, backend::COPY_IN_RESPONSE_TAG).await
    }

    /// Starts a `START_REPLICATION`; [`WireReader::frame`] gives the messages.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Protocol`] if `sql` is another statement.
    ///
    /// # Cancel safety
    /// Not cancel safe: the session must be dropped.
    pub async fn start_copy_both(&mut self, sql: &str) -> Result<(), WireError> {
        self.start_copy(sql, COPY_BOTH_RESPONSE_TAG).await
    }

    /// Sends a piece of `CopyData` messages, headers included, cut anywhere. Notices meanwhile
    /// that the server has refused a row, instead of sending the rest for nothing.
    ///
    /// # Errors
    /// [`WireError`]. The session must be dropped: the server may still wait for the rest of a
    /// message.
    ///
    /// # Cancel safety
    /// Not cancel safe: the session must be dropped.
    pub async fn copy_in_write(&mut self, piece: &[u8]) -> Result<(), WireError> {
        tokio::select! {
            biased;
            reply = self.reader.reply() => Err(unexpected_reply(reply?.as_ref(), "COPY")),
            written = self.writer.write_raw(piece) => written,
        }
    }

    /// Ends a `COPY … FROM STDIN`: how many rows the server took.
    ///
    /// # Errors
    /// [`WireError`]; after [`WireError::Server`] the session can be used again.
    ///
    /// # Cancel safety
    /// Not cancel safe: the session must be dropped.
    pub async fn copy_in_finish(&mut self) -> Result<u64, WireError> {
        frontend::copy_done(self.writer.buffer());
        self.writer.flush().await?;
        while let Some(frame) = self.reader.reply().await? {
            self.reader.copy_tail(&frame)?;
        }
        Ok(self.reader.completed_rows)
    }

    async fn start_copy(&mut self, sql: &str, expected: u8) -> Result<(), WireError> {
        self.send_query(sql).await?;
        self.reader.completed_rows = 0;
        match self.reader.reply().await? {
            Some(frame) if frame.tag == expected => Ok(()),
            other => Err(unexpected_reply(other.as_ref(), "the start of COPY")),
        }
    }
}

impl WireReader {
    /// The next piece of a COPY to us: bytes of `CopyData` messages as the server sent them,
    /// headers included, cut anywhere. `None` when the COPY is complete.
    ///
    /// Whoever drops a piece before asking for the next lets its memory be used again.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Server`] comes after a whole message, and the session can be
    /// used again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn copy_piece(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            let run = self.copy_run()?;
            if run > 0 {
                return Ok(Some(self.buffer.split_to(run).freeze()));
            }
            // One message at a time: CopyData may follow a notice.
            let Some(frame) = self.split_frame()? else {
                self.fill().await?;
                continue;
            };
            match self.absorb(frame).map(|frame| self.answer(frame)).transpose()? {
                Some(Answer::Message(frame)) => self.copy_tail(&frame)?,
                Some(Answer::Ready) => return Ok(None),
                Some(Answer::Failing) | None => {}
            }
        }
    }

    /// Rows of the COPY that was completed last, as the server counted them.
    #[must_use]
    pub fn completed_rows(&self) -> u64 {
        self.completed_rows
    }

    /// How many messages began in the pieces since the last call: one a row.
    pub fn take_copy_messages(&mut self) -> u64 {
        std::mem::take(&mut self.copy_messages)
    }

    /// How many bytes at the start of the buffer belong to `CopyData` messages.
    fn copy_run(&mut self) -> Result<usize, WireError> {
        let mut run = 0;
        loop {
            let here = self.copy_rest.min(self.buffer.len() - run);
            run += here;
            self.copy_rest -= here;
            match header(self.buffer.get(run..).unwrap_or_default())? {
                Some((backend::COPY_DATA_TAG, length)) => {
                    run += HEADER_BYTES;
                    self.copy_rest = length;
                    self.copy_messages += 1;
                }
                _ => return Ok(run),
            }
        }
    }

    /// Takes note of a message after the last row.
    fn copy_tail(&mut self, frame: &Frame) -> Result<(), WireError> {
        match frame.tag {
            backend::COPY_DONE_TAG => Ok(()),
            backend::COMMAND_COMPLETE_TAG => {
                self.completed_rows = rows_of(&frame.body).ok_or_else(|| malformed(frame.tag))?;
                Ok(())
            }
            tag => Err(unexpected(tag, "COPY")),
        }
    }
}

/// The number at the end of `COPY 3`.
fn rows_of(command_tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(command_tag.strip_suffix(b"\0")?).ok()?;
    text.strip_prefix("COPY ")?.parse().ok()
}

fn unexpected_reply(reply: Option<&Frame>, during: &str) -> WireError {
    unexpected(reply.map_or(backend::READY_FOR_QUERY_TAG, |frame| frame.tag), during)
}
