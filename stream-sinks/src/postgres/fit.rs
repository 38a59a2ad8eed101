//! What becomes of values in a column of another type. Pure.
//!
//! A value that does not fit is most often refused, which is loud. Here are those that would be changed without a word: rounded, cut off, or
//! taken for another value of the same bytes.

use stream_core::types::{TypeKind, Types};
use tokio_postgres::types::{Kind, Type};

/// Types from this identifier on are not the same on every server.
pub(super) const FIRST_OWN_TYPE: u32 = 10_000;

const CHAR: u32 = 18;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
pub(super) const MONEY: u32 = 790;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const INTERVAL: u32 = 1186;
const TIMETZ: u32 = 1266;
const NUMERIC: u32 = 1700;

/// Digits of a second that times have without a modifier.
const ALL_DIGITS: i32 = 6;

/// What a type's values, or the elements of its arrays, are in the end: domains are taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) oid: u32,
    pub(super) modifier: i32,
    pub(super) is_array: bool,
    /// Of a type that is not built in: its name, without the schema.
    pub(super) name: String,
}

impl Base {
    /// That of a type of the source; `None` where it is a type that came since the source was looked at.
    pub(super) fn at_source(types: &Types, oid: u32, modifier: i32) -> Option<Self> {
        let mut base = Self { oid, modifier, is_array: false, name: String::new() };
        while let Some(own) = types.get(base.oid) {
            match own.kind {
                TypeKind::Domain { base: below, modifier } => {
                    base.oid = below;
                    base.modifier = modifier;
                }
                TypeKind::Array { element, .. } => {
                    base.oid = element;
                    base.is_array = true;
                }
                _ => return Some(Self { name: own.name.clone(), ..base }),
            }
        }
        if base.oid >= FIRST_OWN_TYPE {
            return None;
        }
        if let Some(Kind::Array(element)) = Type::from_oid(base.oid).as_ref().map(Type::kind) {
            base.oid = element.oid();
            base.is_array = true;
        }
        Some(base)
    }

    /// That of a type which nobody knows.
    pub(super) const fn unknown() -> Self {
        Self { oid: 0, modifier: -1, is_array: false, name: String::new() }
    }

    /// Whether values of both have the same binary form.
    pub(super) fn has_form_of(&self, other: &Self) -> bool {
        let is_same = if self.oid < FIRST_OWN_TYPE || other.oid < FIRST_OWN_TYPE {
            self.oid == other.oid
        } else {
            self.name == other.name
        };
        is_same && self.is_array == other.is_array
    }

    /// Whether a column of type `target` would change values of this one without a word, as text reads them.
    pub(super) fn changes_in(&self, target: &Self) -> bool {
        if self.has_form_of(target) {
            return self.is_cut_by(target.modifier);
        }
        let is_limited = target.modifier != -1;
        let is_integer = matches!(self.oid, INT2 | INT4 | INT8);
        match target.oid {
            FLOAT4 => self.oid != INT2,
            FLOAT8 => !matches!(self.oid, INT2 | INT4 | FLOAT4),
            NUMERIC => is_limited && !(is_integer && scale(target.modifier) >= 0),
            // Blanks at the end are cut off, whatever stands before them.
            VARCHAR | BPCHAR => is_limited && !is_integer,
            TIMESTAMP => self.oid != DATE,
            DATE | TIME | TIMETZ | TIMESTAMPTZ | INTERVAL | NAME | CHAR | MONEY => true,
            _ => false,
        }
    }

    /// Whether the same type with another modifier would change values without a word.
    fn is_cut_by(&self, modifier: i32) -> bool {
        if modifier == -1 || modifier == self.modifier {
            return false;
        }
        let is_unlimited = self.modifier == -1;
        match self.oid {
            NUMERIC => is_unlimited || scale(modifier) < scale(self.modifier),
            TIME | TIMETZ | TIMESTAMP | TIMESTAMPTZ => {
                modifier < if is_unlimited { ALL_DIGITS } else { self.modifier }
            }
            VARCHAR | BPCHAR => is_unlimited || modifier < self.modifier,
            // What an interval's modifier, or that of a type of an extension, leaves out, only the type knows.
            _ => true,
        }
    }
}

