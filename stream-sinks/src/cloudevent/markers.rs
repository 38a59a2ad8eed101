//! Which row of a snapshot is the first and which the last. Pure.
//!
//! That a row is its table's last is known once the table's last chunk has ended: so one row of each table is held back.

use std::collections::HashMap;

use stream_core::change::Tuple;
use stream_core::relation::TableName;
use stream_core::source::Snapshot;

use super::event::Marker;

/// A row, and where it stands in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) tuple: Tuple,
    pub(super) place: Vec<u8>,
}

/// Keeps track of the tables of a snapshot. Chunks come one after another.
#[derive(Debug, Default)]
pub(super) struct Markers {
    tables: HashMap<TableName, OfTable>,
    begun: bool,
}

#[derive(Debug, Default)]
struct OfTable {
    chunks: usize,
    begun: bool,
    held: Option<Row>,
}

impl Markers {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut tables: HashMap<_, OfTable> = HashMap::new();
        for chunk in &snapshot.chunks {
            tables.entry(chunk.table.clone()).or_default().chunks += 1;
        }
        Self { tables, begun: false }
    }

    /// A row came: the one before it can go.
    pub(super) fn row(&mut self, table: &TableName, row: Row) -> Option<(Marker, Row)> {
        let of_table = self.tables.get_mut(table)?;
        let before = of_table.held.replace(row)?;
        let marker = match (self.begun, of_table.begun) {
            (false, _) => Marker::First,
            (true, false) => Marker::FirstInTable,
            (true, true) => Marker::Inside,
        };
        of_table.begun = true;
        self.begun = true;
        Some((marker, before))
    }

    /// A chunk has ended: with its table's last one, the table's last row can go.
    pub(super) fn end_chunk(&mut self, table: &TableName) -> Option<(Marker, Row)> {
        let of_table = self.tables.get_mut(table)?;
        of_table.chunks = of_table.chunks.saturating_sub(1);
        if of_table.chunks > 0 {
            return None;
        }
        let last = of_table.held.take();
        self.tables.remove(table);
        let row = last?;
        let marker = match (self.tables.is_empty(), self.begun) {
            (true, _) => Marker::Last,
            (false, false) => Marker::First,
            (false, true) => Marker::LastInTable,
        };
        self.begun = true;
        Some((marker, row))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stream_core::copy::{Chunk, Range};
    use stream_core::lsn::Lsn;

    use super::*;

    /// `a1 a. b.`: a row of table a, the end of a chunk of a, the end of a chunk of b.
    fn markers(steps: &str) -> String {
        let name = |step: &str| TableName::new("s", &step[..1]);
        let chunks = steps.split(' ').filter(|step| step.ends_with('.')).map(|step| Chunk {
            table: name(step),
            range: Range::Whole,
            ordinal: 0,
            of: 1,
        });
        let snapshot =
            Snapshot { lsn: Lsn::new(1), tables: Vec::new(), chunks: chunks.collect(), readers: 1 };
        let mut markers = Markers::new(&snapshot);
        let tuple = Tuple::new(Bytes::new(), 0).unwrap();
        let shown = steps.split(' ').filter_map(|step| {
            let row = || Row { tuple: tuple.clone(), place: step.as_bytes().to_vec() };
            let out = match step.ends_with('.') {
                true => markers.end_chunk(&name(step)),
                false => markers.row(&name(step), row()),
            };
            out.map(|(marker, row)| {
                format!("{} {}", String::from_utf8(row.place).unwrap(), marker.name())
            })
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn rows_are_marked_as_what_they_are() {
        for (steps, expected) in [
            (
                "a1 a2 a3 a. b1 b2 b.",
                "a1 first, a2 true, a3 last_in_data_collection, b1 first_in_data_collection, b2 last",
            ),
            ("a1 a. b1 b.", "a1 first, b1 last"),
            ("a1 a.", "a1 last"),
            ("a. b.", ""),
            ("a. b1 b2 b.", "b1 first, b2 last"),
            (
                "a1 a2 a. b1 a3 a. b2 b.",
                "a1 first, a2 true, a3 last_in_data_collection, b1 first_in_data_collection, b2 last",
            ),
            ("a1 a2 a. a.", "a1 first, a2 last"),
        ] {
            assert_eq!(markers(steps), expected, "{steps}");
        }
    }
}
