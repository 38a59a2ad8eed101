//! Whole and floating-point numbers: from PostgreSQL's text to the forms that events have.
//!
//! In: the text of a number. Out: JSON. Total: text that is no number is an error.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::codec::ValueError;
use super::json::put_integer;

/// Digits of a floating-point number that are kept: more than the shortest exact form ever has.
const FLOAT_DIGITS: usize = 32;

/// Appends a whole number as it is.
pub(crate) fn put_whole(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // JSON has no zeros in front.
    let is_whole = digits == b"0" || digits.first().is_some_and(|first| *first != b'0');
    if !is_whole || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ValueError::Malformed { expected: "whole number" });
    }
    out.extend_from_slice(text);
    Ok(())
}

/// Appends a `real` (`is_single`) or `double precision` in the layout of Java's numbers: `1.0E300`. What is no
/// number in JSON is a string.
pub(crate) fn put_float(
    text: &[u8],
    is_single: bool,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    if put_special(text, out) {
        return Ok(());
    }
    let mut float = Float::parse(text)?;
    if let [_] = float.digits() {
        // Java prints two digits at least. Those after the first may be no zero for the smallest numbers only.
        let text = std::str::from_utf8(text).map_err(|_| ValueError::NotUtf8)?;
        let mut two = FloatText::default();
        let is_tiny = if is_single {
            let value: f32 = text.parse().unwrap_or_default();
            value != 0.0 && write!(two, "{value:.1e}").is_ok() && !value.is_normal()
        } else {
            let value: f64 = text.parse().unwrap_or_default();
            value != 0.0 && write!(two, "{value:.1e}").is_ok() && !value.is_normal()
        };
        if is_tiny {
            float = Float::parse(two.as_bytes())?;
        }
    }
    float.put(out);
    Ok(())
}

/// Appends a number that JSON can hold in the same layout; what it cannot, as a string.
pub(crate) fn put_f64(value: f64, out: &mut BytesMut) -> Result<(), ValueError> {
    let mut text = FloatText::default();
    write!(text, "{value:e}").map_err(|_| ValueError::Malformed { expected: "number" })?;
    let name: &[u8] = match text.as_bytes() {
        b"inf" => b"Infinity",
        b"-inf" => b"-Infinity",
        other => other,
    };
    put_float(name, false, out)
}

/// Reads a floating-point number as PostgreSQL writes it.
pub(crate) fn parse_f64(text: &[u8]) -> Result<f64, ValueError> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or(ValueError::Malformed { expected: "number" })
}

/// Appends `NaN` and the infinities as strings; `false` when it is none of them.
pub(super) fn put_special(text: &[u8], out: &mut BytesMut) -> bool {
    let is_special = matches!(text, b"NaN" | b"Infinity" | b"-Infinity");
    if is_special {
        out.put_u8(b'"');
        out.extend_from_slice(text);
        out.put_u8(b'"');
    }
    is_special
}

/// A place for the text of one floating-point number.
#[derive(Default)]
struct FloatText {
    text: [u8; FLOAT_DIGITS],
    length: usize,
}

impl FloatText {
    fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

impl Write for FloatText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let place = self.text.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// `0.DIGITS × 10^point`.
struct Float {
    is_negative: bool,
    digits: [u8; FLOAT_DIGITS],
    length: usize,
    point: i32,
}

impl Float {
    fn parse(text: &[u8]) -> Result<Self, ValueError> {
        let malformed = ValueError::Malformed { expected: "number" };
        let (is_negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', text) {
            Some(at) => (text.get(..at), text.get(at + 1..)),
            None => (Some(text), None),
        };
        let mut float = Self { is_negative, digits: [0; FLOAT_DIGITS], length: 0, point: 0 };
        let (mut after_point, mut seen) = (false, false);
        for &byte in mantissa.unwrap_or_default() {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    seen = true;
                    let is_leading = float.length == 0 && byte == b'0';
                    if !is_leading {
                        *float.digits.get_mut(float.length).ok_or(malformed)? = byte;
                        float.length += 1;
                    }
                    if after_point {
                        float.point -= i32::from(is_leading);
                    } else {
                        float.point += i32::from(!is_leading);
                    }
                }
                _ => return Err(malformed),
            }
        }
        if let Some(exponent) = exponent {
            let exponent = std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok());
            float.point =
                exponent.and_then(|by: i32| float.point.checked_add(by)).ok_or(malformed)?;
        }
        while float.digits().ends_with(b"0") {
            float.length -= 1;
        }
        if seen { Ok(float) } else { Err(malformed) }
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    fn put(&self, out: &mut BytesMut) {
        if self.is_negative {
            out.put_u8(b'-');
        }
        let digits = self.digits();
        if digits.is_empty() {
            out.extend_from_slice(b"0.0");
            return;
        }
        let zeros = |count: i32, out: &mut BytesMut| {
            out.put_bytes(b'0', usize::try_from(count).unwrap_or_default());
        };
        let (before, after) = match self.point {
            -2..=0 => {
                out.extend_from_slice(b"0.");
                zeros(-self.point, out);
                out.extend_from_slice(digits);
                return;
            }
            1..=7 => digits.split_at(digits.len().min(usize::try_from(self.point).unwrap_or(1))),
            _ => digits.split_at(1),
        };
        out.extend_from_slice(before);
        let is_plain = (1..=7).contains(&self.point);
        if is_plain {
            zeros(self.point - i32::try_from(before.len()).unwrap_or_default(), out);
        }
        out.put_u8(b'.');
        out.extend_from_slice(if after.is_empty() { b"0" } else { after });
        if !is_plain {
            out.put_u8(b'E');
            put_integer(self.point - 1, out);
        }
    }
}
