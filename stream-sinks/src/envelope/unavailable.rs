//! What stands for a large value that a change did not touch: the log does not hold it, and it is not NULL.

use bytes::{BufMut, BytesMut};
use md5::{Digest, Md5};

use super::codec::{Codec, put_binary};
use super::json::{nibble, put_hex, put_integer, put_string};
use super::options::{BinaryMode, ValueOptions};

/// `pg_type.oid` of arrays whose elements are numbers.
const NUMBER_ARRAYS: [u32; 3] = [1007, 1016, 1182];
const UUID_ARRAY: u32 = 2951;

/// The forms of the placeholder, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    value: BytesMut,
    texts: BytesMut,
    numbers: BytesMut,
    uuids: BytesMut,
    bytes: BytesMut,
}

/// A form of the placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// The text itself, for whatever is no array.
    Value,
    /// An array of the text.
    Texts,
    /// An array of the text's bytes.
    Numbers,
    /// An array of an identifier that is made from the text.
    Uuids,
    /// An array of the text as bytes.
    Bytes,
}

impl Placeholder {
    /// The form for a type.
    pub(crate) fn of(oid: u32, codec: &Codec) -> Self {
        match codec {
            Codec::Array { .. } if NUMBER_ARRAYS.contains(&oid) => Self::Numbers,
            Codec::Array { .. } if oid == UUID_ARRAY => Self::Uuids,
            Codec::Array { element, .. } if matches!(**element, Codec::Bytes(_)) => Self::Bytes,
            Codec::Array { .. } => Self::Texts,
            _ => Self::Value,
        }
    }
}

impl Unavailable {
    pub(crate) fn new(options: &ValueOptions) -> Self {
        let bytes = placeholder_bytes(&options.unavailable);
        let text = String::from_utf8_lossy(&bytes);
        let mut value = BytesMut::new();
        put_string(&text, &mut value);
        let array = |inside: &dyn Fn(&mut BytesMut)| {
            let mut array = BytesMut::from(&b"["[..]);
            inside(&mut array);
            array.put_u8(b']');
            array
        };
        let texts = array(&|out| put_string(&text, out));
        let numbers = array(&|out| {
            for (at, byte) in bytes.iter().enumerate() {
                if at > 0 {
                    out.put_u8(b',');
                }
                put_integer(byte.cast_signed(), out);
            }
        });
        let uuids = array(&|out| put_name_uuid(&bytes, out));
        let bytes = match options.binary {
            BinaryMode::Hex => texts.clone(),
            mode => array(&|out| put_binary(&bytes, mode, out)),
        };
        Self { value, texts, numbers, uuids, bytes }
    }

    /// The placeholder in a form.
    pub(crate) fn get(&self, form: Placeholder) -> &[u8] {
        match form {
            Placeholder::Value => &self.value,
            Placeholder::Texts => &self.texts,
            Placeholder::Numbers => &self.numbers,
            Placeholder::Uuids => &self.uuids,
            Placeholder::Bytes => &self.bytes,
        }
    }
}

/// The text's bytes, or those that it spells behind `hex:`; what spells none is text.
fn placeholder_bytes(text: &str) -> Vec<u8> {
    let spelled = text.strip_prefix("hex:").and_then(|digits| {
        let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
        let bytes = pairs.iter().map(|[high, low]| Ok(nibble(*high)? << 4 | nibble(*low)?));
        let bytes: Result<Vec<u8>, super::codec::ValueError> = bytes.collect();
        bytes.ok().filter(|_| odd.is_empty())
    });
    spelled.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// A UUID of version 3 that is made from a name without a namespace.
fn put_name_uuid(name: &[u8], out: &mut BytesMut) {
    let mut digest = Md5::digest(name);
    for (at, byte) in digest.iter_mut().enumerate() {
        match at {
            6 => *byte = *byte & 0x0f | 0x30,
            8 => *byte = *byte & 0x3f | 0x80,
            _ => {}
        }
    }
    out.put_u8(b'"');
    for (at, byte) in digest.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        put_hex(&[*byte], out);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(placeholder: &str, binary: BinaryMode) -> Vec<String> {
        use Placeholder::{Bytes, Numbers, Texts, Uuids, Value};
        let options =
            ValueOptions { binary, unavailable: placeholder.to_owned(), ..Default::default() };
        let unavailable = Unavailable::new(&options);
        let forms = [Value, Texts, Numbers, Uuids, Bytes].map(|form| unavailable.get(form));
        forms.iter().map(|form| String::from_utf8(form.to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_placeholder_has_the_forms_of_the_field() {
        let default = ValueOptions::default().unavailable;
        assert_eq!(
            forms(&default, BinaryMode::Bytes),
            [
                "\"__debezium_unavailable_value\"",
                "[\"__debezium_unavailable_value\"]",
                "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
                "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]",
                "[\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"]",
            ]
        );
        assert_eq!(
            forms("hex:00ff", BinaryMode::Hex),
            [
                "\"\\u0000\u{fffd}\"",
                "[\"\\u0000\u{fffd}\"]",
                "[0,-1]",
                "[\"d07d34ef-ac63-3800-bad6-7c7e0a985e00\"]",
                "[\"\\u0000\u{fffd}\"]"
            ]
        );
    }
}
