//! Types that are not built in, as the catalogue describes them: what a value's text form means.
//!
//! Made by the source when it looks at its catalogue. Built-in types are not among them: their `pg_type.oid` is
//! the same everywhere.

use std::collections::BTreeMap;

use crate::lsn::Lsn;

/// What a type is made of.
///
/// Source: <https://www.postgresql.org/docs/current/catalog-pg-type.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// Nothing else: a type with functions of its own, by an extension for example. Its name says what it is.
    Base,
    /// Labels.
    Enum,
    /// Another type, under conditions.
    Domain {
        /// `pg_type.oid` of that type.
        base: u32,
        /// The modifier that values have; -1 without one.
        modifier: i32,
    },
    /// Elements of another type.
    Array {
        /// `pg_type.oid` of that type.
        element: u32,
        /// What stands between elements in the text form.
        delimiter: u8,
    },
    /// Columns.
    Composite,
    /// Two bounds.
    Range,
    /// Ranges.
    Multirange,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// The name without its schema, unquoted.
    pub name: String,
    /// What it is made of.
    pub kind: TypeKind,
}

/// The types of a database by `pg_type.oid`, but for the built-in ones and those that only describe the rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// The types.
    pub by_oid: BTreeMap<u32, Type>,
    /// A position of the log from before they were read: what was committed before it is seen here.
    pub as_of: Lsn,
}

impl Types {
    /// A type that is not built in.
    #[must_use]
    pub fn get(&self, oid: u32) -> Option<&Type> {
        self.by_oid.get(&oid)
    }
}
