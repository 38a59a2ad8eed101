//! PostgreSQL to PostgreSQL, between real servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail as the test does"
)]

use std::time::Duration;

use stream_core::filter::TableFilter;
use stream_core::pipeline::{Control, Outcome, Pipeline};
use stream_core::postgres::publication::AutoCreate;
use stream_core::postgres::{
    ConnectOptions, PostgresSource, PostgresSourceOptions, SnapshotMode, SqlClient,
};
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_sinks::postgres::{ImportOptions, PostgresSink, PostgresSinkOptions};
use tokio::sync::mpsc;

/// A stream between two databases of one server.
struct Stream {
    name: String,
    source: ConnectOptions,
    target: ConnectOptions,
    mode: SnapshotMode,
}

impl Stream {
    fn new(source: &TestDatabase<'_>, target: &TestDatabase<'_>) -> Self {
        Self {
            name: source.name().to_owned(),
            source: source.url().parse().unwrap(),
            target: target.url().parse().unwrap(),
            mode: SnapshotMode::Initial,
        }
    }

    async fn run(&self, control: mpsc::Receiver<Control>) -> Result<Outcome, stream_core::Error> {
        let source = PostgresSource::new(PostgresSourceOptions {
            connect: self.source.clone(),
            slot: self.name.clone(),
            publication: self.name.clone(),
            auto_create: AutoCreate::Filtered,
            remove_publication: true,
            remove_slot: true,
            filter: TableFilter::new(&[], &[]).unwrap(),
            snapshot: self.mode,
            readers: 2,
            confirm_interval: Duration::from_secs(10),
            look_interval: Duration::from_millis(500),
        });
        let program = testing::client("pg_dump", 14).path;
        let (sink, store) = PostgresSink::connect(PostgresSinkOptions {
            target: self.target.clone(),
            source: self.source.clone(),
            stream: self.name.clone(),
            import: Some(ImportOptions {
                program_directories: vec![program.parent().unwrap().to_owned()],
                everything: true,
            }),
            index_jobs: 2,
        })
        .await?;
        Pipeline::new(source, sink, store).run(control).await
    }

    /// Delivers all that the source holds now, and ends.
    async fn complete(&self) {
        let (control, commands) = mpsc::channel(1);
        control.send(Control::Complete).await.unwrap();
        assert_eq!(self.run(commands).await.unwrap(), Outcome::Completed);
    }
}

