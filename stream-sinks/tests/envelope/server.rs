//! Each line of the table by real servers: the row of a snapshot and the row of the stream look as the table says.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use futures_util::StreamExt;
use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, Tuple, TupleData};
use stream_core::checkpoint::{Checkpoint, MemoryStore};
use stream_core::copy::{CopyFormat, Rows, TableCopy};
use stream_core::lsn::Lsn;
use stream_core::pipeline::{Control, Pipeline};
use stream_core::postgres::{PostgresSource, PostgresSourceOptions};
use stream_core::relation::Relation;
use stream_core::sink::Sink;
use stream_core::source::{Inspected, Snapshot};
use stream_core::stats::Phase;
use stream_core::table::Table;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::{Error, ErrorKind};
use stream_sinks::cloudevent::encoder::EventEncoder;
use stream_sinks::cloudevent::event::{Event, Marker, Read, SnapshotFacts};
use stream_sinks::cloudevent::markers::Markers;
use stream_sinks::envelope::options::ValueOptions;
use tokio::sync::mpsc;

use crate::cases::{cases, shown, tree};
use crate::values::options;

/// A copied row: its table, its place, its values.
type Copied = (Arc<Relation>, Vec<u8>, Tuple);
/// What the rows of one snapshot are marked by.
type RowMarkers = Markers<Copied>;

/// All that came.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) inspected: Option<Inspected>,
    pub(crate) copied: Vec<(Copied, Marker)>,
    markers: Option<RowMarkers>,
    pub(crate) entries: Vec<Entry>,
}

/// A target that keeps everything.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Seen>>);

impl Sink for Keep {
    async fn prepare(&mut self, source: &Inspected, _: &Checkpoint) -> Result<(), Error> {
        self.0.lock().unwrap().inspected = Some(source.clone());
        Ok(())
    }

    async fn begin_copy(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.0.lock().unwrap().markers = Some(Markers::new(snapshot));
        Ok(())
    }

    async fn fork(&self) -> Result<Option<Self>, Error> {
        Ok(Some(self.clone()))
    }

    fn copy_format(&self, table: &Table) -> CopyFormat {
        if table.has_ctid { CopyFormat::PlacedText } else { CopyFormat::Text }
    }

    async fn copy(&mut self, mut copy: TableCopy<'_>) -> Result<u64, Error> {
        assert_eq!(copy.format, CopyFormat::PlacedText);
        let relation = Arc::new(copy.table.relation());
        let mut rows = Rows::new(u16::try_from(relation.columns.len() + 1).unwrap());
        let markers = self.0.lock().unwrap().markers.clone().unwrap();
        let send = |row, marker| self.0.lock().unwrap().copied.push((row, marker));
        let (mut count, mut held) = (0, None);
        while let Some(piece) = copy.data.next().await {
            rows.push(&piece?.bytes);
            while let Some(row) = rows.next_row()? {
                let (TupleData::Text(place), row) = row.split_first() else {
                    return Err(Error::new(ErrorKind::Permanent, "a row without a place"));
                };
                let copied = (Arc::clone(&relation), place.to_vec(), row);
                if let Some(before) = held.replace(copied) {
                    send(before, markers.next(&copy.table.name));
                }
                count += 1;
            }
        }
        rows.finish()?;
        let ending = markers.end(&copy.chunk, held);
        ending.rows.into_iter().for_each(|(row, marker)| send(row, marker));
        if let Some((row, marker)) = ending.last {
            if marker == Marker::Last {
                markers.others().await;
            }
            send(row, marker);
        }
        markers.done();
        Ok(count)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        self.0.lock().unwrap().entries.extend(batch.entries.iter().cloned());
        Ok(())
    }
}

