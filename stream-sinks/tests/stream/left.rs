//! Tables and columns that are not captured for a while: under another name, or excluded. Nobody follows them then.

use std::time::Duration;

use stream_core::ErrorKind;
use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::SnapshotMode;
use stream_core::stats::Phase;
use tokio::time::timeout;

use crate::fixture::{Stream, assert_same_rows, databases, execute, rows, until};

const SCHEMA: &str = "CREATE SCHEMA aside; CREATE TABLE t (id int PRIMARY KEY, v text, w text);
    INSERT INTO t SELECT i, 'v' || i, 'w' || i FROM generate_series(1, 9) i; CREATE TABLE beside (id int PRIMARY KEY)";
/// Longer than any of them takes.
const HANGS: Duration = Duration::from_secs(90);
const ALL: &str = "SELECT id, v, w FROM t";

async fn complete(stream: &Stream) {
    let outcome = timeout(HANGS, stream.complete()).await;
    assert!(matches!(outcome, Ok(Ok(Outcome::Completed))), "{outcome:?}");
}

fn public_alone() -> Vec<String> {
    vec![r"public\.(t|beside)".to_owned()]
}

#[tokio::test]
async fn a_table_with_a_name_that_nobody_captures_for_a_while_is_copied_again() {
    for [away, name, back] in [
        ["ALTER TABLE t RENAME TO x", "x", "ALTER TABLE x RENAME TO t"],
        ["ALTER TABLE t SET SCHEMA aside", "aside.t", "ALTER TABLE aside.t SET SCHEMA public"],
    ] {
        let (from, to) = databases(SCHEMA).await;
        let mut stream = Stream::new(&from, &to);
        stream.includes = public_alone();
        stream.copy_and_stop().await;
        // What it had before is followed.
        let changes = format!(
            "UPDATE t SET v = 'before' WHERE id = 3;\n--\n{away}; DELETE FROM {name} WHERE id = 1"
        );
        execute(&stream.source, &changes).await;
        // The stream passes what was done under the other name.
        let passing = async {
            execute(&stream.source, "INSERT INTO beside VALUES (1)").await;
            until(&stream.target, "SELECT count(*) = 1 FROM beside", HANGS).await;
        };
        let outcome = stream.run_once(Phase::Streaming, passing, Control::Stop).await;
        assert_eq!(outcome.unwrap(), Outcome::Stopped);
        let before = rows(&stream.target, "SELECT v FROM t WHERE id IN (1, 3) ORDER BY id").await;
        assert_eq!(before, ["(before)", "(v1)"]);
        let changes = format!(
            "INSERT INTO {name} VALUES (20, 'away', 'away'); UPDATE {name} SET v = 'away' WHERE id = 2;\n--\n{back}"
        );
        execute(&stream.source, &changes).await;
        complete(&stream).await;
        assert_same_rows(&stream, ALL).await;
    }
}

/// The same while the stream runs: it looks where the log has the other name, and again where it has a name that it does not know.
#[tokio::test]
async fn a_table_with_another_name_for_a_while_under_way_is_copied_again() {
    let (from, to) = databases(SCHEMA).await;
    let mut stream = Stream::new(&from, &to);
    stream.includes = public_alone();
    let work = async {
        execute(&stream.source, "ALTER TABLE t RENAME TO x;\n--\nDELETE FROM x WHERE id = 1; INSERT INTO beside VALUES (1)").await;
        until(&stream.target, "SELECT count(*) = 1 FROM beside", HANGS).await;
        execute(&stream.source, "DELETE FROM x WHERE id = 2;\n--\nALTER TABLE x RENAME TO t;\n--\nUPDATE t SET v = 'back' WHERE id = 3").await;
    };
    let outcome = timeout(HANGS, stream.run_with(work)).await;
    assert!(matches!(outcome, Ok(Ok(Outcome::Completed))), "{outcome:?}");
    assert_same_rows(&stream, ALL).await;
}

#[tokio::test]
async fn with_never_a_table_that_was_not_captured_for_a_while_is_an_error() {
    let (from, to) = databases(SCHEMA).await;
    to.execute(SCHEMA).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.includes = public_alone();
    stream.mode = SnapshotMode::Never;
    stream.import = false;
    stream.copy_and_stop().await;
    execute(&stream.source, "ALTER TABLE t RENAME TO x").await;
    stream.copy_and_stop().await;
    execute(&stream.source, "DELETE FROM x WHERE id = 1; ALTER TABLE x RENAME TO t").await;
    let error = stream.complete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    let text = error.to_string();
    assert!(text.contains("was not captured for a while") && text.contains("initial"), "{text}");
}

#[tokio::test]
async fn what_is_excluded_is_left_alone_and_copied_again_once_it_is_not() {
    let (from, to) = databases(SCHEMA).await;
    let mut stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    stream.excludes = vec![r"public\.t".to_owned()];
    let changes = "UPDATE t SET v = 'excluded' WHERE id = 2; DELETE FROM t WHERE id = 1;\n--\nTRUNCATE t;\n--\nINSERT INTO t VALUES (30, 'v', 'w')";
    execute(&stream.source, changes).await;
    stream.copy_and_stop().await;
    let kept =
        rows(&stream.target, "SELECT count(*), count(*) FILTER (WHERE v = 'excluded') FROM t")
            .await;
    assert_eq!(kept, ["(9,0)"]);
    stream.excludes.clear();
    complete(&stream).await;
    assert_same_rows(&stream, ALL).await;
}

#[tokio::test]
async fn a_column_that_was_excluded_comes_with_a_copy() {
    for excluded_at_first in [false, true] {
        let (from, to) = databases(SCHEMA).await;
        let mut stream = Stream::new(&from, &to);
        let excludes = vec![r"public\.t\.v".to_owned()];
        if excluded_at_first {
            stream.excludes.clone_from(&excludes);
        }
        stream.copy_and_stop().await;
        stream.excludes = excludes;
        execute(&stream.source, "UPDATE t SET v = 'excluded', w = 'followed' WHERE id = 2; INSERT INTO t VALUES (20, 'excluded', 'w')").await;
        stream.copy_and_stop().await;
        stream.excludes.clear();
        if excluded_at_first {
            execute(&stream.target, "ALTER TABLE t ADD COLUMN v text").await;
        }
        complete(&stream).await;
        assert_same_rows(&stream, ALL).await;
    }
}
