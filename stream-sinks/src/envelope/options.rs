//! How values are shown.

/// How `numeric` and `money` are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecimalMode {
    /// Exact: base64 of the number without its decimal point, in two's complement; with its scale where the column has none.
    #[default]
    Precise,
    /// A floating-point number.
    Double,
    /// Text.
    String,
}

/// How dates and times are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeMode {
    /// Milliseconds for up to three digits, otherwise microseconds.
    #[default]
    Adaptive,
    /// As adaptive, but `time` always in microseconds.
    AdaptiveTimeMicroseconds,
    /// Milliseconds always.
    Connect,
    /// ISO 8601 text in UTC.
    IsoString,
    /// Microseconds always.
    Microseconds,
    /// Nanoseconds always.
    Nanoseconds,
}

/// How `bytea`, and types that are unknown, are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BinaryMode {
    /// Bytes, which are base64 in JSON.
    #[default]
    Bytes,
    /// Base64.
    Base64,
    /// Base64 in the alphabet for URLs.
    Base64UrlSafe,
    /// Hexadecimal, lower case.
    Hex,
}

/// How `hstore` is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HstoreMode {
    /// A string that holds JSON.
    #[default]
    Json,
    /// An object.
    Map,
}

/// How `interval` is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntervalMode {
    /// Microseconds, with months of 30.4375 days.
    #[default]
    Numeric,
    /// ISO 8601 text with all six parts.
    String,
}

/// How values are shown, type by type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueOptions {
    /// `numeric` and `money`; default precise.
    pub decimal: DecimalMode,
    /// Dates and times; default adaptive.
    pub time: TimeMode,
    /// `bytea` and unknown types; default bytes.
    pub binary: BinaryMode,
    /// `hstore`; default JSON text.
    pub hstore: HstoreMode,
    /// `interval`; default numeric.
    pub interval: IntervalMode,
    /// Digits of `money` behind the decimal point; default 2.
    pub money_fraction_digits: u8,
    /// Whether columns of unknown types are shown, as bytes of their text; default true.
    pub include_unknown: bool,
    /// What stands for a large value that did not change and that the log does not hold; with `hex:` in front, bytes.
    /// Default `__debezium_unavailable_value`.
    pub unavailable: String,
}

impl Default for ValueOptions {
    fn default() -> Self {
        Self {
            decimal: DecimalMode::default(),
            time: TimeMode::default(),
            binary: BinaryMode::default(),
            hstore: HstoreMode::default(),
            interval: IntervalMode::default(),
            money_fraction_digits: 2,
            include_unknown: true,
            unavailable: "__debezium_unavailable_value".to_owned(),
        }
    }
}
