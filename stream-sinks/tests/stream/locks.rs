//! Tables that other sessions lock, write anew or drop while they are copied.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::time::Duration;

use stream_core::checkpoint::Checkpoint;
use stream_core::pipeline::Outcome;
use stream_core::postgres::{ConnectOptions, SnapshotMode, SqlClient};
use stream_core::source::Source as _;
use stream_core::stats::Stats;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::{Error, ErrorKind};

use crate::fixture::{
    Stream, assert_same_rows, databases, databases_of, execute, looked, rows, until,
};

const PATIENCE: Duration = Duration::from_secs(60);
const TWO_WAIT: &str =
    "SELECT count(*) = 2 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE NOT granted AND d.datname = current_database()";
const ONE_WAITS: &str =
    "SELECT count(*) = 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE NOT granted AND d.datname = current_database()";

/// A session that keeps tables from being copied into.
async fn locked(target: &ConnectOptions, tables: &str) -> SqlClient {
    let holder = SqlClient::connect(target).await.unwrap();
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {tables} IN SHARE MODE")).await.unwrap();
    holder
}

/// A stream whose tables `a` and `b` are copied before `last`, which has a hundred rows; its columns at either end.
async fn with_two_larger(
    at_source: &str,
    at_target: &str,
) -> (TestDatabase<'static>, TestDatabase<'static>, Stream) {
    let tables = |last| {
        format!(
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE last ({last});"
        )
    };
    let (from, to) = databases(&format!(
        "{} INSERT INTO a SELECT generate_series(1, 20000); INSERT INTO b SELECT * FROM a; INSERT INTO last SELECT i, i FROM generate_series(1, 100) i;",
        tables(at_source)
    ))
    .await;
    to.execute(&tables(at_target)).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.import = false;
    (from, to, stream)
}

/// Completes the stream, and runs `statement` at `end` while `a` and `b` wait to be copied.
async fn complete_while_two_wait(
    stream: &Stream,
    end: &ConnectOptions,
    statement: &str,
) -> Result<Outcome, Error> {
    let holder = locked(&stream.target, "public.a, public.b").await;
    let work = async {
        until(&stream.target, TWO_WAIT, PATIENCE).await;
        execute(end, statement).await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(stream.complete(), work).0
}

/// A snapshot does not see the rows of a table that is written anew after it was taken.
#[tokio::test]
async fn a_table_rewritten_while_others_are_copied() {
    for rewrites in [
        "ALTER TABLE last ADD COLUMN c uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE last ALTER COLUMN n TYPE int USING n + 1",
        "ALTER TABLE last ALTER COLUMN n TYPE bigint",
        "VACUUM FULL last",
        "CLUSTER last USING last_pkey",
        "TRUNCATE last; INSERT INTO last SELECT i, -i FROM generate_series(50, 60) i",
    ] {
        let (_from, _to, stream) =
            with_two_larger("id int PRIMARY KEY, n int", "id int PRIMARY KEY, n bigint, c uuid")
                .await;
        let outcome = complete_while_two_wait(&stream, &stream.source, rewrites).await;
        assert_eq!(outcome.unwrap(), Outcome::Completed, "{rewrites}");
        let rows_at = async |end| rows(end, "SELECT id, n FROM last").await;
        assert_eq!(rows_at(&stream.target).await, rows_at(&stream.source).await, "{rewrites}");
    }
}

/// Values in their binary form do not tell their type: those of `int` would be taken for `real` without a word.
#[tokio::test]
async fn a_column_of_the_target_gets_another_type_while_others_are_copied() {
    let columns = "id int PRIMARY KEY, n int";
    for other in ["real", "bigint", "numeric"] {
        let (_from, _to, stream) = with_two_larger(columns, columns).await;
        let alter = format!("ALTER TABLE last ALTER COLUMN n TYPE {other}");
        let outcome = complete_while_two_wait(&stream, &stream.target, &alter).await;
        if other == "real" {
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains("`public.last`"), "{error}");
            execute(&stream.target, "ALTER TABLE last ALTER COLUMN n TYPE int").await;
            assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        } else {
            assert_eq!(outcome.unwrap(), Outcome::Completed, "{other}");
        }
        assert_same_rows(&stream, "SELECT id, n FROM last").await;
    }
}

