//! Values that are made of others: maps, points, shapes, vectors, strings of bits.

use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

use super::array::unquote;
use super::codec::{Scratch, ValueError};
use super::json::{nibble, put_base64, put_base64_of_hex, put_integer, put_string, put_text};
use super::number::{parse_f64, put_f64, put_float, put_whole};
use super::options::HstoreMode;

const fn malformed(expected: &'static str) -> ValueError {
    ValueError::Malformed { expected }
}

/// Appends an `hstore`: an object, or a string that holds one.
pub(super) fn put_hstore(
    text: &[u8],
    mode: HstoreMode,
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    if mode == HstoreMode::Map {
        return put_map(text, &mut scratch.text, out);
    }
    let Scratch { json, text: piece, .. } = scratch;
    json.clear();
    put_map(text, piece, json)?;
    put_string(std::str::from_utf8(json).map_err(|_| ValueError::NotUtf8)?, out);
    Ok(())
}

fn put_map(text: &[u8], piece: &mut BytesMut, out: &mut BytesMut) -> Result<(), ValueError> {
    let mut rest = text;
    out.put_u8(b'{');
    while !rest.is_empty() {
        let key = rest.strip_prefix(b"\"").and_then(|rest| unquote(rest, piece));
        rest = key.and_then(|rest| rest.strip_prefix(b"=>")).ok_or(malformed("hstore"))?;
        put_text(piece, out)?;
        out.put_u8(b':');
        if let Some(after) = rest.strip_prefix(b"NULL") {
            out.extend_from_slice(b"null");
            rest = after;
        } else {
            let value = rest.strip_prefix(b"\"").and_then(|rest| unquote(rest, piece));
            rest = value.ok_or(malformed("hstore"))?;
            put_text(piece, out)?;
        }
        if !rest.is_empty() {
            rest = rest
                .strip_prefix(b", ")
                .filter(|rest| !rest.is_empty())
                .ok_or(malformed("hstore"))?;
            out.put_u8(b',');
        }
    }
    out.put_u8(b'}');
    Ok(())
}

/// Appends a `point` with its well-known binary form.
pub(super) fn put_point(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let inside = text.strip_prefix(b"(").and_then(|text| text.strip_suffix(b")"));
    let inside = inside.ok_or(malformed("point"))?;
    let at = memchr::memchr(b',', inside).ok_or(malformed("point"))?;
    let (x, y) = (inside.get(..at), inside.get(at + 1..));
    let (x, y) = (parse_f64(x.unwrap_or_default())?, parse_f64(y.unwrap_or_default())?);
    // Little endian, type 1.
    let mut wkb = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (place, byte) in
        wkb.iter_mut().skip(5).zip(x.to_le_bytes().into_iter().chain(y.to_le_bytes()))
    {
        *place = byte;
    }
    out.extend_from_slice(b"{\"x\":");
    put_f64(x, out)?;
    out.extend_from_slice(b",\"y\":");
    put_f64(y, out)?;
    out.extend_from_slice(b",\"wkb\":\"");
    put_base64(&wkb, &STANDARD, out);
    out.extend_from_slice(b"\",\"srid\":null}");
    Ok(())
}

/// Appends a PostGIS `geometry` or `geography`, whose text is its extended binary form in hexadecimal digits.
pub(super) fn put_geometry(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    /// Says that an identifier of the reference system follows.
    const HAS_SRID: u32 = 0x2000_0000;
    let byte = |at: usize| {
        let digits = text.get(2 * at..2 * at + 2).and_then(|digits| digits.first_chunk::<2>());
        let [high, low] = digits.ok_or(malformed("geometry"))?;
        Ok::<u8, ValueError>(nibble(*high)? << 4 | nibble(*low)?)
    };
    let is_little = byte(0)? == 1;
    let word = |at: usize| {
        let bytes = [byte(at)?, byte(at + 1)?, byte(at + 2)?, byte(at + 3)?];
        Ok::<u32, ValueError>(if is_little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    out.extend_from_slice(b"{\"wkb\":\"");
    put_base64_of_hex(text, &STANDARD, out)?;
    out.extend_from_slice(b"\",\"srid\":");
    if word(1)? & HAS_SRID == 0 {
        out.extend_from_slice(b"null")
    } else {
        put_integer(word(5)?, out)
    }
    out.put_u8(b'}');
    Ok(())
}

/// Appends a `vector` or `halfvec`: `[1,2.5]`.
pub(super) fn put_vector(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let inside = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
    let inside = inside.ok_or(malformed("vector"))?;
    out.put_u8(b'[');
    for (at, number) in inside.split(|byte| *byte == b',').enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        put_float(number, true, out)?;
    }
    out.put_u8(b']');
    Ok(())
}

/// Appends a `sparsevec`: `{1:201,9:209}/3000`.
pub(super) fn put_sparse_vector(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let slash = memchr::memchr(b'/', text).ok_or(malformed("sparse vector"))?;
    let (elements, dimensions) = text.split_at(slash);
    let inside = elements.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}"));
    let inside = inside.ok_or(malformed("sparse vector"))?;
    out.extend_from_slice(b"{\"dimensions\":");
    put_whole(dimensions.get(1..).unwrap_or_default(), out)?;
    out.extend_from_slice(b",\"vector\":[");
    let elements = inside.split(|byte| *byte == b',').filter(|_| !inside.is_empty());
    for (count, element) in elements.enumerate() {
        if count > 0 {
            out.put_u8(b',');
        }
        let colon = memchr::memchr(b':', element).ok_or(malformed("sparse vector"))?;
        let (index, value) = element.split_at(colon);
        out.put_u8(b'[');
        put_whole(index, out)?;
        out.put_u8(b',');
        put_float(value.get(1..).unwrap_or_default(), true, out)?;
        out.put_u8(b']');
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

/// Appends `bit` and `bit varying`: a truth value when there is one bit at most (`is_single`), otherwise base64 of bytes, the lowest first,
/// without those that are zero at the end.
pub(super) fn put_bits(
    text: &[u8],
    is_single: bool,
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    if !text.iter().all(|bit| matches!(bit, b'0' | b'1')) {
        return Err(malformed("string of bits"));
    }
    if is_single {
        out.extend_from_slice(if text == b"1" { b"true" } else { b"false" });
        return Ok(());
    }
    let bytes = &mut scratch.text;
    bytes.clear();
    for bits in text.rchunks(8) {
        bytes.put_u8(bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
    }
    while bytes.ends_with(&[0]) {
        bytes.truncate(bytes.len() - 1);
    }
    out.put_u8(b'"');
    put_base64(bytes, &STANDARD, out);
    out.put_u8(b'"');
    Ok(())
}
