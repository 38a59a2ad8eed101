//! Tables as the log describes them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sql::Ident;

/// The object identifier of a table on the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationId(pub u32);

/// A table's schema and name, unquoted. `Display` gives `schema.name` for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema, as the catalogue spells it.
    pub schema: String,
    /// The table, as the catalogue spells it.
    pub name: String,
}

impl TableName {
    /// A name from its two parts.
    #[must_use]
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The name as SQL text, both parts quoted.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", Ident(&self.schema), Ident(&self.name))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Which old values the log holds for an updated or deleted row.
///
/// Source: <https://www.postgresql.org/docs/current/logical-replication-publication.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// The primary key, if there is one.
    Default,
    /// Nothing.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of a chosen unique index.
    Index,
}

impl ReplicaIdentity {
    /// From `pg_class.relreplident`, the letter that the Relation message carries too.
    #[must_use]
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'd' => Some(Self::Default),
            b'n' => Some(Self::Nothing),
            b'f' => Some(Self::Full),
            b'i' => Some(Self::Index),
            _ => None,
        }
    }
}

/// A column as a Relation message describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// `pg_type.oid` on the source.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`; -1 where the type has none.
    pub type_modifier: i32,
    /// Whether the column is part of the replica identity.
    pub is_key: bool,
}

/// A table at one moment of the log: the columns that its next rows have, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// The table's identifier on the source.
    pub id: RelationId,
    /// Its name at that moment; its present one, if it is `renamed`.
    pub name: TableName,
    /// Whether the log has it under another name, which it had then.
    pub renamed: bool,
    /// What the log holds of old rows.
    pub replica_identity: ReplicaIdentity,
    /// The published columns, in row order.
    pub columns: Vec<Column>,
}
