//! Log sequence numbers.
//!
//! A position is only ever taken over from the server, compared and measured; nothing here makes a
//! new one by arithmetic.

use std::fmt;
use std::str::FromStr;

/// A position in a server's write-ahead log: a byte offset, written `16/B374D848`.
///
/// Source: <https://www.postgresql.org/docs/current/datatype-pg-lsn.html>
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Takes over a position as the server sent it.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The position as the wire protocol carries it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Bytes of WAL between `earlier` and this position; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A position that was read is none: the server's answer or a row of `sgstream.progress` at the target was changed.
///
/// Remedy: compare the position in the message with the row in `sgstream.progress`; without a copy of what was there, begin the stream
/// anew.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is no log sequence number: expected two hexadecimal numbers, like `16/B374D848`")]
pub struct ParseLsnError {
    text: String,
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |part: &str| {
            let hexadecimal =
                (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            if hexadecimal { u64::from_str_radix(part, 16).ok() } else { None }
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_as_the_server_does() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/1"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_position() {
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "g/1", "+1/1", "123456789/1", " 1/1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_distance_is_never_negative() {
        assert_eq!(Lsn::new(10).bytes_since(Lsn::new(4)), 6);
        assert_eq!(Lsn::new(4).bytes_since(Lsn::new(10)), 0);
    }
}