/// All rows of a query, as text.
async fn rows(options: &ConnectOptions, sql: &str) -> Vec<String> {
    let client = SqlClient::connect(options).await.unwrap();
    let sql = format!("SELECT r::text FROM ({sql}) r ORDER BY 1");
    client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Waits until a question, which may fail at first, is answered with yes.
async fn until(options: &ConnectOptions, question: &str) {
    let client = SqlClient::connect(options).await.unwrap();
    for _ in 0..600 {
        if client.query_one(question, &[]).await.is_ok_and(|row| row.get(0)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came true: {question}");
}

async fn assert_equal(stream: &Stream, table: &str) {
    let sql = format!("SELECT * FROM {table}");
    let (source, target) = (rows(&stream.source, &sql).await, rows(&stream.target, &sql).await);
    assert!(source == target, "{table} differs:\nsource {source:#?}\ntarget {target:#?}");
}

/// Slots and publications of the stream at its source.
async fn kept_at_source(stream: &Stream) -> usize {
    let name = &stream.name;
    let sql = format!(
        "SELECT slot_name FROM pg_replication_slots WHERE slot_name = '{name}' \
         UNION ALL SELECT pubname FROM pg_publication WHERE pubname = '{name}'"
    );
    rows(&stream.source, &sql).await.len()
}

#[tokio::test]
async fn a_completed_stream_is_complete_at_every_later_start() {
    let server = testing::server(testing::oldest_major());
    let (from, to) =
        (TestDatabase::create(server).await.unwrap(), TestDatabase::create(server).await.unwrap());
    from.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);")
        .await
        .unwrap();
    let stream = Stream::new(&from, &to);
    stream.complete().await;
    assert_equal(&stream, "public.t").await;
    from.execute("INSERT INTO t VALUES (3)").await.unwrap();
    stream.complete().await;
    assert_eq!(rows(&stream.target, "SELECT id FROM public.t").await, ["(1)", "(2)"]);
    assert_eq!(kept_at_source(&stream).await, 0);

    // A run that was cut off before it had removed everything: the next does only that.
    from.execute(&format!("CREATE PUBLICATION {}", stream.name)).await.unwrap();
    to.execute("UPDATE sgstream.progress SET completion = 'delivered'").await.unwrap();
    stream.complete().await;
    assert_eq!(kept_at_source(&stream).await, 0);
    let completion = rows(&stream.target, "SELECT completion FROM sgstream.progress").await;
    assert_eq!(completion, ["(completed)"]);
    assert_eq!(rows(&stream.target, "SELECT id FROM public.t").await, ["(1)", "(2)"]);
}

#[tokio::test]
async fn a_stream_whose_progress_is_removed_begins_anew() {
    let server = testing::server(testing::oldest_major());
    let (from, to) =
        (TestDatabase::create(server).await.unwrap(), TestDatabase::create(server).await.unwrap());
    from.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);")
        .await
        .unwrap();
    let stream = Stream::new(&from, &to);
    stream.complete().await;
    from.execute("INSERT INTO t VALUES (3)").await.unwrap();
    to.execute("DELETE FROM sgstream.progress; DROP TABLE public.t").await.unwrap();
    stream.complete().await;
    assert_eq!(rows(&stream.target, "SELECT id FROM public.t").await, ["(1)", "(2)", "(3)"]);
}

#[tokio::test]
async fn a_snapshot_and_changes_arrive() {
    let server = testing::server(testing::oldest_major());
    let (from, to) =
        (TestDatabase::create(server).await.unwrap(), TestDatabase::create(server).await.unwrap());
    from.execute(
        "CREATE TABLE t (id int PRIMARY KEY, name text, n numeric(10,2));
         INSERT INTO t SELECT i, 'row ' || i, i / 3.0 FROM generate_series(1, 1000) i;",
    )
    .await
    .unwrap();
    let stream = Stream::new(&from, &to);
    let (control, commands) = mpsc::channel(1);
    let work = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        from.execute(
            "UPDATE t SET name = 'changed' WHERE id % 10 = 0; DELETE FROM t WHERE id > 990;
             UPDATE t SET id = id + 5000 WHERE id < 5;
             INSERT INTO t SELECT i, 'new', NULL FROM generate_series(2001, 3000) i;",
        )
        .await
        .unwrap();
        control.send(Control::Complete).await.unwrap();
    };
    let run = async {
        let r = stream.run(commands).await;
        eprintln!("OUT {r:?}");
        r
    };
    let (outcome, ()) = tokio::join!(run, work);
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    assert_equal(&stream, "public.t").await;
    assert_eq!(rows(&stream.target, "SELECT count(*) FROM public.t").await, ["(1990)"]);
}

#[tokio::test]
async fn a_table_that_comes_later_is_taken_up() {
    let server = testing::server(testing::oldest_major());
    let from = TestDatabase::create(server).await.unwrap();
    let to = TestDatabase::create(server).await.unwrap();
    from.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    let stream = Stream::new(&from, &to);
    let (control, commands) = mpsc::channel(1);
    let work = async {
        until(&stream.target, "SELECT count(*) = 1 FROM public.t").await;
        from.execute(
            "CREATE TABLE later (id int PRIMARY KEY, name text); INSERT INTO later VALUES (1, 'a');
             INSERT INTO t VALUES (2)",
        )
        .await
        .unwrap();
    };
    let (ended, ()) = tokio::join!(stream.run(commands), work);
    drop(control);
    assert_eq!(ended.unwrap_err().kind(), stream_core::ErrorKind::Changed);
    stream.complete().await;
    assert_equal(&stream, "public.t").await;
    assert_equal(&stream, "public.later").await;
}
