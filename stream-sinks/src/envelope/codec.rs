//! What a column's type means: from the text of a value to JSON.
//!
//! In: a type's identifier, what the catalogue says of it, and how values are to be shown. Out: a `Codec`, chosen once for a
//! column, that writes its values. Total: text that is no value of the type is an error, never a guess.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::{BufMut, BytesMut};
use stream_core::types::{TypeKind, Types};
use tokio_postgres::types::{Kind, Type};

use super::array::put_array;
use super::decimal::{put_decimal, put_money};
use super::interval::put_interval;
use super::json::{put_base64, put_base64_of_hex, put_hex, put_text};
use super::number::{put_float, put_whole};
use super::options::{BinaryMode, DecimalMode, HstoreMode, IntervalMode, TimeMode, ValueOptions};
use super::shape::{put_bits, put_geometry, put_hstore, put_point, put_sparse_vector, put_vector};
use super::time::{put_date, put_time, put_time_with_zone, put_timestamp, put_timestamp_with_zone};

/// Domains over domains that are followed: a catalogue has no circles, but this is input.
const MAX_DOMAINS: usize = 32;

/// A value that cannot be shown. Says nothing of the value itself: rows do not belong in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Text in an encoding that the database does not know (SQL_ASCII): JSON cannot hold it, and nothing is replaced in silence.
    ///
    /// Remedy: correct the row, exclude the column, or convert the database to UTF8.
    #[error(
        "is not UTF-8, which is what JSON holds: the database's encoding is SQL_ASCII, which checks nothing; \
         correct the row, or exclude the column"
    )]
    NotUtf8,
    /// Text that the type does not have, by what is known of it here.
    ///
    /// Remedy: exclude the column to go on, and report it with the type's name.
    #[error("is no {expected} as PostgreSQL writes it: exclude the column, and report it")]
    Malformed {
        /// What it should have been.
        expected: &'static str,
    },
    /// The source sent a form that was not asked for.
    ///
    /// Remedy: report it.
    #[error("came in binary form, where text was asked for: report it")]
    Binary,
}

/// Places for pieces of values, kept so that no value allocates.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) element: BytesMut,
    pub(super) json: BytesMut,
    pub(super) text: BytesMut,
}

/// How the values of a column are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Whole,
    Boolean,
    Float {
        is_single: bool,
    },
    Decimal {
        mode: DecimalMode,
        scale: Option<usize>,
    },
    Money {
        mode: DecimalMode,
        fraction_digits: usize,
    },
    Text,
    Bytes(BinaryMode),
    Bits {
        is_single: bool,
    },
    Date(TimeMode),
    Time {
        mode: TimeMode,
        precision: usize,
    },
    TimeWithZone,
    Timestamp {
        mode: TimeMode,
        precision: usize,
    },
    TimestampWithZone {
        precision: usize,
    },
    Interval(IntervalMode),
    Hstore(HstoreMode),
    Point,
    Geometry,
    Vector,
    SparseVector,
    Array {
        element: Box<Codec>,
        delimiter: u8,
    },
    /// A type without a form of its own: its text, as bytes.
    Unknown(BinaryMode),
}

impl Codec {
    /// The codec of a type with this identifier and modifier.
    pub(crate) fn new(oid: u32, modifier: i32, types: &Types, options: &ValueOptions) -> Self {
        let (mut oid, mut modifier) = (oid, modifier);
        let unknown = Self::Unknown(options.binary);
        for _ in 0..MAX_DOMAINS {
            let Some(own) = types.get(oid) else {
                return Type::from_oid(oid)
                    .map_or(unknown, |built_in| Self::built_in(&built_in, modifier, options));
            };
            match own.kind {
                TypeKind::Domain { base, modifier: of_domain } => {
                    (oid, modifier) = (base, of_domain)
                }
                TypeKind::Enum => return Self::Text,
                TypeKind::Base => return Self::extension(&own.name, options),
                TypeKind::Array { element, delimiter } => {
                    return Self::Array {
                        element: Box::new(Self::element(element, modifier, types, options)),
                        delimiter,
                    };
                }
                TypeKind::Composite | TypeKind::Range | TypeKind::Multirange => return unknown,
            }
        }
        unknown
    }

    /// The codec of an array's elements. Those of domains have no form of their own, as in the field's other products.
    fn element(oid: u32, modifier: i32, types: &Types, options: &ValueOptions) -> Self {
        match types.get(oid).map(|own| own.kind) {
            Some(TypeKind::Domain { .. }) => Self::Unknown(options.binary),
            _ => Self::new(oid, modifier, types, options),
        }
    }