/// Digits after the point that a modifier of `numeric` leaves: eleven bits, with a sign.
const fn scale(modifier: i32) -> i32 {
    (((modifier - 4) & 0x7ff) ^ 1_024) - 1_024
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stream_core::types;

    use super::*;

    const fn numeric(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    fn base(oid: u32, modifier: i32) -> Base {
        Base { oid, modifier, is_array: false, name: String::new() }
    }

    #[test]
    fn only_what_is_changed_without_a_word_is_refused() {
        const TEXT: u32 = 25;
        const UUID: u32 = 2950;
        for (source, target, changes) in [
            (base(NUMERIC, numeric(12, 4)), base(NUMERIC, numeric(12, 2)), true),
            (base(NUMERIC, numeric(12, 2)), base(NUMERIC, numeric(14, 4)), false),
            // What has no place before the point is refused.
            (base(NUMERIC, numeric(12, 2)), base(NUMERIC, numeric(5, 2)), false),
            (base(NUMERIC, numeric(5, -2)), base(NUMERIC, numeric(5, -3)), true),
            (base(NUMERIC, -1), base(NUMERIC, numeric(12, 2)), true),
            (base(NUMERIC, numeric(12, 2)), base(NUMERIC, -1), false),
            (base(INT8, -1), base(NUMERIC, numeric(12, 2)), false),
            (base(INT8, -1), base(NUMERIC, numeric(3, -1)), true),
            (base(FLOAT8, -1), base(NUMERIC, numeric(12, 2)), true),
            (base(NUMERIC, -1), base(INT4, -1), false),
            (base(INT8, -1), base(FLOAT8, -1), true),
            (base(INT4, -1), base(FLOAT8, -1), false),
            (base(INT4, -1), base(FLOAT4, -1), true),
            (base(TIMESTAMP, -1), base(TIMESTAMP, 0), true),
            (base(TIMESTAMP, 3), base(TIMESTAMP, 6), false),
            (base(TIMESTAMP, -1), base(DATE, -1), true),
            (base(TIMESTAMPTZ, -1), base(TIMESTAMP, -1), true),
            (base(DATE, -1), base(TIMESTAMP, -1), false),
            (base(INTERVAL, -1), base(INTERVAL, 3), true),
            (base(VARCHAR, 14), base(VARCHAR, 24), false),
            (base(VARCHAR, -1), base(VARCHAR, 24), true),
            (base(TEXT, -1), base(VARCHAR, 24), true),
            (base(INT4, -1), base(VARCHAR, 24), false),
            (base(TEXT, -1), base(NAME, -1), true),
            (base(UUID, -1), base(TEXT, -1), false),
            (base(TEXT, -1), base(UUID, -1), false),
        ] {
            assert_eq!(source.changes_in(&target), changes, "{source:?} in {target:?}");
        }
    }

    #[test]
    fn domains_and_arrays_are_taken_apart() {
        let own = |name: &str, kind| types::Type { name: name.to_owned(), kind };
        let domain = TypeKind::Domain { base: NUMERIC, modifier: numeric(12, 4) };
        let by_oid = BTreeMap::from([
            (20_000, own("d", domain)),
            (20_001, own("dd", TypeKind::Domain { base: 20_000, modifier: -1 })),
            (20_002, own("_dd", TypeKind::Array { element: 20_001, delimiter: b',' })),
            (20_003, own("mood", TypeKind::Enum)),
        ]);
        let types = Types { by_oid, ..Types::default() };
        let is = |oid, modifier| Base::at_source(&types, oid, modifier);
        let limited = base(NUMERIC, numeric(12, 4));
        assert_eq!(is(20_000, -1), Some(limited.clone()));
        // The modifier is that of the domain on which the other one is.
        assert_eq!(is(20_001, -1), Some(limited.clone()));
        assert_eq!(is(20_002, -1), Some(Base { is_array: true, ..limited.clone() }));
        assert_eq!(is(1_231, numeric(12, 4)), Some(Base { is_array: true, ..limited }));
        assert_eq!(is(20_003, -1), Some(Base { name: "mood".to_owned(), ..base(20_003, -1) }));
        assert_eq!(is(20_009, -1), None);
        let other = Base { name: "mood".to_owned(), ..base(30_000, -1) };
        assert!(is(20_003, -1).unwrap().has_form_of(&other));
        assert!(!is(20_003, -1).unwrap().has_form_of(&base(25, -1)));
    }
}
