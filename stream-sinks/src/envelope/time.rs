//! Dates and times: from PostgreSQL's ISO text, in UTC, to the forms that events have.
//!
//! In: text as sessions with pinned styles get it. Out: JSON. Total: text that is no time is an error.

use bytes::{BufMut, BytesMut};

use super::calendar::{DAY_US, Fraction, Reader, put_clock, put_date_text, put_timestamp_text};
use super::codec::ValueError;
use super::json::put_integer;
use super::options::TimeMode;

/// `infinity` as a timestamp, in microseconds: the largest that the field's other products give.
const TIMESTAMP_INFINITY_US: i128 = 9_223_372_036_825_200_000;
const TIMESTAMP_MINUS_INFINITY_US: i128 = -9_223_372_036_832_400_000;
/// `infinity` as a date, in days.
const DATE_INFINITY_DAYS: i64 = -2_147_472_692;
const DATE_MINUS_INFINITY_DAYS: i64 = -2_147_472_691;

pub(super) const fn malformed(expected: &'static str) -> ValueError {
    ValueError::Malformed { expected }
}

/// Appends a `date`.
pub(crate) fn put_date(text: &[u8], mode: TimeMode, out: &mut BytesMut) -> Result<(), ValueError> {
    let days = match text {
        b"infinity" => DATE_INFINITY_DAYS,
        b"-infinity" => DATE_MINUS_INFINITY_DAYS,
        _ => {
            let mut reader = Reader(text);
            let date = reader.date();
            date.and_then(|date| reader.days(date)).ok_or(malformed("date"))?
        }
    };
    if mode == TimeMode::IsoString {
        out.put_u8(b'"');
        put_date_text(days, out);
        out.extend_from_slice(b"Z\"");
    } else {
        put_integer(days, out);
    }
    Ok(())
}

/// Appends a `time`, whose column has `precision` digits.
pub(crate) fn put_time(
    text: &[u8],
    mode: TimeMode,
    precision: usize,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let mut reader = Reader(text);
    let us = reader.clock_us().filter(|us| reader.0.is_empty() && i128::from(*us) <= DAY_US);
    let us = us.ok_or(malformed("time"))?;
    match mode {
        TimeMode::Adaptive if precision <= 3 => put_integer(us / 1000, out),
        TimeMode::Connect => put_integer(us / 1000, out),
        TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds | TimeMode::Microseconds => {
            put_integer(us, out);
        }
        TimeMode::Nanoseconds => put_integer(us * 1000, out),
        TimeMode::IsoString => {
            out.put_u8(b'"');
            put_clock(us, Fraction::Shortest, out);
            out.extend_from_slice(b"Z\"");
        }
    }
    Ok(())
}

/// Appends a `timetz`, in UTC. The end of the day stays what it is where no offset moves it.
pub(crate) fn put_time_with_zone(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    let mut reader = Reader(text);
    let day = i64::try_from(DAY_US).unwrap_or(i64::MAX);
    let parts = reader.clock_us().filter(|us| *us <= day).zip(reader.offset_us());
    let (us, offset) =
        parts.filter(|_| reader.0.is_empty()).ok_or(malformed("time with a time zone"))?;
    let utc = if offset == 0 && us == day { us } else { (us - offset).rem_euclid(day) };
    out.put_u8(b'"');
    put_clock(utc, Fraction::Shortest, out);
    out.extend_from_slice(b"Z\"");
    Ok(())
}

/// Microseconds since 1970.
fn parse_timestamp(text: &[u8]) -> Option<i128> {
    match text {
        b"infinity" => return Some(TIMESTAMP_INFINITY_US),
        b"-infinity" => return Some(TIMESTAMP_MINUS_INFINITY_US),
        _ => {}
    }
    let mut reader = Reader(text);
    let date = reader.date()?;
    let clock = reader.take(b' ').then(|| reader.clock_us())??;
    let offset = reader.offset_us()?;
    let days = reader.days(date)?;
    Some(i128::from(days) * DAY_US + i128::from(clock) - i128::from(offset))
}

/// Appends a `timestamp`, whose column has `precision` digits.
pub(crate) fn put_timestamp(
    text: &[u8],
    mode: TimeMode,
    precision: usize,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let us = parse_timestamp(text).ok_or(malformed("timestamp"))?;
    let is_adaptive = matches!(mode, TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds);
    match mode {
        TimeMode::Connect => put_large(us.div_euclid(1000), out),
        _ if is_adaptive && precision <= 3 => put_large(us.div_euclid(1000), out),
        TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds | TimeMode::Microseconds => {
            put_large(us, out);
        }
        TimeMode::Nanoseconds => put_large(
            match us {
                TIMESTAMP_INFINITY_US => i64::MAX.into(),
                TIMESTAMP_MINUS_INFINITY_US => i64::MIN.into(),
                _ => us * 1000,
            },
            out,
        ),
        TimeMode::IsoString => {
            out.put_u8(b'"');
            put_timestamp_text(us, Fraction::Shortest, out);
            out.put_u8(b'"');
        }
    }
    Ok(())
}

pub(super) fn put_large(value: i128, out: &mut BytesMut) {
    match i64::try_from(value) {
        Ok(value) => put_integer(value, out),
        Err(_) => put_integer(value, out),
    }
}

/// Appends a `timestamptz`, whose column has `precision` digits.
pub(crate) fn put_timestamp_with_zone(
    text: &[u8],
    precision: usize,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    out.put_u8(b'"');
    match text {
        b"infinity" | b"-infinity" => out.extend_from_slice(text),
        _ => {
            let us = parse_timestamp(text).ok_or(malformed("timestamp with a time zone"))?;
            put_timestamp_text(us, Fraction::Digits(precision), out);
        }
    }
    out.put_u8(b'"');
    Ok(())
}

/// Appends a point in time in UTC with milliseconds, as attributes have it: `2026-01-15T10:30:00.123Z`.
pub(crate) fn put_attribute_time(us: i64, out: &mut BytesMut) {
    put_timestamp_text(us.into(), Fraction::Digits(3), out);
}
