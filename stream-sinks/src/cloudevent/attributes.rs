//! The attributes of an event: members of its JSON form, or headers.
//!
//! Values never need encoding in a header, but for the names of tables, keys and messages, and for the sequence, which
//! holds JSON.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::event::Mode;
use crate::envelope::facts::{CONNECTOR, Facts, Origin, VERSION};
use crate::envelope::json::{put_escaped, put_integer};
use crate::envelope::time::put_attribute_time;

/// The `type` of every event.
pub(crate) const EVENT_TYPE: &str = "io.debezium.connector.postgresql.DataChangeEvent";

/// A header's name and where its value stands in the buffer.
pub type Header = (Cow<'static, str>, Range<usize>);

/// What the attributes that every event has say, where that is not the same in all.
pub(crate) struct Context<'a> {
    pub(crate) event_type: &'a str,
    /// `None`: the commit's.
    pub(crate) time: Option<&'a str>,
    /// In parts.
    pub(crate) subject: &'a [&'a str],
    pub(crate) content_type: &'a str,
}

/// Writes attributes one after another.
pub(crate) struct AttributeWriter<'a> {
    mode: Mode,
    out: &'a mut BytesMut,
    headers: &'a mut Vec<Header>,
}

impl<'a> AttributeWriter<'a> {
    pub(crate) fn new(mode: Mode, out: &'a mut BytesMut, headers: &'a mut Vec<Header>) -> Self {
        if mode != Mode::Binary {
            out.put_u8(b'{');
        }
        Self { mode, out, headers }
    }

    /// An attribute whose value needs no escapes and no encoding. Returns where the value stands.
    pub(crate) fn plain(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        put: impl FnOnce(&mut BytesMut),
    ) -> Range<usize> {
        let name = name.into();
        if self.mode == Mode::Binary {
            let start = self.out.len();
            put(self.out);
            self.headers.push((name, start..self.out.len()));
            return start..self.out.len();
        }
        // Headers' names have a prefix.
        let bare = name.strip_prefix("ce-").unwrap_or(&name);
        self.out.put_u8(b'"');
        self.out.extend_from_slice(bare.as_bytes());
        self.out.extend_from_slice(b"\":\"");
        let start = self.out.len();
        put(self.out);
        let end = self.out.len();
        self.out.extend_from_slice(b"\",");
        start..end
    }

    /// An attribute with any text; returns where it stands. Without text there is no attribute.
    pub(crate) fn text(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        parts: &[&str],
    ) -> Range<usize> {
        if parts.iter().all(|part| part.is_empty()) {
            return 0..0;
        }
        let is_header = self.mode == Mode::Binary;
        self.plain(name, |out| {
            for part in parts {
                if is_header { put_header_text(part, out) } else { put_escaped(part, out) }
            }
        })
    }

    fn integer(&mut self, name: &'static str, value: impl itoa::Integer) {
        self.plain(name, |out| put_integer(value, out));
    }

    /// The attributes that extend the specification. One without a value is left out.
    pub(crate) fn extensions(&mut self, facts: &Facts<'_>, origin: &Origin) {
        self.plain("ce-iodebeziumop", |out| out.extend_from_slice(facts.op.as_bytes()));
        self.text("ce-iodebeziumversion", &[VERSION]);
        self.text("ce-iodebeziumconnector", &[CONNECTOR]);
        self.text("ce-iodebeziumname", &[&origin.name]);
        self.integer("ce-iodebeziumtsms", facts.time_us.div_euclid(1000));
        self.plain("ce-iodebeziumsnapshot", |out| out.extend_from_slice(facts.snapshot.as_bytes()));
        self.text("ce-iodebeziumdb", &[&origin.database]);
        let quote: &[u8] = if self.mode == Mode::Binary { b"%22" } else { b"\\\"" };
        self.plain("ce-iodebeziumsequence", |out| facts.put_sequence(quote, out));
        self.integer("ce-iodebeziumtsus", facts.time_us);
        self.integer("ce-iodebeziumtsns", i128::from(facts.time_us) * 1000);
        self.text("ce-iodebeziumschema", &[facts.schema]);
        self.text("ce-iodebeziumtable", &[facts.table]);
        if let Some(xid) = facts.xid {
            self.integer("ce-iodebeziumtxid", xid);
        }
        self.integer("ce-iodebeziumlsn", facts.lsn.get());
        if let Some(place) = facts.place {
            self.plain("ce-iodebeziumtransactionid", |out| place.put_id(out));
            self.integer("ce-iodebeziumtxtotalorder", place.total_order);
            self.integer("ce-iodebeziumtxdatacollectionorder", place.collection_order);
        }
    }

    /// The attributes that every event has, but for its identity.
    pub(crate) fn context(&mut self, facts: &Facts<'_>, origin: &Origin, context: &Context<'_>) {
        self.text("ce-source", &["/debezium/postgresql/", &origin.name]);
        self.plain("ce-specversion", |out| out.extend_from_slice(b"1.0"));
        self.text("ce-type", &[context.event_type]);
        match context.time {
            Some(time) => {
                self.text("ce-time", &[time]);
            }
            None => {
                self.plain("ce-time", |out| put_attribute_time(facts.time_us, out));
            }
        }
        self.text("ce-subject", context.subject);
        if self.mode != Mode::Binary {
            // In binary mode it is the request's own content type.
            self.text("datacontenttype", &[context.content_type]);
        }
    }
}

/// Appends the value of a header: what is no printable ASCII, and `"` and `%`, as `%XX` of its UTF-8 bytes.
fn put_header_text(text: &str, out: &mut BytesMut) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => put_percent(byte, out),
            0x21..=0x7e => out.put_u8(byte),
            _ => put_percent(byte, out),
        }
    }
}

/// Appends `%XX`, upper case.
pub(crate) fn put_percent(byte: u8, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_encoded_as_the_binding_says() {
        let mut out = BytesMut::new();
        put_header_text("Euro € 😀 \"50%\"", &mut out);
        assert_eq!(out, "Euro%20%E2%82%AC%20%F0%9F%98%80%20%2250%25%22");
    }
}
