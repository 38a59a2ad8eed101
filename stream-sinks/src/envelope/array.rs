//! Arrays, of any depth.

use bytes::{BufMut, BytesMut};

use super::codec::{Codec, Scratch, ValueError};

/// PostgreSQL's own limit of dimensions.
const MAX_DEPTH: usize = 6;
const MALFORMED: ValueError = ValueError::Malformed { expected: "array" };

/// Appends an array as JSON arrays of what `element` makes of its elements. Bounds other than from 1 are not told.
///
/// Source: <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>
pub(super) fn put_array(
    text: &[u8],
    element: &Codec,
    delimiter: u8,
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let mut rest = text;
    if rest.starts_with(b"[") {
        let at = memchr::memchr(b'=', rest).ok_or(MALFORMED)?;
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    let (mut depth, mut wants_value, mut is_new) = (0, true, false);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' if wants_value && depth < MAX_DEPTH => {
                out.put_u8(b'[');
                (depth, is_new) = (depth + 1, true);
            }
            b'}' if depth > 0 && (!wants_value || is_new) => {
                out.put_u8(b']');
                (depth, wants_value, is_new) = (depth - 1, false, false);
                if depth == 0 {
                    break;
                }
            }
            _ if byte == delimiter && depth > 0 && !wants_value => {
                out.put_u8(b',');
                (wants_value, is_new) = (true, false);
            }
            _ if depth > 0 && wants_value => {
                rest = put_element(byte, after, element, delimiter, scratch, out)?;
                (wants_value, is_new) = (false, false);
            }
            _ => return Err(MALFORMED),
        }
    }
    if depth == 0 && !wants_value && rest.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// Appends the element that begins with `first` and goes on in `after`; returns what follows it.
fn put_element<'a>(
    first: u8,
    after: &'a [u8],
    element: &Codec,
    delimiter: u8,
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<&'a [u8], ValueError> {
    if first == b'"' {
        let mut text = std::mem::take(&mut scratch.element);
        let rest = unquote(after, &mut text).ok_or(MALFORMED);
        let done = rest.and_then(|rest| element.put(&text, scratch, out).map(|()| rest));
        scratch.element = text;
        return done;
    }
    let end = after.iter().position(|byte| *byte == delimiter || *byte == b'}').ok_or(MALFORMED)?;
    let (tail, rest) = after.split_at(end);
    let mut text = std::mem::take(&mut scratch.element);
    text.clear();
    text.put_u8(first);
    text.extend_from_slice(tail);
    let done = if text.eq_ignore_ascii_case(b"NULL") {
        out.extend_from_slice(b"null");
        Ok(rest)
    } else {
        element.put(&text, scratch, out).map(|()| rest)
    };
    scratch.element = text;
    done
}

/// Reads on after an opening quote, up to the closing one; puts what stood between, without escapes, into `text`.
/// Returns what follows.
pub(super) fn unquote<'a>(mut rest: &'a [u8], text: &mut BytesMut) -> Option<&'a [u8]> {
    text.clear();
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        let (plain, special) = rest.split_at(at);
        text.extend_from_slice(plain);
        match special {
            [b'"', after @ ..] => return Some(after),
            [_, escaped, after @ ..] => {
                text.put_u8(*escaped);
                rest = after;
            }
            _ => return None,
        }
    }
}
