//! The tables of a scripted source, and who reads them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::columns::Attributes;
use crate::copy::{Chunk, CopyFormat, CopyPiece, CopyStream, Range};
use crate::error::{Error, ErrorKind};
use crate::relation::{RelationId, ReplicaIdentity, TableName};
use crate::source::ChunkReader;
use crate::table::{Identity, Table, TableColumn};
use crate::testing::faults::Faults;

/// The rows of the chunks of each table that were not read yet.
pub(super) type Parts = Arc<Mutex<HashMap<TableName, VecDeque<Vec<String>>>>>;

/// Reads the chunks of a [`ScriptedSource`](super::source::ScriptedSource): those of each table in their order, whoever asks.
#[derive(Debug)]
pub struct ScriptedReader {
    pub(super) parts: Parts,
    pub(super) reads: Faults,
}

impl ChunkReader for ScriptedReader {
    async fn read<'a>(
        &'a mut self,
        table: &'a Table,
        _chunk: &'a Chunk,
        _format: CopyFormat,
    ) -> Result<CopyStream<'a>, Error> {
        let rows = self
            .parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(&table.name)
            .and_then(VecDeque::pop_front)
            .ok_or_else(|| {
                let reason = format!("table `{}` has no chunk left to read", table.name);
                Error::new(ErrorKind::Permanent, reason)
            })?;
        let data: Bytes = rows.iter().flat_map(|row| frame(row)).collect();
        // Cut in the middle of a row, as a network does.
        let (front, back) = (data.slice(..data.len() / 2), data.slice(data.len() / 2..));
        let reads = self.reads.clone();
        let back = stream::once(async move {
            reads.meet("read").await?;
            Ok(CopyPiece { bytes: back, rows: 0 })
        });
        let rows = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let front = stream::iter([Ok(CopyPiece { bytes: front, rows })]);
        Ok(Box::pin(front.chain(back)))
    }
}

/// The name of the table `name`.
pub(super) fn table_name(name: &str) -> TableName {
    TableName::new("public", name)
}

/// The only value of a row of a scripted table.
#[must_use]
pub fn row_name(table: &str, chunk: usize, row: usize) -> String {
    format!("{table}.{chunk}.{row}")
}

/// The chunks of a scripted table.
pub(super) fn chunks(table: &str, parts: &[usize]) -> Vec<Chunk> {
    let table = table_name(table);
    let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    (0..of)
        .map(|ordinal| Chunk { table: table.clone(), range: Range::Whole, ordinal, of })
        .collect()
}

/// The identifier of a scripted table: each name has its own.
pub(crate) fn relation_id(name: &str) -> RelationId {
    let number = |number: u32, byte| number.wrapping_mul(31).wrapping_add(u32::from(byte));
    RelationId(name.bytes().fold(0, number))
}

/// A scripted table: one text column, `name`.
pub(crate) fn table(name: &str) -> Table {
    Table {
        id: relation_id(name),
        name: table_name(name),
        root: None,
        columns: vec![TableColumn {
            name: "name".into(),
            number: 1,
            type_oid: 25,
            type_name: "text".into(),
            type_modifier: -1,
            declared_type: "text".into(),
            binary_safe: true,
            binary_from: 0,
            not_null: true,
            identity: Identity::None,
            generated: false,
        }],
        attributes: Attributes::default(),
        left_out: Vec::new(),
        computed: std::collections::BTreeMap::new(),
        unpublished: Vec::new(),
        primary_key: vec!["name".into()],
        unique_key: Vec::new(),
        has_ctid: false,
        parts: None,
        identity_columns: vec!["name".to_owned()],
        replica_identity: ReplicaIdentity::Default,
        bytes: 8192,
        row_filter: None,
        published_by: Vec::new(),
        published_as: None,
    }
}

fn frame(row: &str) -> Vec<u8> {
    let length = u32::try_from(row.len() + 5).unwrap_or(u32::MAX);
    let mut frame = vec![b'd'];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(row.as_bytes());
    frame.push(b'\n');
    frame
}
