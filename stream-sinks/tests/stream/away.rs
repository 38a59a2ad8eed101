//! What is not captured for a while, where partitions, columns made anew, or names given to others are part of it.

use std::time::Duration;

use stream_core::pipeline::{Control, Outcome};
use stream_core::stats::Phase;
use tokio::time::timeout;

use crate::fixture::{Stream, assert_same_rows, databases, execute, rows, until};

/// Longer than any of them takes.
const HANGS: Duration = Duration::from_secs(90);

async fn complete(stream: &Stream) {
    let outcome = timeout(HANGS, stream.complete()).await;
    assert!(matches!(outcome, Ok(Ok(Outcome::Completed))), "{outcome:?}");
}

/// It was made anew in between, so that its number is another one than when it was first excluded.
#[tokio::test]
async fn an_excluded_column_that_was_made_anew_comes_with_a_copy() {
    let (from, to) = databases(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT i, 'v', 'w' FROM generate_series(1, 9) i",
    )
    .await;
    let mut stream = Stream::new(&from, &to);
    stream.excludes = vec![r"public\.t\.v".to_owned()];
    stream.copy_and_stop().await;
    execute(&stream.source, "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text").await;
    stream.copy_and_stop().await;
    let passing = async {
        execute(&stream.source, "UPDATE t SET v = 'anew', w = 'passed' WHERE id = 2").await;
        until(&stream.target, "SELECT w = 'passed' FROM t WHERE id = 2", HANGS).await;
    };
    let outcome = stream.run_once(Phase::Streaming, passing, Control::Stop).await;
    assert_eq!(outcome.unwrap(), Outcome::Stopped);
    stream.excludes.clear();
    execute(&stream.target, "ALTER TABLE t ADD COLUMN v text").await;
    complete(&stream).await;
    assert_same_rows(&stream, "SELECT id, v, w FROM t").await;
}
