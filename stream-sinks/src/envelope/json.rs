//! Pieces of JSON, written straight into a buffer.
//!
//! In: bytes as PostgreSQL sends them. Out: JSON text. Allocates nothing but the buffer's growth.

use base64::Engine;
use base64::engine::GeneralPurpose;
use bytes::{BufMut, BytesMut};

use super::codec::ValueError;

/// Bytes that are encoded at a time. A multiple of 3, so that only the last piece is padded.
const BASE64_PIECE_BYTES: usize = 768;

/// Appends a JSON string of `text`, which must be UTF-8.
pub(crate) fn put_text(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let text = std::str::from_utf8(text).map_err(|_| ValueError::NotUtf8)?;
    put_string(text, out);
    Ok(())
}

/// Appends a JSON string.
pub(crate) fn put_string(text: &str, out: &mut BytesMut) {
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    put_escaped(text, out);
    out.put_u8(b'"');
}

/// Appends the inside of a JSON string.
pub(crate) fn put_escaped(text: &str, out: &mut BytesMut) {
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_length(rest);
        let (before, after) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((&byte, after)) = after.split_first() else { return };
        put_escape(byte, out);
        rest = after;
    }
}

/// How many bytes at the beginning of `text` stand for themselves.
fn plain_length(text: &[u8]) -> usize {
    let mut length = 0;
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        let Ok(word) = <[u8; 8]>::try_from(word) else { break };
        if has_special(u64::from_le_bytes(word)) {
            break;
        }
        length += 8;
    }
    let rest = text.get(length..).unwrap_or_default();
    length + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether one of eight bytes may be special. Where it says no, none is.
const fn has_special(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS != 0
}

fn put_escape(byte: u8, out: &mut BytesMut) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            put_hex(&[byte], out);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends hexadecimal digits, lower case.
pub(crate) fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.extend_from_slice(&[digit(byte >> 4), digit(*byte)]);
    }
}

/// Appends the base64 form of `bytes`, without quotes.
pub(crate) fn put_base64(bytes: &[u8], engine: &GeneralPurpose, out: &mut BytesMut) {
    out.reserve(bytes.len().div_ceil(3).saturating_mul(4));
    let mut piece = [0; BASE64_PIECE_BYTES / 3 * 4];
    for bytes in bytes.chunks(BASE64_PIECE_BYTES) {
        // The piece holds what 768 bytes make: it cannot be too small.
        let length = engine.encode_slice(bytes, &mut piece).unwrap_or_default();
        out.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
}

/// Appends the base64 form of bytes that are given as hexadecimal digits, without quotes.
pub(crate) fn put_base64_of_hex(
    digits: &[u8],
    engine: &GeneralPurpose,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let mut bytes = [0; BASE64_PIECE_BYTES];
    for digits in digits.chunks(2 * BASE64_PIECE_BYTES) {
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(ValueError::Malformed { expected: "hexadecimal digits" });
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        put_base64(bytes.get(..pairs.len()).unwrap_or_default(), engine, out);
    }
    Ok(())
}

/// The value of a hexadecimal digit.
pub(crate) fn nibble(digit: u8) -> Result<u8, ValueError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ValueError::Malformed { expected: "hexadecimal digits" }),
    }
}

/// Appends an integer.
pub(crate) fn put_integer(value: impl itoa::Integer, out: &mut BytesMut) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn every_short_string_reads_back() {
        for length in 0..20 {
            for byte in 0..128_u8 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    let text = String::from_utf8(text).unwrap() + "é😀";
                    let mut out = BytesMut::new();
                    put_string(&text, &mut out);
                    assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_and_never_replaced() {
        let mut out = BytesMut::new();
        assert_eq!(put_text(b"caf\xe9", &mut out), Err(ValueError::NotUtf8));
        assert!(out.is_empty());
    }

    #[test]
    fn base64_is_the_same_whole_and_in_pieces() {
        for length in [0, 1, 2, 3, 767, 768, 769, 5000] {
            let bytes: Vec<u8> = (0..=255_u8).cycle().map(|n| n ^ 0x5a).take(length).collect();
            let (mut whole, mut hex, mut of_hex) =
                (BytesMut::new(), BytesMut::new(), BytesMut::new());
            put_base64(&bytes, &STANDARD, &mut whole);
            put_hex(&bytes, &mut hex);
            put_base64_of_hex(&hex, &STANDARD, &mut of_hex).unwrap();
            assert_eq!(whole, STANDARD.encode(&bytes).as_bytes());
            assert_eq!(whole, of_hex);
        }
        assert!(put_base64_of_hex(b"0", &STANDARD, &mut BytesMut::new()).is_err());
        assert!(put_base64_of_hex(b"0g", &STANDARD, &mut BytesMut::new()).is_err());
    }
}
