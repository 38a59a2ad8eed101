//! Decimal numbers and money: from PostgreSQL's text to the forms that events have.
//!
//! In: the text of a number of any length. Out: JSON. Total: text that is no number is an error.

use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

use super::codec::ValueError;
use super::json::{put_base64, put_integer};
use super::number::{parse_f64, put_f64, put_special};
use super::options::DecimalMode;

/// Digits of a number that surely fits into an `i128`.
const I128_DIGITS: usize = 38;

/// Appends a `numeric` as the mode says. `scale` is that of its column, if that has one.
pub(crate) fn put_decimal(
    text: &[u8],
    mode: DecimalMode,
    scale: Option<usize>,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    match mode {
        DecimalMode::Double => {
            let special = put_special(text, out);
            if special { Ok(()) } else { put_f64(parse_f64(text)?, out) }
        }
        DecimalMode::String => {
            out.put_u8(b'"');
            match text {
                b"NaN" => out.extend_from_slice(b"NAN"),
                b"Infinity" => out.extend_from_slice(b"POSITIVE_INFINITY"),
                b"-Infinity" => out.extend_from_slice(b"NEGATIVE_INFINITY"),
                _ => {
                    Decimal::parse(text)?;
                    out.extend_from_slice(text);
                }
            }
            out.put_u8(b'"');
            Ok(())
        }
        DecimalMode::Precise if put_special(text, out) => Ok(()),
        DecimalMode::Precise => {
            let mut decimal = Decimal::parse(text)?;
            if let Some(scale) = scale {
                put_unscaled(&decimal, scale, out)
            } else {
                decimal.fraction = trim_zeros(decimal.fraction);
                out.extend_from_slice(b"{\"scale\":");
                put_integer(decimal.fraction.len(), out);
                out.extend_from_slice(b",\"value\":");
                put_unscaled(&decimal, decimal.fraction.len(), out)?;
                out.put_u8(b'}');
                Ok(())
            }
        }
    }
}

fn trim_zeros(mut digits: &[u8]) -> &[u8] {
    while let Some(rest) = digits.strip_suffix(b"0") {
        digits = rest;
    }
    digits
}

/// A decimal number, as text in parts.
struct Decimal<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, ValueError> {
        let (is_negative, digits) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction): (&[u8], &[u8]) = match memchr::memchr(b'.', digits) {
            Some(at) => {
                (digits.get(..at).unwrap_or_default(), digits.get(at + 1..).unwrap_or_default())
            }
            None => (digits, b""),
        };
        let mut all = whole.iter().chain(fraction);
        if whole.is_empty() || !all.all(u8::is_ascii_digit) {
            return Err(ValueError::Malformed { expected: "decimal number" });
        }
        Ok(Self { is_negative, whole, fraction })
    }
}

/// Appends the number times `10^scale` as a string: base64 of its two's complement in as few bytes as it takes, the
/// highest first.
fn put_unscaled(decimal: &Decimal<'_>, scale: usize, out: &mut BytesMut) -> Result<(), ValueError> {
    let kept = decimal.fraction.len().min(scale);
    let (fraction, cut) = decimal.fraction.split_at(kept);
    if cut.iter().any(|digit| *digit != b'0') {
        return Err(ValueError::Malformed { expected: "number of its column's scale" });
    }
    let digits = decimal.whole.iter().chain(fraction).map(|digit| digit - b'0');
    let digits = digits.chain(std::iter::repeat_n(0, scale - kept));
    out.put_u8(b'"');
    if decimal.whole.len() + scale <= I128_DIGITS {
        let value = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit));
        let value = if decimal.is_negative { -value } else { value };
        put_base64(shortest(&value.to_be_bytes()), &STANDARD, out);
    } else {
        put_base64(shortest(&large(digits, decimal.is_negative)), &STANDARD, out);
    }
    out.put_u8(b'"');
    Ok(())
}

