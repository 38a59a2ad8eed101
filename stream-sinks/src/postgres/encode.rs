//! Rows of the log as `Bind` parameters and as `COPY` data. Pure.

use std::io;

use bytes::{BufMut, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use stream_core::change::{Tuple, TupleData};

/// `COPY` data goes into messages of about this size.
const COPY_MESSAGE_BYTES: usize = 64 << 10;

/// Which form the values of a row have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Every value is text.
    Text,
    /// Every value is binary.
    Binary,
    /// Both occur: such a row cannot go through `COPY`.
    Mixed,
}

/// The form of the row's values; `fallback` where all are NULL.
pub(super) fn form(tuple: &Tuple, fallback: Form) -> Form {
    let mut found = None;
    for data in tuple {
        let this = match data {
            TupleData::Text(_) => Form::Text,
            TupleData::Binary(_) => Form::Binary,
            TupleData::Null => continue,
            TupleData::UnchangedToast => return Form::Mixed,
        };
        match found {
            Some(other) if other != this => return Form::Mixed,
            _ => found = Some(this),
        }
    }
    found.unwrap_or(fallback)
}

/// Appends `Bind` and `Execute` of a prepared statement. An unchanged value must not be among `values`:
/// it would be written as NULL.
pub(super) fn bind_execute<'a>(
    statement: &str,
    values: impl Iterator<Item = TupleData<'a>> + Clone,
    buffer: &mut BytesMut,
) -> io::Result<()> {
    let formats = values.clone().map(|data| i16::from(matches!(data, TupleData::Binary(_))));
    frontend::bind(
        "",
        statement,
        formats,
        values,
        |data, buffer| match data {
            TupleData::Text(value) | TupleData::Binary(value) => {
                buffer.put_slice(value);
                Ok(IsNull::No)
            }
            TupleData::Null | TupleData::UnchangedToast => Ok(IsNull::Yes),
        },
        std::iter::empty::<i16>(),
        buffer,
    )
    .map_err(|error| match error {
        frontend::BindError::Conversion(error) => io::Error::other(error),
        frontend::BindError::Serialization(error) => error,
    })?;
    frontend::execute("", 0, buffer)
}

