//! Cuts the tables into chunks, and writes the `COPY` of each.
//!
//! Pure. A chunk is plain data: whoever copies it need not be the process that planned it.

use std::cmp::Reverse;

use crate::copy::{Chunk, CopyFormat, Range};
use crate::relation::TableName;
use crate::sql::{Ident, list};

/// How much there is to copy of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableExtent {
    /// The table.
    pub table: TableName,
    /// Bytes to read, TOAST included.
    pub bytes: u64,
    /// Pages of the table itself; `None` when it cannot be read by ranges of `ctid`.
    pub pages: Option<u32>,
}

/// Cuts the tables into chunks of about `target_chunk_bytes`, largest table first, so that no reader
/// is left alone with a large one at the end. One reader gains nothing from pieces and gets whole
/// tables.
///
/// Sizes are those of files, not of statistics, which may never have been taken.
#[must_use]
pub fn plan(tables: &[TableExtent], readers: usize, target_chunk_bytes: u64) -> Vec<Chunk> {
    let mut tables: Vec<&TableExtent> = tables.iter().collect();
    tables.sort_by_key(|extent| (Reverse(extent.bytes), &extent.table));
    tables.into_iter().flat_map(|extent| cut(extent, readers, target_chunk_bytes)).collect()
}

fn cut(extent: &TableExtent, readers: usize, target_chunk_bytes: u64) -> Vec<Chunk> {
    let chunk = |range, ordinal, of| Chunk { table: extent.table.clone(), range, ordinal, of };
    let pages = extent.pages.filter(|_| readers > 1).unwrap_or_default();
    let wanted = extent.bytes.div_ceil(target_chunk_bytes.max(1)).min(u64::from(pages));
    // `wanted` is at most `pages`, so the fallback never comes into play.
    let wanted = u32::try_from(wanted).unwrap_or(pages);
    if wanted < 2 {
        return vec![chunk(Range::Whole, 0, 1)];
    }
    let step = pages.div_ceil(wanted);
    let of = pages.div_ceil(step);
    (0..of)
        .map(|ordinal| {
            let from = ordinal * step;
            // The last one is open: pages may have been added since they were counted.
            let to = (ordinal + 1 < of).then(|| from + step);
            chunk(Range::Pages { from, to }, ordinal, of)
        })
        .collect()
}

