//! What happens while the slot is made.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::time::Duration;

use stream_core::ErrorKind;
use stream_core::checkpoint::Checkpoint;
use stream_core::pipeline::Outcome;
use stream_core::postgres::SqlClient;
use stream_core::sink::Sink as _;
use stream_core::source::Source as _;
use stream_core::throwaway::testing::{self, TestDatabase};
use tokio::sync::{mpsc, oneshot};

use crate::fixture::{Stream, databases_of, execute, rows, session, until};

/// Begins a transaction that the creation of a slot waits for, and gives its number.
async fn begin(client: &SqlClient, sql: &str) -> String {
    client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    client.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap().get(0)
}

/// Waits until the creation of a slot waits for `transaction`.
async fn until_awaited(stream: &Stream, transaction: &str) {
    let sql = format!(
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND transactionid = '{transaction}'"
    );
    until(&stream.source, &sql, Duration::from_secs(60)).await;
}

/// One that began to look before the other came finds the other's rows, which are no mistake of anybody.
#[tokio::test]
async fn a_worker_that_is_taken_over_before_it_has_looked_at_the_target_says_so() {
    let server = testing::server(testing::oldest_major());
    let (from, to) =
        databases_of(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let stream = Stream::new(&from, &to);
    let mut first = stream.pipeline().await.unwrap();
    let checkpoint = Checkpoint::default();
    let found = first.source.inspect(&checkpoint, &stream.stats).await.unwrap();
    stream.copy_and_stop().await;
    let error = first.sink.prepare(&found, &checkpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}

/// The other has delivered all and removed what the source keeps, before the first has made its publication.
#[tokio::test]
async fn a_worker_that_was_taken_over_while_it_began_leaves_nothing_behind() {
    let server = testing::server(testing::oldest_major());
    let tables = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE n (v text)";
    let (from, to) = databases_of(server, tables).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    // The first waits for the table, to which it is going to give this back.
    execute(&stream.source, "ALTER TABLE n REPLICA IDENTITY DEFAULT").await;
    let holder = session(&stream.source).await;
    holder.batch_execute("BEGIN; LOCK TABLE n IN ROW EXCLUSIVE MODE").await.unwrap();
    let (_control, commands) = mpsc::channel(1);
    let first = Box::pin(stream.pipeline().await.unwrap().run(commands));
    let work = async {
        let waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(&stream.source, waits, Duration::from_secs(60)).await;
        let mut second = Stream::new(&from, &to);
        second.excludes = vec![r"public\.n".to_owned()];
        assert_eq!(second.complete().await.unwrap(), Outcome::Completed);
        holder.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ended, ()) = tokio::join!(first, work);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Fenced);
    let left = "SELECT pubname::text FROM pg_publication UNION SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(rows(&stream.source, left).await, [""; 0]);
}

/// The server's decoding does not see what is committed while a new slot waits for older transactions, so that it can
/// neither decode the next one nor, until the catalogue changes again, any later one.
#[tokio::test]
async fn a_table_truncated_while_the_slot_is_made_is_streamed() {
    for major in testing::majors() {
        // Of its own: every slot of a server waits for every transaction.
        let server = testing::private_server(major, &[("autovacuum", "off")]);
        let from = TestDatabase::create(&server).await.unwrap();
        let to = TestDatabase::create(&server).await.unwrap();
        from.execute(
            "CREATE TABLE emptied (id int PRIMARY KEY); INSERT INTO emptied VALUES (1); CREATE TABLE beside (id int PRIMARY KEY)",
        )
        .await
        .unwrap();
        let stream = Stream::new(&from, &to);
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(SqlClient::connect(&stream.source).await.unwrap());
        }
        let first = begin(&sessions[0], "INSERT INTO public.beside VALUES (1)").await;
        let (finished, is_finished) = oneshot::channel();
        let work = async {
            until_awaited(&stream, &first).await;
            let second = begin(&sessions[1], "INSERT INTO public.beside VALUES (2)").await;
            execute(&stream.source, "TRUNCATE emptied").await;
            sessions[0].batch_execute("COMMIT").await.unwrap();
            until_awaited(&stream, &second).await;
            begin(&sessions[2], "INSERT INTO public.emptied VALUES (3)").await;
            sessions[1].batch_execute("COMMIT").await.unwrap();
            let made = "SELECT count(confirmed_flush_lsn) > 0 FROM pg_replication_slots";
            until(&stream.source, made, Duration::from_secs(60)).await;
            sessions[2].batch_execute("COMMIT").await.unwrap();
            execute(&stream.source, "INSERT INTO emptied VALUES (4)").await;
            finished.send(()).unwrap();
        };
        let run = stream.run_with(async { is_finished.await.unwrap() });
        let (outcome, ()) = tokio::join!(run, work);
        assert_eq!(outcome.unwrap(), Outcome::Completed, "PostgreSQL {major}");
        assert_eq!(rows(&stream.target, "SELECT * FROM emptied").await, ["(3)", "(4)"]);
        assert_eq!(rows(&stream.target, "SELECT * FROM beside").await, ["(1)", "(2)"]);
    }
}

/// The copy has the columns of the moment that it is of.
#[tokio::test]
async fn a_column_added_while_the_slot_is_made_is_copied() {
    let server = testing::private_server(testing::oldest_major(), &[]);
    let from = TestDatabase::create(&server).await.unwrap();
    let to = TestDatabase::create(&server).await.unwrap();
    from.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE beside (id int PRIMARY KEY)").await.unwrap();
    to.execute(
        "CREATE TABLE t (id int PRIMARY KEY, b int); CREATE TABLE beside (id int PRIMARY KEY)",
    )
    .await
    .unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.import = false;
    let session = SqlClient::connect(&stream.source).await.unwrap();
    let first = begin(&session, "INSERT INTO public.beside VALUES (1)").await;
    let work = async {
        until_awaited(&stream, &first).await;
        execute(&stream.source, "ALTER TABLE t ADD COLUMN b int\n--\nUPDATE t SET b = 5").await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(stream.complete(), work);
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT * FROM t").await, ["(1,5)"]);
}