/// Appends `Bind` and `Execute` of a prepared statement whose parameters are binary arrays. `values` come row
/// by row, one for each of `elements`, which are the types of the arrays' elements.
///
/// Source: `array_recv` in <https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/arrayfuncs.c>
pub(super) fn bind_arrays(
    statement: &str,
    elements: &[u32],
    values: &[TupleData<'_>],
    rows: usize,
    buffer: &mut BytesMut,
) -> io::Result<()> {
    let count = i32::try_from(rows).map_err(io::Error::other)?;
    frontend::bind(
        "",
        statement,
        [1],
        elements.iter().enumerate(),
        |(at, element), buffer| {
            let column = || values.iter().skip(at).step_by(elements.len());
            let has_null = column().any(|data| matches!(data, TupleData::Null));
            buffer.put_i32(1);
            buffer.put_i32(i32::from(has_null));
            buffer.put_u32(*element);
            buffer.put_i32(count);
            buffer.put_i32(1);
            for data in column() {
                put_binary(*data, buffer)?;
            }
            Ok(IsNull::No)
        },
        std::iter::empty::<i16>(),
        buffer,
    )
    .map_err(|error| match error {
        frontend::BindError::Conversion(error) => io::Error::other(error),
        frontend::BindError::Serialization(error) => error,
    })?;
    frontend::execute("", 0, buffer)
}

/// Writes rows as the messages of a `COPY … FROM STDIN`.
pub(super) struct CopyRows {
    binary: bool,
    /// Where the open message begins in the buffer.
    message_at: Option<usize>,
    columns: i16,
}

impl CopyRows {
    pub(super) const fn new(binary: bool, columns: i16) -> Self {
        Self { binary, message_at: None, columns }
    }

    /// The header of the binary form.
    pub(super) fn begin(&mut self, buffer: &mut BytesMut) {
        if self.binary {
            self.open(buffer);
            buffer.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        }
    }

    /// Appends a row of the values of `tuple` that `written` says yes to.
    pub(super) fn row(
        &mut self,
        tuple: &Tuple,
        written: impl Iterator<Item = bool>,
        buffer: &mut BytesMut,
    ) -> io::Result<()> {
        self.open(buffer);
        let values =
            tuple.iter().zip(written).filter_map(|(data, written)| written.then_some(data));
        if self.binary {
            buffer.put_i16(self.columns);
            for data in values {
                put_binary(data, buffer)?;
            }
        } else {
            for (n, data) in values.enumerate() {
                if n > 0 {
                    buffer.put_u8(b'\t');
                }
                put_text(data, buffer);
            }
            buffer.put_u8(b'\n');
        }
        if self.message_at.is_some_and(|at| buffer.len() - at >= COPY_MESSAGE_BYTES) {
            self.close(buffer)?;
        }
        Ok(())
    }

    /// The trailer of the binary form, and the end.
    pub(super) fn finish(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        if self.binary {
            self.open(buffer);
            buffer.put_i16(-1);
        }
        self.close(buffer)?;
        frontend::copy_done(buffer);
        Ok(())
    }

    fn open(&mut self, buffer: &mut BytesMut) {
        if self.message_at.is_none() {
            self.message_at = Some(buffer.len());
            buffer.put_u8(b'd');
            buffer.put_i32(0);
        }
    }

    /// Ends the open message, so that the buffer may be sent.
    pub(super) fn close(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        let Some(at) = self.message_at.take() else { return Ok(()) };
        let length = i32::try_from(buffer.len() - at - 1).map_err(io::Error::other)?;
        if let Some(place) = buffer.get_mut(at + 1..at + 5) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

fn put_binary(data: TupleData<'_>, buffer: &mut BytesMut) -> io::Result<()> {
    match data {
        TupleData::Text(value) | TupleData::Binary(value) => {
            buffer.put_i32(i32::try_from(value.len()).map_err(io::Error::other)?);
            buffer.put_slice(value);
        }
        TupleData::Null | TupleData::UnchangedToast => buffer.put_i32(-1),
    }
    Ok(())
}

fn put_text(data: TupleData<'_>, buffer: &mut BytesMut) {
    let (TupleData::Text(value) | TupleData::Binary(value)) = data else {
        buffer.put_slice(b"\\N");
        return;
    };
    let mut plain = 0;
    for (at, &byte) in value.iter().enumerate() {
        let escape = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => continue,
        };
        buffer.put_slice(value.get(plain..at).unwrap_or_default());
        buffer.put_slice(&[b'\\', escape]);
        plain = at + 1;
    }
    buffer.put_slice(value.get(plain..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn tuple(bytes: &'static [u8], columns: u16) -> Tuple {
        Tuple::new(Bytes::from_static(bytes), columns).unwrap()
    }

    #[test]
    fn text_rows_are_escaped() {
        let mut buffer = BytesMut::new();
        let mut rows = CopyRows::new(false, 3);
        rows.begin(&mut buffer);
        let row = tuple(b"t\0\0\0\x06a\tb\\\n\rnt\0\0\0\x02\\N", 3);
        rows.row(&row, [true, true, true].into_iter(), &mut buffer).unwrap();
        rows.finish(&mut buffer).unwrap();
        assert_eq!(&buffer[..], b"d\0\0\0\x16a\\tb\\\\\\n\\r\t\\N\t\\\\N\nc\0\0\0\x04");
    }

    #[test]
    fn binary_rows_keep_only_written_columns() {
        let mut buffer = BytesMut::new();
        let mut rows = CopyRows::new(true, 1);
        rows.begin(&mut buffer);
        let row = tuple(b"b\0\0\0\x01\x07b\0\0\0\x01\x08", 2);
        rows.row(&row, [false, true].into_iter(), &mut buffer).unwrap();
        rows.finish(&mut buffer).unwrap();
        assert!(buffer.ends_with(b"\0\x01\0\0\0\x01\x08\xff\xffc\0\0\0\x04"), "{buffer:?}");
    }

    #[test]
    fn the_form_of_a_row_is_that_of_its_values() {
        assert_eq!(form(&tuple(b"nt\0\0\0\0", 2), Form::Binary), Form::Text);
        assert_eq!(form(&tuple(b"nb\0\0\0\0", 2), Form::Text), Form::Binary);
        assert_eq!(form(&tuple(b"nn", 2), Form::Text), Form::Text);
        assert_eq!(form(&tuple(b"t\0\0\0\0b\0\0\0\0", 2), Form::Text), Form::Mixed);
        assert_eq!(form(&tuple(b"u", 1), Form::Text), Form::Mixed);
    }
}
