//! What a stream would capture, as a table for people. Pure.

use std::collections::HashMap;

use indicatif::{BinaryBytes, HumanCount};
use stream_core::postgres::capture::{Captured, CapturedTable};
use stream_core::relation::{RelationId, ReplicaIdentity};
use stream_core::source::Inspected;
use stream_core::table::Table;

const HEAD: [&str; 5] = ["TABLE", "ROWS", "SIZE", "KEY", "COLUMNS"];
/// Between two columns.
const GAP: &str = "   ";

/// The lines of the table, and what they come to.
pub(super) fn show(
    captured: &Captured,
    rows: &HashMap<RelationId, u64>,
    inspected: &Inspected,
) -> Vec<String> {
    let Some(tables) = (!captured.tables.is_empty()).then_some(&captured.tables) else {
        return Vec::new();
    };
    let streamed: HashMap<_, _> = inspected.tables.iter().map(|table| (table.id, table)).collect();
    let mut cells = vec![HEAD.map(str::to_owned)];
    for table in tables {
        let Some(streamed) = streamed.get(&table.id) else { continue };
        let rows = rows.get(&table.id);
        cells.push([
            table.name.to_string(),
            rows.map_or_else(|| "?".to_owned(), |rows| format!("~{}", HumanCount(*rows))),
            BinaryBytes(table.bytes).to_string(),
            key(table),
            columns(streamed),
        ]);
    }
    let mut lines = aligned(&cells);
    let total_rows: u64 = rows.values().sum();
    let total_bytes: u64 = tables.iter().map(|table| table.bytes).sum();
    let copied = match inspected.to_copy.len() {
        0 => "none is copied first, only changes are streamed".to_owned(),
        all if all == tables.len() => "copied first, then streamed".to_owned(),
        some => format!("{some} still to be copied"),
    };
    lines.push(format!(
        "would capture {} table(s), about {} rows, {}: {copied}",
        tables.len(),
        HumanCount(total_rows),
        BinaryBytes(total_bytes)
    ));
    lines
}

/// By what the rows of a table are found.
fn key(table: &CapturedTable) -> String {
    if !table.primary_key.is_empty() {
        return table.primary_key.join(", ");
    }
    match table.replica_identity {
        ReplicaIdentity::Full => "none, by the whole row".to_owned(),
        ReplicaIdentity::Index if table.has_identity() => {
            format!("{} (replica identity)", table.identity_columns.join(", "))
        }
        ReplicaIdentity::Default | ReplicaIdentity::Index | ReplicaIdentity::Nothing => {
            "none".to_owned()
        }
    }
}

/// Which columns are captured, and which rows.
fn columns(table: &Table) -> String {
    let count = table.columns.len();
    let mut text = match table.left_out.as_slice() {
        [] => format!("all {count}"),
        left_out => format!("{count}, without {}", left_out.join(", ")),
    };
    if let Some(filter) = &table.row_filter {
        text += &format!("; rows where {filter}");
    }
    text
}

fn aligned(cells: &[[String; 5]]) -> Vec<String> {
    let mut widths = [0; 5];
    for row in cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}
