//! The calendar: text into days and microseconds, and back.
//!
//! Exact over the whole range of PostgreSQL, which is wider than that of any calendar library: 4714 BC to 294276 AD.
//! Years are astronomical: 1 BC is 0.

use bytes::{BufMut, BytesMut};

pub(super) const DAY_US: i128 = 86_400_000_000;

/// Reads text from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn digits(&mut self) -> &'a [u8] {
        let length = self.0.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        digits
    }

    /// A number of at most 12 digits.
    pub(super) fn number(&mut self) -> Option<i64> {
        let digits = self.digits();
        let fits = (1..=12).contains(&digits.len());
        fits.then(|| digits.iter().fold(0, |all, digit| all * 10 + i64::from(digit - b'0')))
    }

    /// `.123456`, or nothing, in microseconds.
    pub(super) fn fraction_us(&mut self) -> Option<i64> {
        if !self.take(b'.') {
            return Some(0);
        }
        let digits = self.digits();
        let fits = (1..=6).contains(&digits.len());
        let padded = digits.iter().map(|digit| digit - b'0').chain(std::iter::repeat(0)).take(6);
        fits.then(|| padded.fold(0, |all, digit| all * 10 + i64::from(digit)))
    }

    /// `HH:MM:SS.ffffff`, in microseconds.
    pub(super) fn clock_us(&mut self) -> Option<i64> {
        let hours = self.number()?;
        let minutes = self.take(b':').then(|| self.number())??;
        let seconds = self.take(b':').then(|| self.number())??;
        let fraction = self.fraction_us()?;
        if minutes >= 60 || seconds >= 60 {
            return None;
        }
        let rest = (minutes * 60 + seconds) * 1_000_000 + fraction;
        hours.checked_mul(3_600_000_000)?.checked_add(rest)
    }

    /// `+HH`, `+HH:MM` or `+HH:MM:SS`, in microseconds; without any: 0.
    pub(super) fn offset_us(&mut self) -> Option<i64> {
        let sign = if self.take(b'+') {
            1
        } else if self.take(b'-') {
            -1
        } else {
            return Some(0);
        };
        let mut seconds = self.number()? * 3600;
        for unit in [60, 1] {
            if self.take(b':') {
                seconds += self.number()? * unit;
            }
        }
        (seconds < 86_400 * 2).then(|| sign * seconds * 1_000_000)
    }

    /// `YYYY-MM-DD`. Whether it is before Christ stands at the end of the whole value.
    pub(super) fn date(&mut self) -> Option<(i64, i64, i64)> {
        let year = self.number()?;
        let month = self.take(b'-').then(|| self.number())??;
        let day = self.take(b'-').then(|| self.number())??;
        let is_date = year < 10_000_000 && (1..=12).contains(&month) && (1..=31).contains(&day);
        is_date.then_some((year, month, day))
    }

    /// The end, with the era: days since 1970 of `date`.
    pub(super) fn days(self, (year, month, day): (i64, i64, i64)) -> Option<i64> {
        let year = match self.0 {
            b"" => year,
            b" BC" => 1 - year,
            _ => return None,
        };
        Some(days_from_civil(year, month, day))
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Source: <https://howardhinnant.github.io/date_algorithms.html>
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

fn put_padded(value: i64, width: usize, out: &mut BytesMut) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    out.put_bytes(b'0', width.saturating_sub(digits.len()));
    out.extend_from_slice(digits.as_bytes());
}

/// `2016-11-04`; years of other than four digits have a sign.
pub(super) fn put_date_text(days: i64, out: &mut BytesMut) {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        out.put_u8(b'-');
    } else if year > 9999 {
        out.put_u8(b'+');
    }
    put_padded(year.abs(), 4, out);
    out.put_u8(b'-');
    put_padded(month, 2, out);
    out.put_u8(b'-');
    put_padded(day, 2, out);
}

/// How many digits a fraction of a second has.
#[derive(Clone, Copy)]
pub(super) enum Fraction {
    /// As few as it takes.
    Shortest,
    /// So many.
    Digits(usize),
}

/// `13:51:30.123`.
pub(super) fn put_clock(us: i64, fraction: Fraction, out: &mut BytesMut) {
    let seconds = us / 1_000_000;
    put_padded(seconds / 3600, 2, out);
    out.put_u8(b':');
    put_padded(seconds / 60 % 60, 2, out);
    out.put_u8(b':');
    put_padded(seconds % 60, 2, out);
    put_fraction(us % 1_000_000, fraction, out);
}

pub(super) fn put_fraction(us: i64, fraction: Fraction, out: &mut BytesMut) {
    let digits = match fraction {
        Fraction::Digits(digits) => digits.min(6),
        Fraction::Shortest => {
            let mut digits = 6;
            let mut rest = us;
            while digits > 0 && rest % 10 == 0 {
                (rest, digits) = (rest / 10, digits - 1);
            }
            digits
        }
    };
    if digits == 0 {
        return;
    }
    out.put_u8(b'.');
    let mut buffer = [b'0'; 6];
    let mut rest = us;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    out.extend_from_slice(buffer.get(..digits).unwrap_or_default());
}

pub(super) fn put_timestamp_text(us: i128, fraction: Fraction, out: &mut BytesMut) {
    let days = i64::try_from(us.div_euclid(DAY_US)).unwrap_or_default();
    let clock = i64::try_from(us.rem_euclid(DAY_US)).unwrap_or_default();
    put_date_text(days, out);
    out.put_u8(b'T');
    put_clock(clock, fraction, out);
    out.put_u8(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        let mut before = days_from_civil(-4714, 11, 23);
        for day in before + 1..=days_from_civil(-4713, 12, 31) {
            let (year, month, of_month) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, of_month), day);
            assert_eq!(day, before + 1);
            before = day;
        }
        for day in (-3_000_000..108_000_000).step_by(97) {
            let (year, month, of_month) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, of_month), day, "{year}-{month}-{of_month}");
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(civil_from_days(-1), (1969, 12, 31));
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
    }
}
