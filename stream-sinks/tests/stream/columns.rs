//! Names of columns that are given to other columns, of which the log tells nothing: rows that do not change would keep the old values.

use std::time::Duration;

use stream_core::ErrorKind;
use stream_core::checkpoint::Checkpoint;
use stream_core::pipeline::Outcome;
use stream_core::postgres::SnapshotMode;
use stream_core::postgres::publication::AutoCreate;
use stream_core::source::Source as _;
use stream_core::sql::Ident;
use stream_core::stats::Stats;
use stream_core::throwaway::testing;

use crate::fixture::{
    Stream, assert_same_rows, databases, databases_of, execute, logged, looked, rows, until,
};

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, w text);
    INSERT INTO t SELECT i, 'v' || i, 'w' || i FROM generate_series(1, 9) i; CREATE TABLE beside (id int PRIMARY KEY)";
const GENERATED: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED);
    INSERT INTO t VALUES (1, 1), (2, 2)";
const FREED: &str = "ALTER TABLE t ALTER COLUMN g DROP EXPRESSION";
const PATIENCE: Duration = Duration::from_secs(60);

/// Statements that leave the names and the types as they were.
const SWAPS: [&str; 6] = [
    "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text",
    "ALTER TABLE t DROP COLUMN v;\n--\nINSERT INTO t VALUES (20);\n--\nALTER TABLE t ADD COLUMN v text DEFAULT 'd'; INSERT INTO t (id) VALUES (21)",
    "ALTER TABLE t RENAME v TO passing; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME passing TO w; UPDATE t SET v = 'changed' WHERE id = 2",
    "BEGIN; UPDATE t SET v = 'before' WHERE id = 1; ALTER TABLE t RENAME w TO old; ALTER TABLE t ADD COLUMN w text; UPDATE t SET w = 'after' WHERE id = 2; COMMIT",
    // All is as it was when somebody looks; the log alone has seen what the names stood for.
    "ALTER TABLE t RENAME v TO passing; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME passing TO w;\n--\nUPDATE t SET v = 'changed' WHERE id = 2;
     \n--\nALTER TABLE t RENAME v TO passing; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME passing TO w",
    "BEGIN; ALTER TABLE t RENAME v TO old; ALTER TABLE t ADD COLUMN v text; UPDATE t SET v = 'passes' WHERE id = 2; ALTER TABLE t DROP COLUMN v;
     ALTER TABLE t RENAME old TO v; COMMIT",
];

const ROWS: &str = "SELECT id, v, w FROM t";

#[tokio::test]
async fn rows_come_again_when_a_name_stands_for_another_column() {
    for swap in SWAPS {
        for stopped in [false, true] {
            let (from, to) = databases(SCHEMA).await;
            let stream = Stream::new(&from, &to);
            if swap.contains("TO old") {
                // Both columns are wanted, and made at the target in time.
                stream.copy_and_stop().await;
                to.execute("ALTER TABLE t ADD COLUMN old text").await.unwrap();
            }
            let outcome = stream.meet(execute(&stream.source, swap), stopped).await;
            assert_eq!(outcome.unwrap(), Outcome::Completed, "{swap}");
            assert_eq!(
                rows(&stream.target, ROWS).await,
                rows(&stream.source, ROWS).await,
                "{swap}"
            );
        }
    }
}

/// The look from time to time finds it too, without anybody who starts or completes the stream.
#[tokio::test]
async fn it_is_found_while_the_stream_runs() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    let work = async {
        execute(&stream.source, SWAPS[0]).await;
        until(&stream.target, "SELECT count(*) = 9 AND count(v) = 0 FROM t", PATIENCE).await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
}