/// Streams a database: `before` is there at the start, `changes` come while it streams.
pub(crate) async fn stream(database: &TestDatabase<'_>, before: &str, changes: &[&str]) -> Seen {
    database.execute(&format!("SET search_path = public; {before}")).await.unwrap();
    let mut source = PostgresSourceOptions::new(database.url().parse().unwrap(), database.name());
    source.finds_last_table = true;
    source.generated_columns = true;
    let sink = Keep::default();
    let seen = Arc::clone(&sink.0);
    let pipeline = Pipeline::new(PostgresSource::new(source), sink, MemoryStore::default());
    let mut stats = pipeline.stats.subscribe();
    let (control, commands) = mpsc::channel(1);
    let work = async {
        stats.wait_for(|stats| stats.phase == Phase::Streaming).await.unwrap();
        for change in changes {
            database.execute(&format!("SET search_path = public; {change}")).await.unwrap();
        }
        control.send(Control::Complete).await.unwrap();
        Ok(())
    };
    tokio::try_join!(pipeline.run(commands), work).unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

/// The events of all that came, as bytes: those of the snapshot, those of the stream.
pub(crate) fn encode(seen: &Seen, values: &ValueOptions) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let inspected = seen.inspected.as_ref().unwrap();
    let mut encoder = EventEncoder::new(options(values.clone()), inspected, None);
    let (mut out, mut events) = (BytesMut::new(), Vec::new());
    let snapshot = SnapshotFacts { generation: 0, lsn: Lsn::new(1), xid: None, time_us: 0 };
    for ((relation, place, row), marker) in &seen.copied {
        let read = Read { snapshot: &snapshot, marker: *marker, place };
        encoder.read(&read, relation, row, &mut out, &mut events).unwrap();
    }
    let copied = bodies(&events, &out);
    events.clear();
    for entry in &seen.entries {
        encoder.entry(entry, &mut out, &mut events).unwrap();
    }
    (copied, bodies(&events, &out))
}

fn bodies(events: &[Event], out: &BytesMut) -> Vec<Vec<u8>> {
    events.iter().map(|event| out[event.body.clone()].to_vec()).collect()
}

const OWN: &str = "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION isn;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN posint AS int CHECK (VALUE > 0);
    CREATE DOMAIN price AS numeric(8,3);
    CREATE DOMAIN prices AS numeric(8,3)[];
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE floatrange AS RANGE (subtype = float8);
    CREATE TABLE whole_row (a int);";

