//! A cursor over one message, with every bound checked.
//!
//! In: a message's bytes. Out: its fields in order, or a [`DecodeError`] that says where they ended.
//! Never copies a row: a [`Tuple`] takes its part of the received bytes with it.

use bytes::{Buf, Bytes};

use super::DecodeError;
use crate::change::Tuple;
use crate::lsn::Lsn;

/// The rest of a message that is being read.
pub(super) struct Reader {
    rest: Bytes,
    length: usize,
    message: &'static str,
}

impl Reader {
    /// Starts at the tag of `body`. The message has no name before [`Reader::name`] gives it one.
    pub(super) fn new(body: Bytes) -> Self {
        Self { length: body.len(), rest: body, message: "empty" }
    }

    /// Names the message for errors to come.
    pub(super) const fn name(&mut self, message: &'static str) {
        self.message = message;
    }

    /// Bytes not read yet.
    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The error that `expected` does not stand at the next byte.
    pub(super) const fn error(&self, expected: &'static str) -> DecodeError {
        self.error_at(self.rest.len(), expected)
    }

    const fn error_at(&self, remaining: usize, expected: &'static str) -> DecodeError {
        let offset = self.length.saturating_sub(remaining);
        DecodeError::Malformed { message: self.message, offset, length: self.length, expected }
    }

    /// The next `N` bytes as `parse` understands them; they stay unread when it does not.
    fn parse<const N: usize, T>(
        &mut self,
        expected: &'static str,
        parse: impl FnOnce([u8; N]) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let value = self.rest.first_chunk().and_then(|bytes| parse(*bytes));
        let Some(value) = value else { return Err(self.error(expected)) };
        self.rest.advance(N);
        Ok(value)
    }

    pub(super) fn u32(&mut self, expected: &'static str) -> Result<u32, DecodeError> {
        self.parse(expected, |bytes| Some(u32::from_be_bytes(bytes)))
    }

    pub(super) fn i32(&mut self, expected: &'static str) -> Result<i32, DecodeError> {
        self.parse(expected, |bytes| Some(i32::from_be_bytes(bytes)))
    }

    pub(super) fn lsn(&mut self, expected: &'static str) -> Result<Lsn, DecodeError> {
        self.parse(expected, |bytes| Some(Lsn::new(u64::from_be_bytes(bytes))))
    }

    /// Microseconds since 2000-01-01 00:00 UTC.
    pub(super) fn time_us(&mut self, expected: &'static str) -> Result<i64, DecodeError> {
        self.parse(expected, |bytes| Some(i64::from_be_bytes(bytes)))
    }

    /// A byte with a meaning.
    pub(super) fn byte<T>(
        &mut self,
        expected: &'static str,
        meaning: impl FnOnce(u8) -> Option<T>,
    ) -> Result<T, DecodeError> {
        self.parse(expected, |[byte]| meaning(byte))
    }

    /// One of `letters`.
    pub(super) fn letter(
        &mut self,
        letters: &[u8],
        expected: &'static str,
    ) -> Result<u8, DecodeError> {
        self.byte(expected, |byte| letters.contains(&byte).then_some(byte))
    }

    /// A byte of which only the bits of `known` have a meaning.
    pub(super) fn flags(&mut self, known: u8, expected: &'static str) -> Result<u8, DecodeError> {
        self.byte(expected, |byte| (byte & !known == 0).then_some(byte))
    }

    /// A 16-bit count, which is not negative.
    pub(super) fn count16(&mut self, expected: &'static str) -> Result<u16, DecodeError> {
        self.parse(expected, |bytes| u16::try_from(i16::from_be_bytes(bytes)).ok())
    }

    /// A 32-bit count, which is not negative. It is the sender's claim: check it before allocating.
    pub(super) fn count32(&mut self, expected: &'static str) -> Result<usize, DecodeError> {
        self.parse(expected, |bytes| usize::try_from(i32::from_be_bytes(bytes)).ok())
    }

    /// A string that ends with a zero byte.
    pub(super) fn string(&mut self, expected: &'static str) -> Result<String, DecodeError> {
        let text = memchr::memchr(0, &self.rest)
            .and_then(|end| self.rest.get(..end))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .ok_or_else(|| self.error(expected))?
            .to_owned();
        self.rest.advance(text.len() + 1);
        Ok(text)
    }

    /// The name of a schema, for which an empty string stands when it is `pg_catalog`.
    pub(super) fn schema(&mut self) -> Result<String, DecodeError> {
        let schema = self.string("a schema name in UTF-8")?;
        Ok(if schema.is_empty() { "pg_catalog".to_owned() } else { schema })
    }

    /// The next `length` bytes, not copied.
    pub(super) fn bytes(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<Bytes, DecodeError> {
        if length > self.rest.len() {
            return Err(self.error(expected));
        }
        Ok(self.rest.split_to(length))
    }

    /// A row that other fields follow.
    pub(super) fn tuple(&mut self) -> Result<Tuple, DecodeError> {
        let columns = self.count16("a number of columns")?;
        let length = self.walk(columns)?;
        let bytes = self.bytes(length, "a row")?;
        Tuple::new(bytes, columns).ok_or_else(|| self.error("a row"))
    }

    /// A row that ends the message. Most rows do, and [`Tuple::new`] checks this one by itself; it is
    /// walked a second time only to say what is wrong with it.
    pub(super) fn last_tuple(&mut self) -> Result<Tuple, DecodeError> {
        let columns = self.count16("a number of columns")?;
        if let Some(tuple) = Tuple::new(self.rest.clone(), columns) {
            self.rest.clear();
            return Ok(tuple);
        }
        let length = self.walk(columns)?;
        Err(self.error_at(self.rest.len().saturating_sub(length), END))
    }

    /// Bytes that the next `columns` columns take.
    fn walk(&self, columns: u16) -> Result<usize, DecodeError> {
        let mut rest: &[u8] = &self.rest;
        for _ in 0..columns {
            let Some((letter, after)) = rest.split_first() else {
                return Err(self.error_at(rest.len(), "a column"));
            };
            rest = match letter {
                b'n' | b'u' => after,
                b't' | b'b' => after
                    .split_first_chunk::<4>()
                    .and_then(|(length, value)| {
                        value.get(usize::try_from(i32::from_be_bytes(*length)).ok()?..)
                    })
                    .ok_or_else(|| self.error_at(after.len(), "a length and that many bytes"))?,
                _ => return Err(self.error_at(rest.len(), "a column's kind: `n`, `u`, `t` or `b`")),
            };
        }
        Ok(self.rest.len().saturating_sub(rest.len()))
    }

    /// Checks that nothing is left.
    pub(super) const fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(END)) }
    }
}

const END: &str = "the end of the message";
