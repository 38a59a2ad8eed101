//! Placeholder.
use crate::relation::TableName;
/// A part of a table.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// table
    pub table: TableName,
}