/// The `COPY … TO STDOUT` that reads a chunk.
///
/// `columns` may be empty only for a table that has none to copy. `row_filter` is the SQL condition
/// of the publication, as the catalogue gives it. `with_parts`: the rows of a partitioned table are those of its partitions.
#[must_use]
pub fn copy_sql<C: AsRef<str>>(
    chunk: &Chunk,
    columns: &[C],
    format: CopyFormat,
    row_filter: Option<&str>,
    with_parts: bool,
) -> String {
    let table = chunk.table.quoted();
    let place = (format == CopyFormat::PlacedText).then_some(Ident("ctid"));
    let columns =
        list(place.into_iter().chain(columns.iter().map(|column| Ident(column.as_ref()))));
    let is_sorted = format == CopyFormat::SortedText;
    let (format, is_query) = match format {
        CopyFormat::Binary => ("binary", false),
        CopyFormat::Text => ("text", false),
        // The list of columns of a table knows only its own.
        CopyFormat::PlacedText | CopyFormat::SortedText => ("text", true),
    };
    // By bytes: a collation may take different rows for equal.
    let order = match is_sorted {
        true => format!(" ORDER BY ROW({columns})::text COLLATE \"C\""),
        false => String::new(),
    };
    let mut conditions = Vec::new();
    if let Range::Pages { from, to } = chunk.range {
        conditions.push(format!("ctid >= '({from},0)'::tid"));
        conditions.extend(to.map(|to| format!("ctid < '({to},0)'::tid")));
    }
    conditions.extend(row_filter.map(|filter| format!("({filter})")));
    if (is_query || with_parts) && conditions.is_empty() {
        conditions.push("true".to_owned());
    }
    let rows = if conditions.is_empty() {
        // `COPY table` reads that table alone, without what inherits from it, and faster than a query.
        // An empty list of columns is no syntax; without a list, generated columns stay out as well.
        if columns.is_empty() { table } else { format!("{table} ({columns})") }
    } else {
        let conditions = conditions.join(" AND ");
        let only = if with_parts { "" } else { "ONLY " };
        format!("(SELECT {columns} FROM {only}{table} WHERE {conditions}{order})")
    };
    format!("COPY {rows} TO STDOUT WITH (FORMAT {format})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn extent(name: &str, bytes: u64, pages: Option<u32>) -> TableExtent {
        TableExtent { table: TableName::new("s", name), bytes, pages }
    }

    fn shown(chunks: &[Chunk]) -> Vec<String> {
        let range = |chunk: &Chunk| match chunk.range {
            Range::Whole => "whole".to_owned(),
            Range::Pages { from, to: Some(to) } => format!("{from}..{to}"),
            Range::Pages { from, to: None } => format!("{from}.."),
        };
        let line = |chunk: &Chunk| {
            format!("{} {} {}/{}", chunk.table.name, range(chunk), chunk.ordinal, chunk.of)
        };
        chunks.iter().map(line).collect()
    }

    #[test]
    fn large_tables_come_first_and_in_pieces() {
        let tables = [
            extent("empty", 0, Some(0)),
            extent("small", 3 * MIB, Some(384)),
            extent("large", 25 * MIB, Some(3200)),
            extent("columnar", 20 * MIB, None),
            extent("also_empty", 0, Some(0)),
        ];
        assert_eq!(
            shown(&plan(&tables, 4, 10 * MIB)),
            [
                "large 0..1067 0/3",
                "large 1067..2134 1/3",
                "large 2134.. 2/3",
                "columnar whole 0/1",
                "small whole 0/1",
                "also_empty whole 0/1",
                "empty whole 0/1",
            ]
        );
        assert_eq!(plan(&tables, 1, 10 * MIB).len(), tables.len());
    }

    #[test]
    fn the_ranges_cover_every_page_once() {
        for pages in [1, 2, 3, 7, 100, 4_294_967_294] {
            for chunks in [2, 3, 5, 64] {
                let bytes = u64::from(pages) * 8192;
                let chunks = plan(&[extent("t", bytes, Some(pages))], 2, bytes.div_ceil(chunks));
                let mut next = Some(0);
                for (ordinal, chunk) in chunks.iter().enumerate() {
                    assert_eq!(
                        (chunk.ordinal as usize, chunk.of as usize),
                        (ordinal, chunks.len())
                    );
                    let Range::Pages { from, to } = chunk.range else {
                        assert_eq!(chunks.len(), 1);
                        next = None;
                        continue;
                    };
                    assert_eq!(next, Some(from));
                    assert!(from < pages);
                    next = to;
                }
                assert_eq!(next, None);
            }
        }
    }

    #[test]
    fn a_table_of_few_pages_with_much_toast_is_cut_by_its_pages() {
        let chunks = plan(&[extent("t", 100 * MIB, Some(3))], 2, MIB);
        assert_eq!(shown(&chunks), ["t 0..1 0/3", "t 1..2 1/3", "t 2.. 2/3"]);
    }

    #[test]
    fn the_copy_is_quoted_and_reads_only_its_rows() {
        let chunk = |range| Chunk { table: TableName::new("S", "a\"b"), range, ordinal: 0, of: 1 };
        let whole = chunk(Range::Whole);
        let middle = chunk(Range::Pages { from: 3, to: Some(7) });
        let last = chunk(Range::Pages { from: 7, to: None });
        let cases = [
            (&whole, &["x", "select"][..], None, "COPY \"S\".\"a\"\"b\" (\"x\", \"select\") TO"),
            (&whole, &[], None, "COPY \"S\".\"a\"\"b\" TO"),
            (
                &whole,
                &["x"],
                Some("(x > 1) OR y"),
                "COPY (SELECT \"x\" FROM ONLY \"S\".\"a\"\"b\" WHERE ((x > 1) OR y)) TO",
            ),
            (
                &middle,
                &["x"],
                None,
                "COPY (SELECT \"x\" FROM ONLY \"S\".\"a\"\"b\" \
                 WHERE ctid >= '(3,0)'::tid AND ctid < '(7,0)'::tid) TO",
            ),
            (
                &last,
                &[],
                Some("x"),
                "COPY (SELECT  FROM ONLY \"S\".\"a\"\"b\" WHERE ctid >= '(7,0)'::tid AND (x)) TO",
            ),
        ];
        for (chunk, columns, filter, expected) in cases {
            let binary = copy_sql(chunk, columns, CopyFormat::Binary, filter, false);
            assert_eq!(binary, format!("{expected} STDOUT WITH (FORMAT binary)"));
            let text = copy_sql(chunk, columns, CopyFormat::Text, filter, false);
            assert_eq!(text, format!("{expected} STDOUT WITH (FORMAT text)"));
        }
        assert_eq!(
            copy_sql(&middle, &["x"], CopyFormat::PlacedText, None, false),
            "COPY (SELECT \"ctid\", \"x\" FROM ONLY \"S\".\"a\"\"b\" \
             WHERE ctid >= '(3,0)'::tid AND ctid < '(7,0)'::tid) TO STDOUT WITH (FORMAT text)"
        );
        assert_eq!(
            copy_sql(&whole, &["x", "y"], CopyFormat::SortedText, None, false),
            "COPY (SELECT \"x\", \"y\" FROM ONLY \"S\".\"a\"\"b\" WHERE true \
             ORDER BY ROW(\"x\", \"y\")::text COLLATE \"C\") TO STDOUT WITH (FORMAT text)"
        );
    }

    #[test]
    fn a_chunk_is_data() {
        let range = Range::Pages { from: 3, to: None };
        let chunk = Chunk { table: TableName::new("s", "t"), range, ordinal: 1, of: 2 };
        let text = serde_json::to_string(&chunk).unwrap();
        assert_eq!(serde_json::from_str::<Chunk>(&text).unwrap(), chunk);
    }
}