#[tokio::test]
async fn snapshot_and_stream_give_the_values_of_the_table() {
    let mut wrong = Vec::new();
    for major in testing::majors() {
        let cases: Vec<_> =
            cases().into_iter().filter(|case| !case.has("pure") && case.since() <= major).collect();
        let columns: Vec<_> =
            cases.iter().map(|case| format!("c{} {}", case.line, case.type_name)).collect();
        let texts: Vec<_> =
            cases.iter().map(|case| format!("'{}'", case.text.replace('\'', "''"))).collect();
        let before = format!(
            "{OWN} CREATE TABLE v (id int PRIMARY KEY, {}); INSERT INTO v VALUES (1, {});",
            columns.join(", "),
            texts.join(", ")
        );
        let names: Vec<_> = cases.iter().map(|case| format!("c{}", case.line)).collect();
        let change = format!("INSERT INTO v SELECT 2, {} FROM v", names.join(", "));
        let database = TestDatabase::create(testing::server(major)).await.unwrap();
        let seen = Box::pin(stream(&database, &before, &[&change])).await;

        let mut by_options = HashMap::new();
        for case in &cases {
            let (copied, streamed) = by_options.entry(case.options.clone()).or_insert_with(|| {
                let (copied, streamed) = encode(&seen, &case.values());
                assert_eq!((copied.len(), streamed.len()), (1, 1));
                (copied.concat(), streamed.concat())
            });
            for (road, event) in [("snapshot", copied), ("stream", streamed)] {
                let found = shown(event, &format!("c{}", case.line));
                if found.as_deref() != case.json {
                    let line = case.line;
                    wrong.push(format!(
                        "{major}, {road}, line {line}: {found:?} instead of {:?}",
                        case.json
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn ten_thousand_rows_of_one_copy_have_as_many_ids_with_and_without_a_key() {
    for major in testing::majors() {
        let database = TestDatabase::create(testing::server(major)).await.unwrap();
        let before = "CREATE TABLE keyed (id int PRIMARY KEY, t text);
            CREATE TABLE same (t text);
            INSERT INTO keyed SELECT i, 'x' FROM generate_series(1, 10000) i;
            INSERT INTO same SELECT 'x' FROM generate_series(1, 10000) i;";
        let change = "INSERT INTO keyed SELECT i, 'x' FROM generate_series(10001, 20000) i";
        let seen = Box::pin(stream(&database, before, &[change])).await;
        let (copied, streamed) = encode(&seen, &ValueOptions::default());
        assert_eq!((copied.len(), streamed.len()), (20_000, 10_000));
        let ids: BTreeSet<String> = copied
            .iter()
            .chain(&streamed)
            .map(|event| tree(event)["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 30_000);
        let is_plain = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'%';
        assert!(ids.iter().all(|id| id.bytes().all(is_plain)));
    }
}

#[tokio::test]
async fn events_of_a_real_log_tell_where_they_stand() {
    let database = TestDatabase::create(testing::server(testing::oldest_major())).await.unwrap();
    let before = "CREATE TABLE t (a int, b int, v text, PRIMARY KEY (b, a));";
    let changes = [
        "INSERT INTO t VALUES (1, 2, 'x'), (3, 4, 'y')",
        "UPDATE t SET v = 'z' WHERE a = 1",
        "UPDATE t SET a = 5 WHERE a = 1",
        "DELETE FROM t WHERE a = 3",
        "SELECT pg_logical_emit_message(true, 'foo', 'bar'), pg_logical_emit_message(false, 'foo', 'bar')",
        "TRUNCATE t",
    ];
    let seen = Box::pin(stream(&database, before, &changes)).await;
    let (_, events) = encode(&seen, &ValueOptions::default());
    let events: Vec<_> = events.iter().map(|event| tree(event)).collect();
    let ops: Vec<_> = events.iter().map(|event| event["data"]["op"].as_str().unwrap()).collect();
    let messages = ops.iter().filter(|op| **op == "m").count();
    assert_eq!(messages, 2);
    let rows: Vec<_> = ops.iter().filter(|op| **op != "m").copied().collect();
    assert_eq!(rows, ["c", "c", "u", "d", "c", "d", "t"]);
    let keys: Vec<_> = events
        .iter()
        .filter(|event| event["data"]["op"] != "m")
        .map(|event| event["partitionkey"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "public.t/2,1",
            "public.t/4,3",
            "public.t/2,1",
            "public.t/2,1",
            "public.t/2,5",
            "public.t/4,3",
            "public.t"
        ]
    );
    let positions: Vec<_> =
        events.iter().map(|event| event["data"]["source"]["lsn"].as_u64().unwrap()).collect();
    assert!(positions.iter().all(|lsn| *lsn > 0), "{positions:?}");
    let first = events.first().unwrap();
    assert!(first["data"]["source"]["txId"].as_u64().unwrap() > 0);
    let commit = seen.entries.iter().find_map(|entry| match entry {
        Entry::Begin(transaction) => Some(transaction.commit_lsn),
        Entry::Change { .. } | Entry::Commit { .. } => None,
    });
    let commit = commit.unwrap().get();
    let expected = format!("demo.s1:{:X}-{:X}:0", commit >> 32, commit & 0xffff_ffff);
    assert_eq!(first["id"], expected.as_str());
    let changes = seen
        .entries
        .iter()
        .filter(|entry| matches!(entry, Entry::Change { change: Change::Insert { .. }, .. }));
    assert_eq!(changes.count(), 2);
}

#[tokio::test]
async fn snapshot_markers_are_exact_with_parallel_readers_and_empty_tables() {
    for major in testing::majors() {
        let database = TestDatabase::create(testing::server(major)).await.unwrap();
        // The largest file is that of a table without rows.
        let before = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
            CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE one (id int PRIMARY KEY);
            CREATE TABLE emptied (id int PRIMARY KEY); CREATE TABLE empty (id int PRIMARY KEY);
            INSERT INTO a SELECT generate_series(1, 500); INSERT INTO b SELECT generate_series(1, 5000);
            INSERT INTO c SELECT generate_series(1, 50); INSERT INTO one VALUES (1);
            INSERT INTO emptied SELECT generate_series(1, 20000); DELETE FROM emptied;";
        let seen = Box::pin(stream(&database, before, &[])).await;
        let (copied, _) = encode(&seen, &ValueOptions::default());
        assert_eq!(copied.len(), 5551);
        let mut counts: HashMap<(String, String), usize> = HashMap::new();
        let marks: Vec<_> = copied
            .iter()
            .map(|event| {
                let source = tree(event)["data"]["source"].clone();
                let text = |name: &str| source[name].as_str().unwrap().to_owned();
                *counts.entry((text("table"), text("snapshot"))).or_default() += 1;
                text("snapshot")
            })
            .collect();
        assert_eq!(marks.first().unwrap(), "first");
        assert_eq!(marks.last().unwrap(), "last");
        let count = |table: &str, mark: &str| {
            counts.get(&(table.to_owned(), mark.to_owned())).copied().unwrap_or_default()
        };
        let all = |mark: &str| {
            counts.iter().filter(|((_, is), _)| is == mark).map(|(_, n)| n).sum::<usize>()
        };
        assert_eq!((all("first"), all("last"), count("b", "last")), (1, 1, 1));
        // The one row is the first of all, or the last of its table.
        assert_eq!(count("one", "first") + count("one", "last_in_data_collection"), 1);
        for table in ["a", "c"] {
            assert_eq!(count(table, "last_in_data_collection"), 1, "{table}");
            assert_eq!(
                count(table, "first") + count(table, "first_in_data_collection"),
                1,
                "{table}"
            );
        }
    }
}
