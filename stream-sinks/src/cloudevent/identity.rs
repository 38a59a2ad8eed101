//! What tells events apart, and what keeps them in order: `id`, `partitionkey`, and the row that an event is about.

use bytes::{BufMut, BytesMut};
use stream_core::lsn::Lsn;
use twox_hash::{XxHash3_64, XxHash3_128};

use super::attributes::put_percent;
use crate::envelope::json::{put_hex, put_integer};
use crate::envelope::table::KeyValue;

/// Bytes of a partition key: longer ones are cut, and end in a hash.
const PARTITION_KEY_BYTES: usize = 256;
/// Hexadecimal digits of the hash.
const HASH_DIGITS: usize = 32;

/// Appends text in which everything but letters, digits and `-._~` is `%XX`.
fn put_encoded(text: &[u8], out: &mut BytesMut) {
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.put_u8(*byte)
            }
            _ => put_percent(*byte, out),
        }
    }
}

/// Appends the `partitionkey` of a row: the table, and the key's values in key order. Returns whether it names one row.
pub(crate) fn put_partition_key<'a>(
    table: &str,
    key: impl Iterator<Item = KeyValue<'a>>,
    out: &mut BytesMut,
) -> bool {
    let start = out.len();
    out.extend_from_slice(table.as_bytes());
    let mut is_row = true;
    let mut count = 0;
    for value in key {
        out.put_u8(if count == 0 { b'/' } else { b',' });
        count += 1;
        match value {
            KeyValue::Known(text) => put_encoded(text, out),
            KeyValue::Hidden(text) => put_hex(&XxHash3_128::oneshot(text).to_be_bytes(), out),
            KeyValue::Unknown => is_row = false,
        }
    }
    limit(start, out);
    is_row && count > 0
}

/// Cuts what stands behind `start` when it is too long.
fn limit(start: usize, out: &mut BytesMut) {
    let whole = out.get(start..).unwrap_or_default();
    if whole.len() > PARTITION_KEY_BYTES {
        let hash = XxHash3_128::oneshot(whole).to_be_bytes();
        let mut end = start + PARTITION_KEY_BYTES - HASH_DIGITS;
        // Names of tables are text in any script.
        while out.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        // An escape is three bytes, and none without the others.
        let escape = out
            .get(end.saturating_sub(2)..end)
            .and_then(|last| last.iter().position(|byte| *byte == b'%'));
        out.truncate(escape.map_or(end, |at| end - 2 + at));
        put_hex(&hash, out);
    }
}

/// A number for a partition key: equal keys, equal numbers.
pub(crate) fn fingerprint(key: &[u8]) -> u64 {
    XxHash3_64::oneshot(key)
}

/// Appends text in which everything but letters, digits and `-._~()/,` is `=XX`: what needs no encoding anywhere.
fn put_safe(text: &[u8], out: &mut BytesMut) {
    for byte in text {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'('
            | b')'
            | b','
            | b'/' => {
                out.put_u8(*byte);
            }
            _ => {
                out.put_u8(b'=');
                put_hex(&[*byte], out);
            }
        }
    }
}

/// Appends the `id` of a change: the stream, the position of its commit, and its number in the transaction. Where one change
/// makes several events, the later ones are numbered too.
pub(crate) fn put_change_id(
    stream: &str,
    commit_lsn: Lsn,
    ordinal: u64,
    part: usize,
    out: &mut BytesMut,
) {
    put_safe(stream.as_bytes(), out);
    out.put_u8(b':');
    put_lsn(commit_lsn, out);
    out.put_u8(b':');
    put_integer(ordinal, out);
    if part > 0 {
        out.put_u8(b'.');
        put_integer(part, out);
    }
}

/// Appends to a change's `id` the name under which it is told of, where that is not the log's.
pub(crate) fn put_name(table: &str, out: &mut BytesMut) {
    out.put_u8(b':');
    put_safe(table.as_bytes(), out);
}

/// Appends the `id` of a message outside of transactions: no other record stands at its position.
pub(crate) fn put_message_id(stream: &str, lsn: Lsn, out: &mut BytesMut) {
    put_safe(stream.as_bytes(), out);
    out.put_u8(b':');
    put_lsn(lsn, out);
    out.extend_from_slice(b":message");
}

/// A row of a snapshot, as far as its `id` needs it.
pub(crate) struct ReadRow<'a> {
    pub(crate) generation: u64,
    pub(crate) table: &'a str,
    /// Its partition key, when that names one row.
    pub(crate) key: Option<&'a [u8]>,
    /// Its place in the table.
    pub(crate) place: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

/// Appends the `id` of a snapshot's row: the stream, the snapshot's generation, the table, the row's key or place, and a hash of the
/// row. The same row read again has the same; one that changed in between has another.
pub(crate) fn put_read_id(stream: &str, row: &ReadRow<'_>, out: &mut BytesMut) {
    put_safe(stream.as_bytes(), out);
    out.extend_from_slice(b":s");
    put_integer(row.generation, out);
    out.put_u8(b':');
    match row.key {
        // A key's own text, which begins with the table's name, may need encoding; a hash does not, and is short.
        Some(key) => {
            put_safe(row.table.as_bytes(), out);
            out.put_u8(b':');
            put_hex(&XxHash3_128::oneshot(key).to_be_bytes(), out);
        }
        None => {
            put_safe(row.table.as_bytes(), out);
            out.put_u8(b':');
            put_safe(row.place, out);
        }
    }
    out.put_u8(b':');
    put_hex(&XxHash3_64::oneshot(row.bytes).to_be_bytes(), out);
}

/// `0-16B3748`, upper case: as PostgreSQL writes it, without a slash.
fn put_lsn(lsn: Lsn, out: &mut BytesMut) {
    let mut text = [0_u8; 20];
    let mut rest = &mut text[..];
    use std::io::Write;
    let left = match write!(rest, "{:X}-{:X}", lsn.get() >> 32, lsn.get() & 0xffff_ffff) {
        Ok(()) => rest.len(),
        Err(_) => 0,
    };
    out.extend_from_slice(text.get(..text.len() - left).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_one_row_only_when_all_of_it_is_known() {
        let made = |key: &[KeyValue<'_>]| {
            let mut out = BytesMut::new();
            let is_row = put_partition_key("public.t", key.iter().copied(), &mut out);
            (is_row, String::from_utf8(out.to_vec()).unwrap())
        };
        let (one, two) = (KeyValue::Known(b"1"), KeyValue::Known(b"a,b"));
        assert_eq!(made(&[one, two]), (true, "public.t/1,a%2Cb".to_owned()));
        assert_eq!(made(&[one, KeyValue::Unknown]), (false, "public.t/1,".to_owned()));
        assert_eq!(made(&[KeyValue::Unknown]), (false, "public.t/".to_owned()));
        assert_eq!(made(&[]), (false, "public.t".to_owned()));
    }

    #[test]
    fn a_long_key_is_cut_between_its_letters_and_escapes() {
        for more in 0..6 {
            let key = format!("{}{}", "x".repeat(200 + more), "é".repeat(40));
            let mut out = BytesMut::new();
            put_partition_key("s.t", [KeyValue::Known(key.as_bytes())].into_iter(), &mut out);
            let text = String::from_utf8(out.to_vec()).unwrap();
            let (kept, _) = text.split_at(text.len() - HASH_DIGITS);
            let escapes = kept.trim_start_matches("s.t/").trim_start_matches('x');
            assert_eq!(escapes.len() % 3, 0, "{text}");
            assert!(text.len() <= PARTITION_KEY_BYTES, "{text}");
        }
    }
}
