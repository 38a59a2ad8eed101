//! Intervals: from PostgreSQL's text in the style `postgres` to the forms that events have.

use bytes::{BufMut, BytesMut};

use super::calendar::{DAY_US, Fraction, Reader, put_fraction};
use super::codec::ValueError;
use super::json::put_integer;
use super::options::IntervalMode;
use super::time::{malformed, put_large};

/// The parts of an `interval`, which may all have signs of their own.
#[derive(Default)]
struct Interval {
    years: i64,
    months: i64,
    days: i64,
    us: i64,
}

impl Interval {
    /// `1 year 2 mons -3 days -04:05:06.78`.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut interval = Self::default();
        let mut words = text.split(|byte| *byte == b' ');
        while let Some(word) = words.next() {
            let mut reader = Reader(word);
            let sign = if reader.take(b'-') { -1 } else { 1 };
            reader.take(b'+');
            if word.contains(&b':') {
                interval.us = sign * reader.clock_us().filter(|_| reader.0.is_empty())?;
                continue;
            }
            let value = sign * reader.number().filter(|_| reader.0.is_empty())?;
            match words.next()? {
                b"year" | b"years" => interval.years = value,
                b"mon" | b"mons" => interval.months = value,
                b"day" | b"days" => interval.days = value,
                _ => return None,
            }
        }
        Some(interval)
    }

    /// A month has 30.4375 days, a year 12 months.
    fn total_us(&self) -> i128 {
        const MONTH_US: i128 = 2_629_800_000_000;
        let months = i128::from(self.years) * 12 + i128::from(self.months);
        months * MONTH_US + i128::from(self.days) * DAY_US + i128::from(self.us)
    }
}

/// Appends an `interval`.
pub(crate) fn put_interval(
    text: &[u8],
    mode: IntervalMode,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    if matches!(text, b"infinity" | b"-infinity") {
        match (mode, text) {
            (IntervalMode::Numeric, b"infinity") => put_integer(i64::MAX, out),
            (IntervalMode::Numeric, _) => put_integer(i64::MIN, out),
            (IntervalMode::String, _) => {
                out.put_u8(b'"');
                out.extend_from_slice(text);
                out.put_u8(b'"');
            }
        }
        return Ok(());
    }
    let interval = Interval::parse(text).ok_or(malformed("interval"))?;
    match mode {
        IntervalMode::Numeric => put_large(interval.total_us(), out),
        IntervalMode::String => put_interval_text(&interval, out),
    }
    Ok(())
}

/// `"P1Y2M3DT4H5M6.78S"`, with all six parts.
fn put_interval_text(interval: &Interval, out: &mut BytesMut) {
    let Interval { years, months, days, us } = *interval;
    let seconds = us / 1_000_000;
    out.extend_from_slice(b"\"P");
    for (value, unit) in
        [(years, "Y"), (months, "M"), (days, "DT"), (seconds / 3600, "H"), (seconds / 60 % 60, "M")]
    {
        put_integer(value, out);
        out.extend_from_slice(unit.as_bytes());
    }
    if us < 0 && seconds % 60 == 0 && us % 1_000_000 != 0 {
        out.put_u8(b'-');
    }
    put_integer(seconds % 60, out);
    put_fraction((us % 1_000_000).abs(), Fraction::Shortest, out);
    out.extend_from_slice(b"S\"");
}