/// A name is remembered that came after the copy, and one that was dropped long ago.
#[tokio::test]
async fn a_column_that_came_later_or_went_long_ago() {
    let later = "ALTER TABLE t ADD COLUMN later text DEFAULT 'l'";
    for statements in [
        [
            later,
            "INSERT INTO t VALUES (11)",
            "ALTER TABLE t DROP COLUMN later; ALTER TABLE t ADD COLUMN later text",
        ],
        ["ALTER TABLE t DROP COLUMN v", later, "ALTER TABLE t ADD COLUMN v text DEFAULT 'new'"],
    ] {
        let (from, to) = databases(SCHEMA).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        to.execute(later).await.unwrap();
        for statement in statements {
            execute(&stream.source, statement).await;
            stream.copy_and_stop().await;
        }
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        let all = "SELECT id, v, w, later FROM t";
        assert_same_rows(&stream, all).await;
    }
}

/// New columns, and a renamed one, are no reason to copy a table of a terabyte again.
#[tokio::test]
async fn other_changes_copy_nothing() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    to.execute("UPDATE t SET w = 'of the target' WHERE id = 9; ALTER TABLE t ADD COLUMN x int; ALTER TABLE t RENAME v TO y")
        .await
        .unwrap();
    execute(
        &stream.source,
        "ALTER TABLE t ADD COLUMN x int; ALTER TABLE t RENAME v TO y; ALTER TABLE t ALTER w TYPE varchar; ALTER TABLE t ALTER w TYPE text; INSERT INTO t VALUES (10, 'v', 'w', 1)",
    )
    .await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    let all = "SELECT id, w, x, y FROM t WHERE id > 8";
    assert_eq!(rows(&stream.target, all).await, ["(10,w,1,v)", "(9,\"of the target\",,v9)"]);
}

/// The log has brought its values before anybody looked; the name is noted as soon as somebody did.
#[tokio::test]
async fn a_column_that_came_while_the_stream_runs() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    to.execute("ALTER TABLE t ADD COLUMN x text").await.unwrap();
    let work = async {
        execute(&stream.source, "ALTER TABLE t ADD COLUMN x text;\n--\nUPDATE t SET x = 'first'")
            .await;
        until(&stream.target, "SELECT count(*) = 9 FROM t WHERE x = 'first'", PATIENCE).await;
        let noted = "SELECT source_columns -> 'numbers' ? 'x' FROM sgstream.table_sync WHERE table_name = 't'";
        until(&stream.target, noted, PATIENCE).await;
        execute(&stream.source, "ALTER TABLE t DROP COLUMN x; ALTER TABLE t ADD COLUMN x text")
            .await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    let all = "SELECT id, v, w, x FROM t";
    assert_same_rows(&stream, all).await;
}

/// Nobody has seen the first of the two, but that there was one.
#[tokio::test]
async fn a_column_that_came_and_went_and_came_while_nobody_looked() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    to.execute("ALTER TABLE t ADD COLUMN x text").await.unwrap();
    execute(
        &stream.source,
        "ALTER TABLE t ADD COLUMN x text;\n--\nUPDATE t SET x = 'first';\n--\nALTER TABLE t DROP COLUMN x; ALTER TABLE t ADD COLUMN x text",
    )
    .await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    let all = "SELECT id, v, w, x FROM t";
    assert_same_rows(&stream, all).await;
}

/// It came and went before anybody looked, and is in the log alone when the next of its name comes.
#[tokio::test]
async fn a_column_that_came_and_went_long_before_the_next_of_its_name() {
    for running in [false, true] {
        let (from, to) = databases(SCHEMA).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        to.execute("ALTER TABLE t ADD COLUMN x text").await.unwrap();
        execute(
            &stream.source,
            "ALTER TABLE t ADD COLUMN x text;\n--\nUPDATE t SET x = 'first';\n--\nALTER TABLE t DROP COLUMN x",
        )
        .await;
        stream.copy_and_stop().await;
        let next = execute(&stream.source, "ALTER TABLE t ADD COLUMN x text");
        let outcome = if running {
            stream.run_with(next).await
        } else {
            next.await;
            stream.complete().await
        };
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        let all = "SELECT id, v, w, x FROM t";
        assert_same_rows(&stream, all).await;
    }
}