/// Two's complement without the bytes that only repeat the sign.
fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        let Some(next) = rest.first() else { break };
        let repeats = (*first == 0 && next & 0x80 == 0) || (*first == 0xff && next & 0x80 != 0);
        if !repeats {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Two's complement of a number of any length, the highest byte first.
fn large(digits: impl Iterator<Item = u8>, is_negative: bool) -> Vec<u8> {
    /// Digits that are taken in at a time: as many as fit into a word.
    const AT_ONCE: usize = 18;
    let mut words: Vec<u64> = Vec::new();
    let mut add = |times: u64, plus: u64| {
        let mut carry = plus;
        for word in &mut words {
            let product = u128::from(*word) * u128::from(times) + u128::from(carry);
            *word = low(product);
            carry = low(product >> 64);
        }
        if carry > 0 {
            words.push(carry);
        }
    };
    let (mut times, mut plus, mut count) = (1, 0, 0);
    for digit in digits {
        (times, plus, count) = (times * 10, plus * 10 + u64::from(digit), count + 1);
        if count == AT_ONCE {
            add(times, plus);
            (times, plus, count) = (1, 0, 0);
        }
    }
    add(times, plus);
    // One word more for the sign.
    words.push(0);
    if is_negative {
        let mut carry = true;
        for word in &mut words {
            (*word, carry) = (!*word).overflowing_add(u64::from(carry));
        }
    }
    words.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low(wide: u128) -> u64 {
    wide as u64
}

/// Appends `money`, whose text has the signs and separators of the server's locale, as the mode says.
pub(crate) fn put_money(
    text: &[u8],
    mode: DecimalMode,
    fraction_digits: usize,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let mut number = [0_u8; 48];
    let length = plain_money(text, fraction_digits, &mut number)?;
    let number = number.get(..length).unwrap_or_default();
    if mode != DecimalMode::Precise {
        return put_decimal(number, mode, None, out);
    }
    let mut decimal = Decimal::parse(number)?;
    let Some(cut) = decimal.fraction.get(fraction_digits) else {
        return put_unscaled(&decimal, fraction_digits, out);
    };
    // Fewer digits than the amount has were asked for: rounded as PostgreSQL rounds.
    let up = *cut >= b'5';
    decimal.fraction = decimal.fraction.get(..fraction_digits).unwrap_or_default();
    // An amount has 64 bits, and what has more digits than twice as many is none.
    let mut digits = decimal.whole.iter().chain(decimal.fraction);
    let value = digits.try_fold(0_i128, |value, digit| {
        value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
    });
    let value = value.and_then(|value| value.checked_add(i128::from(up)));
    let value = value.ok_or(ValueError::Malformed { expected: "amount of money" })?;
    let value = if decimal.is_negative { -value } else { value };
    out.put_u8(b'"');
    put_base64(shortest(&value.to_be_bytes()), &STANDARD, out);
    out.put_u8(b'"');
    Ok(())
}

/// Writes an amount as a plain decimal number; returns its length. Its last separator is the decimal point, unless
/// three digits follow it and it may as well stand between thousands.
fn plain_money(
    text: &[u8],
    fraction_digits: usize,
    number: &mut [u8; 48],
) -> Result<usize, ValueError> {
    let malformed = ValueError::Malformed { expected: "amount of money" };
    let last_digit = text.iter().rposition(u8::is_ascii_digit).ok_or(malformed)?;
    let amount = text.get(..=last_digit).unwrap_or_default();
    let is_separator = |byte: &u8| matches!(byte, b'.' | b',');
    let point = amount.iter().rposition(is_separator).filter(|&at| {
        let (before, after) = amount.split_at(at);
        let separator = after.first();
        let is_only_kind = !before.iter().any(|byte| is_separator(byte) && Some(byte) != separator);
        let is_repeated = before.iter().any(|byte| Some(byte) == separator);
        let is_group = after.len() == 4 && is_only_kind && fraction_digits != 3;
        !(is_group || is_repeated)
    });
    let is_negative = text.contains(&b'-') || text.contains(&b'(');
    let digits = amount.iter().enumerate().filter_map(|(at, byte)| match byte {
        b'0'..=b'9' => Some(*byte),
        _ => (Some(at) == point).then_some(b'.'),
    });
    let mut length = 0;
    for byte in is_negative.then_some(b'-').into_iter().chain(digits) {
        *number.get_mut(length).ok_or(malformed)? = byte;
        length += 1;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No server writes one; nothing is told of it in place of an amount.
    #[test]
    fn an_amount_of_more_digits_than_any_number_is_refused() {
        let put = |text: &str| {
            put_money(text.as_bytes(), DecimalMode::Precise, 0, &mut BytesMut::new()).is_ok()
        };
        assert!(put("$92,233,720,368,547,758.07"));
        assert!(!put(&format!("{}.5", "9".repeat(40))));
        assert!(!put(&format!("{}.5", i128::MAX)));
    }
}
