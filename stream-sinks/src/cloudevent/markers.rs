//! Which row of a snapshot is the first and which the last, while several writers send parts of it.
//!
//! A writer always holds back one row, because it cannot know whether another follows. In: the beginnings and ends of
//! chunks. Out: a [`Marker`] for each row. Every row is sent before its table is recorded as complete.
//!
//! ```text
//!  row ─► hold it; send the one before with `next`
//!  end of chunk ─► `end`: the rows to send now. The table's last of all waits for `others`. Then `done`.
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stream_core::copy::Chunk;
use stream_core::relation::TableName;
use stream_core::source::Snapshot;
use tokio::sync::watch;

use super::event::Marker;

/// Shared by all that write rows of one snapshot. `R` is a row that is held back.
#[derive(Debug)]
pub struct Markers<R> {
    state: Arc<Mutex<State<R>>>,
    /// How many chunks are not done.
    left: watch::Sender<usize>,
}

#[derive(Debug)]
struct State<R> {
    has_first: bool,
    last: Option<TableName>,
    tables: HashMap<TableName, TableState<R>>,
}

#[derive(Debug)]
struct TableState<R> {
    has_first: bool,
    chunks_left: usize,
    /// The last row of a chunk that ended before others of its table.
    held: Option<R>,
}

/// What is to be sent when a chunk ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending<R> {
    /// Rows that others follow, each with its marker.
    pub rows: Vec<(R, Marker)>,
    /// The last row of the table, with its marker. When that is [`Marker::Last`], it is sent after [`Markers::others`].
    pub last: Option<(R, Marker)>,
}

impl<R> Clone for Markers<R> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), left: self.left.clone() }
    }
}

