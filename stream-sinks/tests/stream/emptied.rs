//! Tables that the source empties while they are copied: no snapshot keeps their rows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

use std::time::Duration;

use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::{SnapshotMode, SqlClient};
use stream_core::stats::Phase;
use stream_core::{Error, ErrorKind};

use crate::fixture::{Stream, assert_same_rows, databases, execute, logged, rows, until};

/// Longer than anything that is waited for takes.
const HANGS: Duration = Duration::from_secs(90);

/// By their sizes, `parents` is copied when one of the others has been.
const FAMILY: &str = "CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents SELECT generate_series(1, 100);
    CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents, v text);
    INSERT INTO children SELECT i, i, repeat('x', 1000) FROM generate_series(1, 100) i;
    CREATE TABLE beside (id int PRIMARY KEY, v text); INSERT INTO beside SELECT i, repeat('x', 500) FROM generate_series(1, 100) i";

const MADE: &str = "SELECT count(*) = 1 FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace";

/// The source empties both tables when `children` is copied and `parents` is not.
async fn emptied_in_between(stream: &Stream) {
    let (writer, older) = (
        SqlClient::connect(&stream.source).await.unwrap(),
        SqlClient::connect(&stream.source).await.unwrap(),
    );
    // The snapshot waits for a transaction that has an id, so that the target's tables can be locked before the first row comes.
    older.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let there = "SELECT count(*) = 3 FROM pg_tables WHERE schemaname = 'public'";
    until(&stream.target, there, HANGS).await;
    let holder = SqlClient::connect(&stream.target).await.unwrap();
    holder
        .batch_execute("BEGIN; LOCK TABLE public.children, public.beside IN SHARE MODE")
        .await
        .unwrap();
    older.batch_execute("COMMIT").await.unwrap();
    let wait = "SELECT count(*) = 2 FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&stream.target, wait, HANGS).await;
    writer
        .batch_execute("BEGIN; LOCK TABLE public.parents IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    holder.batch_execute("COMMIT").await.unwrap();
    until(&stream.target, "SELECT count(*) = 100 FROM children", HANGS).await;
    until(&stream.target, "SELECT count(*) = 100 FROM beside", HANGS).await;
    let sql = "TRUNCATE public.parents, public.children; INSERT INTO public.parents VALUES (1000); \
               INSERT INTO public.children VALUES (1, 1000, 'new'); COMMIT";
    writer.batch_execute(sql).await.unwrap();
}

/// That a foreign key was put off is said once. Wherever it may be said somebody listens: what another thread says to nobody first, nobody hears.
#[track_caller]
fn assert_put_off(log: &str) {
    let said: Vec<_> = log.lines().filter(|line| line.contains("cannot be made yet")).collect();
    let [said] = *said else { panic!("{log}") };
    assert!(said.contains("FK CONSTRAINT `children children_parent_fkey`"), "{said}");
    assert!(said.contains("a table was emptied while it was copied"), "{said}");
}

#[track_caller]
fn assert_refused(ended: Result<Outcome, Error>) {
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    let text = error.to_string();
    assert!(text.contains("`children children_parent_fkey`") && text.contains("23503"), "{text}");
}

#[tokio::test]
async fn a_foreign_key_waits_for_the_log_of_tables_that_were_emptied_while_they_were_copied() {
    let (from, to) = databases(FAMILY).await;
    let stream = Stream::new(&from, &to);
    let work = async {
        emptied_in_between(&stream).await;
        // While it streams: nothing has told it to complete.
        until(&stream.target, MADE, HANGS).await;
    };
    let (ended, log) =
        Box::pin(logged(stream.run_once(Phase::Starting, work, Control::Complete))).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    assert_put_off(&log);
    for table in ["parents", "children", "beside"] {
        assert_same_rows(&stream, &format!("SELECT * FROM {table}")).await;
    }
}

#[tokio::test]
async fn a_foreign_key_that_waits_is_made_after_a_stop_too() {
    let (from, to) = databases(FAMILY).await;
    let stream = Stream::new(&from, &to);
    let mut seen = stream.stats.subscribe();
    let work = async {
        emptied_in_between(&stream).await;
        seen.wait_for(|stats| stats.phase == Phase::Streaming).await.unwrap();
    };
    let (ended, log) =
        Box::pin(logged(stream.run_once(Phase::Starting, work, Control::Stop))).await;
    assert_eq!(ended.unwrap(), Outcome::Stopped);
    assert_put_off(&log);
    let (ended, _) = logged(stream.complete()).await;
    assert_eq!(ended.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, MADE).await, ["(t)"]);
    assert_same_rows(&stream, "SELECT * FROM children").await;
}

/// No log follows that would mend it.
#[tokio::test]
async fn a_snapshot_alone_of_tables_that_were_emptied_meanwhile_is_no_copy() {
    let (from, to) = databases(FAMILY).await;
    let mut stream = Stream::new(&from, &to);
    stream.mode = SnapshotMode::InitialOnly;
    let work = async {
        emptied_in_between(&stream).await;
        std::future::pending::<()>().await;
    };
    let (ended, _) = Box::pin(logged(stream.run_once(Phase::Starting, work, Control::Stop))).await;
    assert_refused(ended);
}

#[tokio::test]
async fn rows_that_never_fit_a_foreign_key_stop_the_stream() {
    let (from, to) = databases(FAMILY).await;
    let stream = Stream::new(&from, &to);
    let wrong =
        "SET session_replication_role = replica; INSERT INTO children VALUES (101, 101, 'lonely')";
    execute(&stream.source, wrong).await;
    for _ in 0..2 {
        let work = async {
            execute(&stream.source, "INSERT INTO beside SELECT max(id) + 1, '' FROM beside").await;
            std::future::pending::<()>().await;
        };
        let (ended, _) =
            Box::pin(logged(stream.run_once(Phase::Streaming, work, Control::Stop))).await;
        assert_refused(ended);
    }
}