    fn built_in(built_in: &Type, modifier: i32, options: &ValueOptions) -> Self {
        // Six digits where the column says nothing.
        let precision = usize::try_from(modifier).unwrap_or(6);
        match built_in.name() {
            "int2" | "int4" | "int8" | "oid" => Self::Whole,
            "bool" => Self::Boolean,
            "float4" => Self::Float { is_single: true },
            "float8" => Self::Float { is_single: false },
            "numeric" => Self::Decimal { mode: options.decimal, scale: numeric_scale(modifier) },
            "money" => Self::Money {
                mode: options.decimal,
                fraction_digits: options.money_fraction_digits.into(),
            },
            "text" | "varchar" | "bpchar" | "char" | "name" | "json" | "jsonb" | "xml" | "uuid"
            | "inet" | "cidr" | "macaddr" | "macaddr8" | "tsvector" | "int4range" | "int8range"
            | "numrange" | "tsrange" | "tstzrange" | "daterange" => Self::Text,
            "bytea" => Self::Bytes(options.binary),
            "bit" | "varbit" => Self::Bits { is_single: modifier == 1 },
            "date" => Self::Date(options.time),
            "time" => Self::Time { mode: options.time, precision },
            "timetz" => Self::TimeWithZone,
            "timestamp" => Self::Timestamp { mode: options.time, precision },
            "timestamptz" => Self::TimestampWithZone { precision },
            "interval" => Self::Interval(options.interval),
            "point" => Self::Point,
            // Their text has no braces.
            "int2vector" | "oidvector" => Self::Unknown(options.binary),
            _ => match built_in.kind() {
                Kind::Array(element) => {
                    let delimiter = if element.name() == "box" { b';' } else { b',' };
                    Self::Array {
                        element: Box::new(Self::built_in(element, modifier, options)),
                        delimiter,
                    }
                }
                _ => Self::Unknown(options.binary),
            },
        }
    }

    /// The codec of a type that an extension brings.
    fn extension(name: &str, options: &ValueOptions) -> Self {
        match name {
            "citext" | "ltree" | "isbn" | "isbn13" | "ismn" | "ismn13" | "issn" | "issn13"
            | "ean13" | "upc" => Self::Text,
            "hstore" => Self::Hstore(options.hstore),
            "geometry" | "geography" => Self::Geometry,
            "vector" | "halfvec" => Self::Vector,
            "sparsevec" => Self::SparseVector,
            _ => Self::Unknown(options.binary),
        }
    }

    /// Whether the type, or that of the elements, has no form of its own.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Array { element, .. } => element.is_unknown(),
            _ => false,
        }
    }

    /// Appends a value.
    pub(crate) fn put(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        out: &mut BytesMut,
    ) -> Result<(), ValueError> {
        match self {
            Self::Whole => put_whole(text, out),
            Self::Boolean => put_boolean(text, out),
            Self::Float { is_single } => put_float(text, *is_single, out),
            Self::Decimal { mode, scale } => put_decimal(text, *mode, *scale, out),
            Self::Money { mode, fraction_digits } => put_money(text, *mode, *fraction_digits, out),
            Self::Text => put_text(text, out),
            Self::Bytes(mode) => put_bytea(text, *mode, out),
            Self::Bits { is_single } => put_bits(text, *is_single, scratch, out),
            Self::Date(mode) => put_date(text, *mode, out),
            Self::Time { mode, precision } => put_time(text, *mode, *precision, out),
            Self::TimeWithZone => put_time_with_zone(text, out),
            Self::Timestamp { mode, precision } => put_timestamp(text, *mode, *precision, out),
            Self::TimestampWithZone { precision } => put_timestamp_with_zone(text, *precision, out),
            Self::Interval(mode) => put_interval(text, *mode, out),
            Self::Hstore(mode) => put_hstore(text, *mode, scratch, out),
            Self::Point => put_point(text, out),
            Self::Geometry => put_geometry(text, out),
            Self::Vector => put_vector(text, out),
            Self::SparseVector => put_sparse_vector(text, out),
            Self::Array { element, delimiter } => {
                put_array(text, element, *delimiter, scratch, out)
            }
            Self::Unknown(mode) => {
                put_binary(text, *mode, out);
                Ok(())
            }
        }
    }
}

/// The scale in a `numeric`'s modifier: 11 bits with a sign since PostgreSQL 15. A negative one only says that digits
/// before the point are zero.
fn numeric_scale(modifier: i32) -> Option<usize> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    Some(usize::try_from(scale).unwrap_or(0))
}

fn put_boolean(text: &[u8], out: &mut BytesMut) -> Result<(), ValueError> {
    match text {
        b"t" => out.extend_from_slice(b"true"),
        b"f" => out.extend_from_slice(b"false"),
        _ => return Err(ValueError::Malformed { expected: "boolean" }),
    }
    Ok(())
}

const fn engine(mode: BinaryMode) -> Option<&'static GeneralPurpose> {
    match mode {
        BinaryMode::Bytes | BinaryMode::Base64 => Some(&STANDARD),
        BinaryMode::Base64UrlSafe => Some(&URL_SAFE),
        BinaryMode::Hex => None,
    }
}

/// Appends a `bytea`, which comes as hexadecimal digits.
fn put_bytea(text: &[u8], mode: BinaryMode, out: &mut BytesMut) -> Result<(), ValueError> {
    let digits = text.strip_prefix(b"\\x").ok_or(ValueError::Malformed { expected: "bytea" })?;
    out.put_u8(b'"');
    match engine(mode) {
        Some(engine) => put_base64_of_hex(digits, engine, out)?,
        None if digits.iter().all(u8::is_ascii_hexdigit) => out.extend_from_slice(digits),
        None => return Err(ValueError::Malformed { expected: "bytea" }),
    }
    out.put_u8(b'"');
    Ok(())
}

/// Appends bytes as the mode says.
pub(crate) fn put_binary(bytes: &[u8], mode: BinaryMode, out: &mut BytesMut) {
    out.put_u8(b'"');
    match engine(mode) {
        Some(engine) => put_base64(bytes, engine, out),
        None => put_hex(bytes, out),
    }
    out.put_u8(b'"');
}