/// Its name is remembered, although no table has it when the stream starts.
#[tokio::test]
async fn a_dropped_column_that_comes_again_while_the_stream_runs() {
    for again in
        ["ALTER TABLE t ADD COLUMN v text DEFAULT 'new'", "ALTER TABLE t ADD COLUMN v text"]
    {
        let (from, to) = databases(SCHEMA).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        execute(&stream.source, "ALTER TABLE t DROP COLUMN v").await;
        stream.copy_and_stop().await;
        let outcome = stream.run_with(execute(&stream.source, again)).await;
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, ROWS).await;
    }
}

/// Events tell of generated columns too.
#[tokio::test]
async fn a_generated_column_that_was_made_again_is_seen_before_a_stream_completes() {
    let (from, to) =
        databases("CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED)")
            .await;
    let mut options = Stream::new(&from, &to).source_options();
    options.generated_columns = true;
    let mut source = looked(options).await;
    let (checkpoint, stats) = (Checkpoint::default(), Stats::default());
    source.begin(&checkpoint, &stats).await.unwrap();
    source.current_lsn().await.unwrap();
    from.execute("ALTER TABLE t DROP COLUMN g; ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (id * 3) STORED").await.unwrap();
    let error = source.current_lsn().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    source.close().await;
}

/// It has noted no column, and has no place for them.
#[tokio::test]
async fn progress_that_an_older_version_has_kept_is_gone_on_with() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    to.execute("ALTER TABLE sgstream.table_sync DROP COLUMN source_columns; UPDATE t SET w = 'of the target'").await.unwrap();
    stream.copy_and_stop().await;
    let kept = "SELECT count(*) FROM t WHERE w = 'of the target'";
    assert_eq!(rows(&stream.target, kept).await, ["(9)"]);
    execute(&stream.source, SWAPS[0]).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, ROWS).await;
}

/// Changes that are missing stop it still.
#[tokio::test]
async fn a_stream_that_copies_nothing_and_lacks_changes_stops() {
    let (from, to) = databases(SCHEMA).await;
    to.execute(SCHEMA).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.mode = SnapshotMode::Never;
    stream.import = false;
    stream.copy_and_stop().await;
    let publication = Ident(&stream.name);
    let changes = format!(
        "{};\n--\nALTER PUBLICATION {publication} DROP TABLE t;\n--\nINSERT INTO t (id) VALUES (100);\n--\nALTER PUBLICATION {publication} ADD TABLE t",
        SWAPS[0]
    );
    execute(&stream.source, &changes).await;
    let error = stream.complete().await.unwrap_err();
    assert!(error.to_string().contains("out of the publication"), "{error}");
}

/// Rows that the stream did not bring are not its own to correct; it goes on.
#[tokio::test]
async fn a_stream_that_copies_nothing_goes_on() {
    for swap in [SWAPS[0], SWAPS[4]] {
        let (from, to) = databases(SCHEMA).await;
        to.execute(SCHEMA).await.unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.mode = SnapshotMode::Never;
        stream.import = false;
        stream.copy_and_stop().await;
        execute(&stream.source, &format!("{swap}; INSERT INTO t VALUES (10, 'w', 'v')")).await;
        let inserted = rows(&stream.source, "SELECT id, v, w FROM t WHERE id > 9").await;
        let work = async { tokio::time::sleep(Duration::from_millis(1200)).await };
        assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed, "{swap}");
        assert_eq!(
            rows(&stream.target, "SELECT id, v, w FROM t WHERE id > 8").await,
            [&inserted[0], "(9,v9,w9)"],
            "{swap}"
        );
    }
}