/// A statement that locks two tables would wait for one reader and hold up the other for ever, which no server can see.
#[tokio::test]
async fn a_table_that_is_copied_is_not_locked_until_all_are() {
    let (from, to) = databases(
        "CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE second (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
         INSERT INTO first SELECT generate_series(1, 5000); INSERT INTO second SELECT * FROM first; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);",
    )
    .await;
    to.execute("CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE second (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
        .await
        .unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.import = false;
    // The larger ones come first.
    let holder = locked(&stream.target, "public.a, public.b").await;
    let work = async {
        until(&stream.target, TWO_WAIT, PATIENCE).await;
        execute(
            &stream.source,
            "SET lock_timeout = '30s'; BEGIN; ALTER TABLE first ADD COLUMN more int; ALTER TABLE second ADD COLUMN more int; COMMIT",
        )
        .await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(stream.complete(), work);
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    let sum = "SELECT (SELECT sum(id) FROM first), (SELECT sum(id) FROM second), (SELECT count(*) FROM a), (SELECT count(*) FROM b)";
    assert_same_rows(&stream, sum).await;
}

const PARTS: &str = "CREATE TABLE parts (id int PRIMARY KEY, v text, w text)";

/// Copies a table in parts, runs `statement` between two of them, and compares.
async fn between_chunks(mode: SnapshotMode, statement: &str) {
    let fill = "INSERT INTO parts SELECT i, repeat('v', 50), repeat('w', 50) FROM generate_series(1, 24000) i; DELETE FROM parts WHERE id % 3 = 0 OR id < 4000";
    let (from, to) =
        databases(&format!("{PARTS}; ALTER TABLE parts SET (autovacuum_enabled = false); {fill}"))
            .await;
    to.execute(PARTS).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.import = false;
    stream.mode = mode;
    stream.includes = vec!["public\\.parts".to_owned()];
    let holder = locked(&stream.target, "public.parts").await;
    let work = async {
        until(&stream.target, TWO_WAIT, PATIENCE).await;
        let release = async {
            until(&stream.source, ONE_WAITS, PATIENCE).await;
            holder.batch_execute("COMMIT").await.unwrap();
        };
        tokio::join!(execute(&stream.source, statement), release);
    };
    let (outcome, ()) = tokio::join!(stream.complete(), work);
    assert_eq!(outcome.unwrap(), Outcome::Completed, "{mode:?} {statement}");
    let all = "SELECT left(v, 1), left(w, 1), count(*), sum(id), count(DISTINCT id) FROM parts GROUP BY 1, 2";
    assert_eq!(
        rows(&stream.target, all).await,
        rows(&stream.source, all).await,
        "{mode:?} {statement}"
    );
}

/// The rows are in other pages then.
#[tokio::test]
async fn a_table_written_anew_between_two_of_its_chunks() {
    for statement in ["VACUUM FULL parts", "CLUSTER parts USING parts_pkey", "TRUNCATE parts"] {
        between_chunks(SnapshotMode::Initial, statement).await;
    }
}

/// Half of a table would be of another, or have the values of another column; and after a copy alone nobody looks again.
#[tokio::test]
async fn names_given_to_others_between_two_chunks() {
    let circle = "BEGIN; ALTER TABLE parts RENAME v TO passing; ALTER TABLE parts RENAME w TO v; ALTER TABLE parts RENAME passing TO w; COMMIT";
    let again =
        "BEGIN; ALTER TABLE parts DROP COLUMN v; ALTER TABLE parts ADD COLUMN v text; COMMIT";
    let other = format!("BEGIN; ALTER TABLE parts RENAME TO parts_old; {PARTS}; COMMIT");
    let and_back = format!(
        "{other};\n--\nBEGIN; DROP TABLE parts; ALTER TABLE parts_old RENAME TO parts; COMMIT"
    );
    for mode in [SnapshotMode::Initial, SnapshotMode::InitialOnly, SnapshotMode::RowsOnly] {
        for statement in [circle, again, &other, &and_back] {
            between_chunks(mode, statement).await;
        }
    }
}

/// The copy would be right, and said to be of the columns that were there before.
#[tokio::test]
async fn a_name_given_to_another_column_between_the_look_and_the_snapshot() {
    let (from, to) = databases("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let mut source = looked(Stream::new(&from, &to).source_options()).await;
    let (checkpoint, stats) = (Checkpoint::default(), Stats::default());
    from.execute("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text").await.unwrap();
    let error = source.begin(&checkpoint, &stats).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    source.close().await;
}

/// The next look does without it.
#[tokio::test]
async fn a_table_dropped_between_the_look_and_what_follows() {
    let schema = "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)";
    let keyless = "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE gone (id int)";
    for schema in [schema, keyless] {
        let (from, to) = databases(schema).await;
        let mut source = looked(Stream::new(&from, &to).source_options()).await;
        let (checkpoint, stats) = (Checkpoint::default(), Stats::default());
        from.execute("DROP TABLE gone").await.unwrap();
        let error = source.begin(&checkpoint, &stats).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
        source.close().await;
    }
}

/// The snapshot goes with the session that exports it.
#[tokio::test]
async fn a_snapshot_whose_session_was_ended_is_taken_again() {
    for major in testing::majors() {
        let schema = "CREATE TABLE t (id int PRIMARY KEY)";
        let (from, to) = databases_of(testing::server(major), schema).await;
        let stream = Stream::new(&from, &to);
        let mut source = looked(stream.source_options()).await;
        let (checkpoint, stats) = (Checkpoint::default(), Stats::default());
        source.begin(&checkpoint, &stats).await.unwrap();
        let end = "DO $$ BEGIN PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                   WHERE datname = current_database() AND backend_type = 'walsender'; END $$";
        execute(&stream.source, end).await;
        let Err(error) = source.reader().await else { panic!("it reads") };
        assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
        source.close().await;
    }
}

/// Of two tables one is complete, and saving that waits for the part of the other that is under way, which nobody reads any more. Which of the
/// readers has which table differs.
#[tokio::test]
async fn a_copy_that_fails_while_a_complete_table_is_saved() {
    let tables = "CREATE TABLE b1 (id int PRIMARY KEY); CREATE TABLE b2 (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY);";
    // Saving, or the claim of the next start where the copy failed before its table was saved.
    let waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND query ~ 'PERFORM|INSERT INTO sgstream.progress'";
    for round in 0..5 {
        let (from, to) = databases(&format!(
            "{tables} INSERT INTO b1 SELECT generate_series(1, 9000); INSERT INTO b2 SELECT generate_series(1, 4500);
             INSERT INTO c VALUES (1); ANALYZE"
        ))
        .await;
        to.execute(tables).await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        let first = locked(&stream.target, "public.b1").await;
        let second = locked(&stream.target, "public.b2").await;
        let work = async {
            until(&stream.target, TWO_WAIT, PATIENCE).await;
            // The next part of the reader that is done first.
            execute(&stream.source, "DROP TABLE c").await;
            first.batch_execute("COMMIT").await.unwrap();
            until(&stream.target, waits, PATIENCE).await;
            second.batch_execute("COMMIT").await.unwrap();
        };
        let run = async { tokio::join!(stream.complete(), work) };
        let (outcome, ()) = tokio::time::timeout(PATIENCE * 2, run).await.unwrap();
        assert_eq!(outcome.unwrap(), Outcome::Completed, "round {round}");
        for table in ["b1", "b2"] {
            assert_same_rows(&stream, &format!("SELECT id FROM {table}")).await;
        }
    }
}
