//! Which values of a type are equal, as far as their text tells.

use stream_core::types::{TypeKind, Types};
use tokio_postgres::types::{Kind, Type};

/// Domains and arrays that are followed: a catalogue has no circles, but this is input.
const MAX_DEPTH: usize = 32;

/// How equal values are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equality {
    /// By equal texts.
    Text,
    /// By equal numbers: `1.0` is `1.00`, and `-0` is `0`.
    Number,
    /// Only by the server.
    Server,
}

impl Equality {
    /// That of a type with this identifier and modifier. Of a type that nobody knows here, only the server knows it.
    pub(crate) fn of(oid: u32, modifier: i32, types: &Types) -> Self {
        let (mut oid, mut modifier, mut is_array) = (oid, modifier, false);
        for _ in 0..MAX_DEPTH {
            let Some(own) = types.get(oid) else {
                return Type::from_oid(oid).map_or(Self::Server, |built_in| {
                    let (element, is_element) = match built_in.kind() {
                        Kind::Array(element) => (element, true),
                        _ => (&built_in, is_array),
                    };
                    Self::built_in(element.name(), modifier).in_array(is_element)
                });
            };
            match own.kind {
                TypeKind::Domain { base, modifier: of_domain } => {
                    (oid, modifier) = (base, of_domain);
                }
                TypeKind::Array { element, .. } => (oid, is_array) = (element, true),
                TypeKind::Enum => return Self::Text,
                TypeKind::Base => return Self::extension(&own.name),
                TypeKind::Composite | TypeKind::Range | TypeKind::Multirange => break,
            }
        }
        Self::Server
    }

    fn built_in(name: &str, modifier: i32) -> Self {
        match name {
            "numeric" | "float4" | "float8" => Self::Number,
            "int2" | "int4" | "int8" | "oid" | "xid" | "xid8" | "cid" | "tid" | "pg_lsn"
            | "bool" | "text" | "varchar" | "char" | "name" | "uuid" | "bytea" | "bit"
            | "varbit" | "date" | "time" | "timetz" | "timestamp" | "timestamptz" | "money"
            | "inet" | "cidr" | "macaddr" | "macaddr8" | "tsvector" | "int4range" | "int8range"
            | "daterange" | "tsrange" | "tstzrange" => Self::Text,
            // Spaces at the end count for nothing, and there are as many as the length wants, if there is one.
            "bpchar" if modifier >= 0 => Self::Text,
            _ => Self::Server,
        }
    }

    fn extension(name: &str) -> Self {
        match name {
            "ltree" | "isbn" | "isbn13" | "ismn" | "ismn13" | "issn" | "issn13" | "ean13"
            | "upc" => Self::Text,
            _ => Self::Server,
        }
    }

    /// That of arrays of these.
    const fn in_array(self, is_array: bool) -> Self {
        match self {
            Self::Number if is_array => Self::Server,
            other => other,
        }
    }

    /// The text that all values have that are equal to this one; `None` where nobody knows it here.
    pub(crate) fn text(self, value: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Text => Some(value),
            Self::Number => Some(number(value)),
            Self::Server => None,
        }
    }
}

/// The number without zeros at the end of its fraction, and zero without a sign.
fn number(text: &[u8]) -> &[u8] {
    let is_plain = memchr::memchr(b'.', text).is_some() && memchr::memchr(b'e', text).is_none();
    match text {
        b"-0" => b"0",
        _ if is_plain => {
            let zeros = text.iter().rev().take_while(|digit| **digit == b'0').count();
            let text = text.get(..text.len() - zeros).unwrap_or_default();
            text.strip_suffix(b".").unwrap_or(text)
        }
        _ => text,
    }
}
