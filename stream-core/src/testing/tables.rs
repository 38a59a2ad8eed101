//! The tables of a [`super::source::ScriptedSource`]: all alike, with one column.

use crate::relation::{RelationId, ReplicaIdentity};
use crate::snapshot::plan::{Chunk, Range};
use crate::table::{Identity, Table, TableColumn};
use crate::testing::source::ScriptedSource;

pub(super) fn chunks(table: &str, parts: &[usize]) -> Vec<Chunk> {
    let table = ScriptedSource::table_name(table);
    let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    (0..of)
        .map(|ordinal| Chunk { table: table.clone(), range: Range::Whole, ordinal, of })
        .collect()
}

pub(super) fn table(name: &str) -> Table {
    Table {
        id: RelationId(1),
        name: ScriptedSource::table_name(name),
        root: None,
        columns: vec![TableColumn {
            name: "name".into(),
            type_oid: 25,
            type_name: "text".into(),
            type_modifier: -1,
            declared_type: "text".into(),
            binary_safe: true,
            not_null: true,
            identity: Identity::None,
        }],
        left_out: Vec::new(),
        primary_key: vec!["name".into()],
        replica_identity: ReplicaIdentity::Default,
        bytes: 8192,
        row_filter: None,
    }
}