impl<R> Markers<R> {
    /// The markers of a snapshot, before any of it is copied.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut tables = HashMap::new();
        for chunk in &snapshot.chunks {
            let table = tables.entry(chunk.table.clone());
            let state = || TableState { has_first: false, chunks_left: 0, held: None };
            table.or_insert_with(state).chunks_left += 1;
        }
        let state = State { has_first: false, last: snapshot.last.clone(), tables };
        Self { state: Arc::new(Mutex::new(state)), left: watch::Sender::new(snapshot.chunks.len()) }
    }

    /// The marker of a row of `table` that another row of it follows.
    #[must_use]
    pub fn next(&self, table: &TableName) -> Marker {
        self.state().marker(table, Marker::Inside)
    }

    /// A chunk has no more rows; `held` is its last one, which was not sent.
    #[must_use]
    pub fn end(&self, chunk: &Chunk, held: Option<R>) -> Ending<R> {
        let mut state = self.state();
        let is_last_table = state.last.as_ref() == Some(&chunk.table);
        let Some(table) = state.tables.get_mut(&chunk.table) else {
            return Ending {
                rows: held.into_iter().map(|row| (row, Marker::Inside)).collect(),
                last: None,
            };
        };
        table.chunks_left = table.chunks_left.saturating_sub(1);
        let is_complete = table.chunks_left == 0;
        // One row is kept until the table's end; any other can go.
        let other = if held.is_some() { std::mem::replace(&mut table.held, held) } else { None };
        let last = if is_complete { table.held.take() } else { None };
        let other = other.map(|row| (row, state.marker(&chunk.table, Marker::Inside)));
        let of_last = if is_last_table { Marker::Last } else { Marker::LastInTable };
        let last = last.map(|row| (row, state.marker(&chunk.table, of_last)));
        Ending { rows: other.into_iter().collect(), last }
    }

    /// All rows that [`Markers::end`] gave are sent.
    pub fn done(&self) {
        self.left.send_modify(|left| *left = left.saturating_sub(1));
    }

    /// Waits until every chunk but one is done. The last table's chunks are the last to begin, so that all others are in the hands
    /// of somebody by then.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn others(&self) {
        // The sender is `self`: it cannot be gone.
        let _ = self.left.subscribe().wait_for(|left| *left <= 1).await;
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    /// What a row is, as the last of all, the first of all, the last of its table or the first of it: in this order.
    fn marker(&mut self, table: &TableName, otherwise: Marker) -> Marker {
        let is_first = !std::mem::replace(&mut self.has_first, true);
        let table = self.tables.get_mut(table);
        let is_first_in_table =
            table.is_some_and(|table| !std::mem::replace(&mut table.has_first, true));
        match otherwise {
            Marker::Last => Marker::Last,
            _ if is_first => Marker::First,
            Marker::LastInTable => Marker::LastInTable,
            _ if is_first_in_table => Marker::FirstInTable,
            Marker::First | Marker::FirstInTable | Marker::Inside | Marker::Incremental => {
                otherwise
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::FutureExt;
    use stream_core::copy::Range;
    use stream_core::lsn::Lsn;

    use super::*;

    /// Rows sent, by name, with their markers.
    struct Writer {
        markers: Markers<String>,
        sent: Vec<String>,
    }

    fn chunk(table: &str, ordinal: u32) -> Chunk {
        Chunk { table: TableName::new("s", table), range: Range::Whole, ordinal, of: 0 }
    }

    impl Writer {
        fn new(chunks: &[&str], last: Option<&str>) -> Self {
            let snapshot = Snapshot {
                lsn: Lsn::default(),
                tables: Vec::new(),
                chunks: chunks.iter().map(|table| chunk(table, 0)).collect(),
                last: last.map(|table| TableName::new("s", table)),
                taken_at: SystemTime::UNIX_EPOCH,
                readers: 2,
            };
            Self { markers: Markers::new(&snapshot), sent: Vec::new() }
        }

        fn send(&mut self, row: &str, marker: Marker) {
            self.sent.push(format!("{row} {}", marker.name()));
        }

        /// Copies a chunk with these rows.
        fn copy(&mut self, table: &str, rows: &[&str]) {
            let name = TableName::new("s", table);
            let mut held: Option<String> = None;
            for row in rows {
                if let Some(before) = held.replace((*row).to_owned()) {
                    let marker = self.markers.next(&name);
                    self.send(&before, marker);
                }
            }
            let ending = self.markers.end(&chunk(table, 0), held);
            for (row, marker) in ending.rows.into_iter().chain(ending.last) {
                self.send(&row, marker);
            }
            self.markers.done();
        }
    }

    #[test]
    fn rows_are_marked_as_first_and_last_of_all_and_of_their_tables() {
        let mut writer = Writer::new(&["a", "empty", "one", "b"], Some("b"));
        writer.copy("a", &["a1", "a2", "a3"]);
        writer.copy("empty", &[]);
        writer.copy("one", &["o1"]);
        writer.copy("b", &["b1", "b2"]);
        assert_eq!(
            writer.sent,
            [
                "a1 first",
                "a2 true",
                "a3 last_in_data_collection",
                "o1 last_in_data_collection",
                "b1 first_in_data_collection",
                "b2 last"
            ]
        );
    }

    #[test]
    fn a_chunk_that_ends_before_others_of_its_table_keeps_its_row_for_them() {
        let mut writer = Writer::new(&["a", "a", "a"], Some("a"));
        writer.copy("a", &["a1", "a2"]);
        assert_eq!(writer.sent, ["a1 first"]);
        writer.copy("a", &["a3"]);
        assert_eq!(writer.sent, ["a1 first", "a2 true"]);
        writer.copy("a", &[]);
        assert_eq!(writer.sent, ["a1 first", "a2 true", "a3 last"]);
    }

    #[test]
    fn a_snapshot_of_one_row_is_all_last_and_one_of_none_is_nothing() {
        let mut writer = Writer::new(&["a"], Some("a"));
        writer.copy("a", &["a1"]);
        assert_eq!(writer.sent, ["a1 last"]);
        let mut writer = Writer::new(&["a"], None);
        writer.copy("a", &[]);
        assert!(writer.sent.is_empty());
    }

    #[tokio::test]
    async fn the_last_row_of_all_waits_for_the_others() {
        let mut writer = Writer::new(&["a", "b"], Some("b"));
        let ending = writer.markers.end(&chunk("b", 0), Some("b1".to_owned()));
        assert_eq!(ending.last, Some(("b1".to_owned(), Marker::Last)));
        assert_eq!(writer.markers.others().now_or_never(), None);
        writer.copy("a", &["a1"]);
        writer.markers.others().await;
    }
}