/// It has values of its own from then on, and the log has them.
#[tokio::test]
async fn a_generated_column_that_gets_values_of_its_own_is_followed() {
    for options in ["", " WITH (publish_generated_columns = stored)"] {
        for stopped in [false, true] {
            let (from, to) = databases_of(testing::server(18), GENERATED).await;
            let mut stream = Stream::new(&from, &to);
            if !options.is_empty() {
                let publication = Ident(&stream.name);
                let made = format!("CREATE PUBLICATION {publication} FOR ALL TABLES{options}");
                execute(&stream.source, &made).await;
                stream.publication = AutoCreate::Disabled;
            }
            stream.copy_and_stop().await;
            let work = async {
                execute(&stream.target, FREED).await;
                // What the two computed need not be the same.
                execute(&stream.target, "UPDATE t SET g = 0").await;
                execute(&stream.source, FREED).await;
                let own = "INSERT INTO t VALUES (3, 1, 77); UPDATE t SET g = 88 WHERE id = 1";
                execute(&stream.source, own).await;
            };
            let outcome = stream.meet(work, stopped).await;
            assert_eq!(outcome.unwrap(), Outcome::Completed, "{options}");
            assert_same_rows(&stream, "SELECT id, v, g FROM t").await;
        }
    }
}

/// The log shows it, without anybody who looks at the catalogue.
#[tokio::test]
async fn a_generated_column_that_the_log_shows_has_its_table_copied_at_once() {
    let (from, to) = databases(GENERATED).await;
    let mut stream = Stream::new(&from, &to);
    stream.look_interval = Duration::from_secs(3600);
    let work = async {
        until(&stream.target, "SELECT count(*) = 2 FROM t", PATIENCE).await;
        execute(&stream.target, FREED).await;
        execute(&stream.source, &format!("{FREED}; INSERT INTO t VALUES (3, 1, 77)")).await;
        until(&stream.target, "SELECT g = 77 FROM t WHERE id = 3", PATIENCE).await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v, g FROM t").await;
}

/// Under another name as well, and when the target computes it still at first.
#[tokio::test]
async fn a_target_that_computes_what_has_values_of_its_own_is_refused() {
    let (from, to) = databases(GENERATED).await;
    let stream = Stream::new(&from, &to);
    let work = async {
        until(&stream.target, "SELECT count(*) = 2 FROM t", PATIENCE).await;
        execute(&stream.source, FREED).await;
        execute(&stream.source, "INSERT INTO t VALUES (3, 1, 77)").await;
    };
    let error = stream.run_with(work).await.unwrap_err();
    assert!(error.to_string().contains("is computed by the target"), "{error}");
    let rename = "ALTER TABLE t RENAME g TO h";
    execute(&stream.source, rename).await;
    execute(&stream.target, &format!("{FREED}; UPDATE t SET g = 0; {rename}")).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v, h FROM t").await;
}

/// Nothing is copied again where the log has all.
#[tokio::test]
async fn a_generated_column_that_stays_one_copies_nothing() {
    let (from, to) = databases_of(testing::server(18), GENERATED).await;
    let stream = Stream::new(&from, &to);
    // Whole rows: the stream's own publication has generated columns then.
    execute(&stream.source, "ALTER TABLE t REPLICA IDENTITY FULL").await;
    let (outcome, said) = logged(async {
        stream.copy_and_stop().await;
        execute(&stream.target, "DELETE FROM t WHERE id = 2").await;
        execute(&stream.source, "INSERT INTO t VALUES (3, 1)").await;
        stream.complete().await
    })
    .await;
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT id, g FROM t").await, ["(1,2)", "(3,2)"]);
    assert!(!said.contains("looking at the catalogue again"), "{said}");
}

/// Rows that the stream did not bring keep what was computed; it goes on.
#[tokio::test]
async fn a_stream_that_copies_nothing_goes_on_with_a_column_that_was_generated() {
    let (from, to) = databases(GENERATED).await;
    to.execute(GENERATED).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.mode = SnapshotMode::Never;
    stream.import = false;
    stream.copy_and_stop().await;
    let work = async {
        execute(&stream.target, FREED).await;
        execute(&stream.source, &format!("{FREED}; INSERT INTO t VALUES (3, 1, 77)")).await;
        until(&stream.target, "SELECT g = 77 FROM t WHERE id = 3", PATIENCE).await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, "SELECT id, v, g FROM t").await;
}
