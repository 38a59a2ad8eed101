//! How a stream begins, ends, and begins anew.

use std::time::Duration;

use stream_core::ErrorKind;
use stream_core::pipeline::Outcome;
use stream_core::throwaway::testing::{self, TestDatabase};

use crate::fixture::{Stream, databases, databases_of, execute, rows, until};

/// Longer than anything that is waited for takes.
const HANGS: Duration = Duration::from_secs(90);

/// Slots and publications of the stream at its source.
async fn kept_at_source(stream: &Stream) -> usize {
    let name = &stream.name;
    let sql = format!(
        "SELECT slot_name FROM pg_replication_slots WHERE slot_name = '{name}' \
         UNION ALL SELECT pubname FROM pg_publication WHERE pubname = '{name}'"
    );
    rows(&stream.source, &sql).await.len()
}

async fn two_databases() -> (TestDatabase<'static>, TestDatabase<'static>) {
    let (from, to) =
        databases("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);").await;
    (from, to)
}

#[tokio::test]
async fn a_completed_stream_is_complete_at_every_later_start() {
    let (from, to) = two_databases().await;
    let stream = Stream::new(&from, &to);
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT id FROM t").await, ["(1)", "(2)"]);
    from.execute("INSERT INTO t VALUES (3)").await.unwrap();
    stream.complete().await.unwrap();
    assert_eq!(rows(&stream.target, "SELECT id FROM t").await, ["(1)", "(2)"]);
    assert_eq!(kept_at_source(&stream).await, 0);

    // A run that was cut off before it had removed everything: the next does only that.
    from.execute(&format!("CREATE PUBLICATION {}", stream.name)).await.unwrap();
    to.execute("UPDATE sgstream.progress SET completion = 'delivered'").await.unwrap();
    stream.complete().await.unwrap();
    assert_eq!(kept_at_source(&stream).await, 0);
    let completion = rows(&stream.target, "SELECT completion FROM sgstream.progress").await;
    assert_eq!(completion, ["(completed)"]);
    assert_eq!(rows(&stream.target, "SELECT id FROM t").await, ["(1)", "(2)"]);
}

/// Two workers know the stream as delivered, the second of them from before it was begun anew.
#[tokio::test]
async fn a_slot_made_since_the_stream_was_delivered_is_another_s_and_stays() {
    let (from, to) = two_databases().await;
    let stream = Stream::new(&from, &to);
    stream.complete().await.unwrap();
    let name = &stream.name;
    to.execute("UPDATE sgstream.progress SET completion = 'delivered'").await.unwrap();
    from.execute(&format!("CREATE PUBLICATION {name}")).await.unwrap();
    let make = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    from.execute(&make).await.unwrap();
    let error = stream.complete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let drop = format!("SELECT pg_drop_replication_slot('{name}')");
    assert!(error.to_string().contains(&drop), "{error}");
    assert_eq!(kept_at_source(&stream).await, 2);
    from.execute(&drop).await.unwrap();
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(kept_at_source(&stream).await, 0);
}

#[tokio::test]
async fn a_stream_whose_progress_is_removed_begins_anew() {
    let (from, to) = two_databases().await;
    let stream = Stream::new(&from, &to);
    stream.complete().await.unwrap();
    from.execute("INSERT INTO t VALUES (3)").await.unwrap();
    to.execute("DELETE FROM sgstream.progress; DROP TABLE public.t").await.unwrap();
    stream.complete().await.unwrap();
    assert_eq!(rows(&stream.target, "SELECT id FROM t").await, ["(1)", "(2)", "(3)"]);
}

/// It can be seen by everybody before the server has written it, and sent it. Another session may have the server write just then: so several times.
#[tokio::test]
async fn a_commit_that_does_not_wait_for_the_disk_is_there_when_the_stream_is_complete() {
    for major in testing::majors() {
        let server = testing::private_server(major, &[("wal_writer_delay", "6s")]);
        for round in 0..3 {
            let (from, to) = databases_of(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
            let stream = Stream::new(&from, &to);
            let insert =
                |id| format!("SET synchronous_commit = off;\n--\nINSERT INTO t VALUES ({id})");
            let work = async {
                execute(&stream.source, &insert(1)).await;
                // The server has just written, and does so again only after its delay.
                let written = "SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()";
                until(&stream.source, written, HANGS).await;
                execute(&stream.source, &insert(2)).await;
            };
            assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
            let there = rows(&stream.target, "SELECT id FROM t").await;
            assert_eq!(there, ["(1)", "(2)"], "PostgreSQL {major}, round {round}");
        }
    }
}
