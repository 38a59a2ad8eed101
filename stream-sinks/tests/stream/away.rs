//! What is not captured for a while, where partitions, columns made anew, or names given to others are part of it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::time::Duration;

use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::publication::AutoCreate;
use stream_core::sql::Ident;
use stream_core::stats::Phase;
use stream_core::throwaway::testing::{self, TestDatabase};
use tokio::time::timeout;

use crate::fixture::{Stream, assert_same_rows, databases, databases_of, execute, rows, until};

/// Longer than any of them takes.
const HANGS: Duration = Duration::from_secs(90);
const DIVIDED: &str = "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10);
    CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20); INSERT INTO m SELECT i, 'v' FROM generate_series(1, 15) i; CREATE TABLE beside (id int PRIMARY KEY)";

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

/// Its rows were captured under the pattern for its root. What it had until it was detached is followed, where the target has one table for all of
/// them too.
#[tokio::test]
async fn what_a_partition_had_before_it_was_detached_or_dropped_is_followed() {
    let whole =
        "CREATE TABLE m (id int PRIMARY KEY, v text); CREATE TABLE beside (id int PRIMARY KEY)";
    let changes = ["ALTER TABLE m DETACH PARTITION m1", "DROP TABLE m1"];
    for (change, at_the_target) in
        changes.into_iter().flat_map(|change| [(change, ""), (change, whole)])
    {
        let (from, to) = databases(DIVIDED).await;
        let mut stream = Stream::new(&from, &to);
        if !at_the_target.is_empty() {
            execute(&stream.target, at_the_target).await;
            stream.import = false;
        }
        stream.includes = vec![r"public\.(m|beside)".to_owned()];
        stream.copy_and_stop().await;
        let changes = format!("UPDATE m SET id = 19 WHERE id = 5;\n--\n{change}");
        execute(&stream.source, &changes).await;
        complete(&stream).await;
        let moved = rows(&stream.target, "SELECT id FROM m WHERE id IN (5, 19)").await;
        assert_eq!(moved, ["(19)"], "{change} {at_the_target}");
    }
}

/// A stream of partitions to a target that has one table for all of them; neither has a key that would tell of a row that comes twice.
async fn undivided(from: &TestDatabase<'_>, to: &TestDatabase<'_>) -> Stream {
    from.execute(&DIVIDED.replace(" PRIMARY KEY, v", ", v")).await.unwrap();
    let whole = "CREATE TABLE m (id int, v text); CREATE TABLE beside (id int PRIMARY KEY)";
    to.execute(whole).await.unwrap();
    let mut stream = Stream::new(from, to);
    stream.import = false;
    stream.copy_and_stop().await;
    stream
}

/// The statement that an error gives.
fn statement_of(error: &str) -> &str {
    error.split("run `").nth(1).and_then(|rest| rest.split('`').next()).unwrap()
}

/// Nobody can tell its rows from those that have to go.
#[tokio::test]
async fn what_the_target_has_of_a_gone_partition_is_not_emptied_with_others() {
    let again = "UPDATE sgstream.table_sync SET synced_at = NULL WHERE table_name = 'm2'";
    for (changes, at_the_target) in [
        ("DROP TABLE m1", again),
        ("DROP TABLE m1;\n--\nTRUNCATE m2", ""),
        ("TRUNCATE m2;\n--\nDROP TABLE m1", ""),
        ("TRUNCATE m2;\n--\nDROP TABLE m1, m2", ""),
    ] {
        let (from, to) = databases("").await;
        let stream = undivided(&from, &to).await;
        execute(&stream.source, changes).await;
        execute(&stream.target, at_the_target).await;
        let error = Box::pin(stream.complete()).await.unwrap_err().to_string();
        assert!(error.contains("with those of `public.m1`, not captured"), "{changes}: {error}");
        assert_eq!(rows(&stream.target, "SELECT count(*) FROM m").await, ["(15)"], "{changes}");
        // Whoever does not need them says so.
        execute(&stream.target, statement_of(&error)).await;
        complete(&stream).await;
        assert_same_rows(&stream, "SELECT id, v FROM m").await;
    }
}

/// They are where those of the others are, and would come a second time.
#[tokio::test]
async fn the_rows_of_a_renamed_partition_do_not_come_twice() {
    let (from, to) = databases("").await;
    let stream = undivided(&from, &to).await;
    execute(&stream.source, "ALTER TABLE m1 RENAME TO first").await;
    assert_first_comes_once(&stream).await;
}

/// The stream stops before rows of `first`, which was `m1`, come a second time, and goes on when its first ones are removed.
async fn assert_first_comes_once(stream: &Stream) {
    let error = Box::pin(stream.complete()).await.unwrap_err().to_string();
    assert!(error.contains("`public.first`, which was called `public.m1`"), "{error}");
    assert!(!error.contains("m0"), "{error}");
    execute(&stream.target, "DELETE FROM m WHERE id < 10").await;
    execute(&stream.target, statement_of(&error)).await;
    complete(stream).await;
    assert_same_rows(stream, "SELECT id, v FROM m").await;
}

/// The first of them are there, where its copy was interrupted. What else was is no obstacle.
#[tokio::test]
async fn the_rows_of_a_partition_that_was_renamed_in_its_copy_do_not_come_twice() {
    let (from, to) = databases("").await;
    let stream = undivided(&from, &to).await;
    let interrupted = "UPDATE sgstream.table_sync SET synced_at = NULL, published_by = NULL, source_root = NULL WHERE table_name IN ('m1', 'beside')";
    execute(&stream.target, interrupted).await;
    execute(&stream.target, "DROP TABLE beside").await;
    let renamed = "DROP TABLE beside;\n--\nALTER TABLE m1 RENAME TO first;\n--\nCREATE TABLE m0 PARTITION OF m FOR VALUES FROM (-10) TO (-5)";
    execute(&stream.source, renamed).await;
    assert_first_comes_once(&stream).await;
}

/// By it the table is known at the next start, whatever it is called then.
#[tokio::test]
async fn a_copy_that_fails_leaves_a_note_of_the_table_s_number() {
    let (from, to) = databases("").await;
    from.execute("CREATE TABLE t AS SELECT 1 AS id").await.unwrap();
    to.execute("CREATE TABLE t (id int CHECK (id < 0))").await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.import = false;
    Box::pin(stream.complete()).await.unwrap_err();
    let noted = rows(&stream.target, "SELECT source_oid::int FROM sgstream.table_sync").await;
    assert_eq!(noted, rows(&stream.source, "SELECT 't'::regclass::oid::int").await);
}

/// The log has a row of it that moved.
#[tokio::test]
async fn what_a_partitioned_table_had_before_it_was_dropped_is_followed() {
    let (from, to) = databases("").await;
    let stream = undivided(&from, &to).await;
    execute(&stream.source, "UPDATE m SET id = 19 WHERE id = 5;\n--\nDROP TABLE m").await;
    complete(&stream).await;
    let moved = rows(&stream.target, "SELECT id FROM m WHERE id IN (5, 19)").await;
    assert_eq!(moved, ["(19)"]);
}

/// What is copied where the rows of former partitions are is not added to them, whatever it is called.
#[tokio::test]
async fn what_comes_for_the_first_time_is_not_added_to_rows_of_former_partitions() {
    let again = "INSERT INTO m SELECT i, 'v' FROM generate_series(1, 15) i";
    for (changes, via_root) in [
        ("SELECT", true),
        ("DROP TABLE m;\n--\nCREATE TABLE m (id int, v text)", false),
        (
            "DROP TABLE m;\n--\nCREATE TABLE m (id int, v text) PARTITION BY RANGE (id); CREATE TABLE m3 PARTITION OF m DEFAULT",
            false,
        ),
    ] {
        let (from, to) = databases("").await;
        let mut stream = undivided(&from, &to).await;
        execute(&stream.source, changes).await;
        if !via_root {
            execute(&stream.source, again).await;
        }
        stream.via_root = via_root;
        if via_root {
            let publication = format!(
                "ALTER PUBLICATION {} SET (publish_via_partition_root)",
                Ident(&stream.name)
            );
            execute(&stream.source, &publication).await;
        }
        let error = Box::pin(stream.complete()).await.unwrap_err().to_string();
        assert!(error.contains("the target is not empty: `public.m` holds"), "{changes}: {error}");
        assert_eq!(rows(&stream.target, "SELECT count(*) FROM m").await, ["(15)"]);
        execute(&stream.target, "TRUNCATE m").await;
        // Once it was copied, it is a table like others.
        stream.copy_and_stop().await;
        let copied =
            "UPDATE sgstream.table_sync SET synced_at = NULL WHERE table_name IN ('m', 'm3')";
        execute(&stream.target, copied).await;
        execute(&stream.source, "TRUNCATE m;\n--\nINSERT INTO m VALUES (1, 'after')").await;
        if changes.contains("m3") {
            let error = Box::pin(stream.complete()).await.unwrap_err().to_string();
            assert!(error.contains("those of `public.m1`, `public.m2`, not captured"), "{error}");
            execute(&stream.target, statement_of(&error)).await;
        }
        complete(&stream).await;
        assert_same_rows(&stream, "SELECT id, v FROM m").await;
    }
}

/// It is a partition at the target, too.
#[tokio::test]
async fn what_the_target_has_of_a_gone_partition_stays_when_the_rest_is_truncated() {
    let (from, to) = databases(DIVIDED).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(&stream.source, "DROP TABLE m1;\n--\nTRUNCATE m").await;
    complete(&stream).await;
    assert_eq!(rows(&stream.target, "SELECT min(id), max(id) FROM m").await, ["(1,9)"]);
}

/// It is the target's, if the target has it at all, also where the source has no such table any more.
#[tokio::test]
async fn an_excluded_column_of_a_table_that_is_dropped_is_not_written() {
    let schema = format!("{DIVIDED}; CREATE TABLE t (id int PRIMARY KEY, v text)");
    let (from, to) = databases(&schema).await;
    let mut stream = Stream::new(&from, &to);
    stream.excludes = vec![r"public\.(m|t)\.v".to_owned()];
    stream.copy_and_stop().await;
    execute(&stream.target, "ALTER TABLE m ADD COLUMN v text").await;
    let changes = "INSERT INTO m VALUES (0, 'hidden'); INSERT INTO t VALUES (0, 'hidden');\n--\nDROP TABLE m1, t";
    execute(&stream.source, changes).await;
    complete(&stream).await;
    assert_eq!(rows(&stream.target, "SELECT id, v FROM m WHERE id = 0").await, ["(0,)"]);
    assert_eq!(rows(&stream.target, "SELECT id FROM t").await, ["(0)"]);
}

/// A pattern for the root excludes its partitions.
#[tokio::test]
async fn partitions_of_an_excluded_root_are_left_alone() {
    for via_root in [false, true] {
        let (from, to) = databases(DIVIDED).await;
        let mut stream = Stream::new(&from, &to);
        stream.via_root = via_root;
        stream.copy_and_stop().await;
        stream.excludes = vec![r"public\.m".to_owned()];
        execute(
            &stream.source,
            "INSERT INTO m VALUES (16, 'excluded'); DELETE FROM m WHERE id = 1",
        )
        .await;
        let passing = async {
            execute(&stream.source, "INSERT INTO m VALUES (17, 'excluded')").await;
            execute(&stream.source, "INSERT INTO beside VALUES (1)").await;
            until(&stream.target, "SELECT count(*) = 1 FROM beside", HANGS).await;
        };
        let outcome = stream.run_once(Phase::Streaming, passing, Control::Stop).await;
        assert_eq!(outcome.map_err(|error| error.to_string()), Ok(Outcome::Stopped), "{via_root}");
        assert_eq!(rows(&stream.target, "SELECT count(*) FROM m").await, ["(15)"], "{via_root}");
        stream.excludes.clear();
        complete(&stream).await;
        assert_same_rows(&stream, "SELECT id, v FROM m").await;
    }
}

/// The target has both, with the constraint between them, and what is excluded is not touched.
#[tokio::test]
async fn a_truncate_that_an_excluded_table_s_foreign_key_forbids_is_named() {
    let (from, to) = databases(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
         CREATE TABLE child (id int PRIMARY KEY CONSTRAINT refers REFERENCES t); INSERT INTO child VALUES (1)",
    )
    .await;
    let mut stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    stream.excludes = vec![r"public\.child".to_owned()];
    execute(&stream.source, "TRUNCATE t, child; INSERT INTO t VALUES (3)").await;
    let refused = stream.complete().await.unwrap_err().to_string();
    assert!(refused.contains("the target refuses a TRUNCATE at"), "{refused}");
    assert_eq!(rows(&stream.target, "SELECT id FROM t").await, ["(1)", "(2)"]);
    execute(&stream.target, "ALTER TABLE child DROP CONSTRAINT refers").await;
    complete(&stream).await;
    assert_same_rows(&stream, "SELECT id FROM t").await;
    assert_eq!(rows(&stream.target, "SELECT id FROM child").await, ["(1)"]);
}

/// Nobody has looked while the name was another table's: what was copied is not that table.
#[tokio::test]
async fn a_table_that_came_and_went_under_the_name_of_one_that_is_gone() {
    let again = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'other'), (77, 'other')";
    for changes in [
        format!("DROP TABLE t; {again}; DROP TABLE t"),
        format!("ALTER TABLE t RENAME TO x; {again}; DROP TABLE t"),
    ] {
        let (from, to) = databases(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i;
             CREATE TABLE beside (id int PRIMARY KEY)",
        )
        .await;
        let mut stream = Stream::new(&from, &to);
        stream.includes = vec![r"public\.(t|beside)".to_owned()];
        stream.publication = AutoCreate::AllTables;
        stream.copy_and_stop().await;
        execute(&stream.source, &changes.replace("; ", ";\n--\n")).await;
        complete(&stream).await;
        let kept = rows(&stream.target, "SELECT count(*) FILTER (WHERE v = 'v'), count(*) FROM t");
        assert_eq!(kept.await, ["(9,9)"], "{changes}");
    }
}

/// Such a publication does not follow it there.
#[tokio::test]
async fn a_table_that_was_in_another_schema_for_a_while_than_the_published_one() {
    for stopped in [true, false] {
        let (from, to) = databases_of(
            testing::server(15),
            "CREATE SCHEMA aside; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i;
             CREATE TABLE beside (id int PRIMARY KEY)",
        )
        .await;
        let mut stream = Stream::new(&from, &to);
        stream.publication = AutoCreate::Disabled;
        stream.includes = vec!["public".to_owned()];
        let publication = Ident(&stream.name);
        let create = format!("CREATE PUBLICATION {publication} FOR TABLES IN SCHEMA public");
        execute(&stream.source, &create).await;
        let changes = async {
            execute(
                &stream.source,
                "ALTER TABLE t SET SCHEMA aside;\n--\nUPDATE aside.t SET v = 'away' WHERE id = 2; DELETE FROM aside.t WHERE id = 1",
            )
            .await;
            // A few looks.
            tokio::time::sleep(Duration::from_secs(2)).await;
            execute(&stream.source, "ALTER TABLE aside.t SET SCHEMA public").await;
        };
        assert_eq!(stream.meet(changes, stopped).await.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, "SELECT id, v FROM t").await;
    }
}

/// Under its other name it is excluded.
#[tokio::test]
async fn a_column_that_had_an_excluded_name_for_a_while() {
    for (stopped, pause) in [(true, 0), (false, 0), (false, 2)] {
        let (from, to) = databases(
            "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT i, 'v', 'w' FROM generate_series(1, 9) i",
        )
        .await;
        let mut stream = Stream::new(&from, &to);
        stream.excludes = vec![r"public\.t\.secret".to_owned()];
        let changes = async {
            execute(
                &stream.source,
                "ALTER TABLE t RENAME v TO secret;\n--\nUPDATE t SET secret = 'away', w = 'u' WHERE id = 2; INSERT INTO t VALUES (10, 'away', 'w')",
            )
            .await;
            // A few looks, or none.
            tokio::time::sleep(Duration::from_secs(pause)).await;
            execute(&stream.source, "ALTER TABLE t RENAME secret TO v").await;
        };
        assert_eq!(stream.meet(changes, stopped).await.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, "SELECT id, v, w FROM t").await;
    }
}

/// It came, or was there, and is gone before anybody looks. The column that comes is none that had its name.
#[tokio::test]
async fn an_excluded_column_that_is_dropped_has_nothing_copied_again() {
    let secret = "INSERT INTO t (id, secret) VALUES (10, 'not for everybody')";
    for (columns, changes) in [
        ("secret text, v text", format!("{secret};\n--\nALTER TABLE t DROP COLUMN secret")),
        (
            "secret text, v text",
            format!("{secret};\n--\nALTER TABLE t DROP COLUMN secret, ADD COLUMN x text"),
        ),
        (
            "v text, secret int",
            format!(
                "{};\n--\nALTER TABLE t DROP COLUMN secret, ADD COLUMN x text",
                secret.replace("'not for everybody'", "1")
            ),
        ),
        (
            "v text",
            format!(
                "ALTER TABLE t ADD COLUMN secret text;\n--\n{secret};\n--\nALTER TABLE t DROP COLUMN secret"
            ),
        ),
    ] {
        let (from, to) = databases(&format!("CREATE TABLE t (id int PRIMARY KEY, {columns}); INSERT INTO t (id, v) SELECT i, 'v' FROM generate_series(1, 9) i")).await;
        let mut stream = Stream::new(&from, &to);
        stream.excludes = vec![r"public\.t\.secret".to_owned()];
        stream.copy_and_stop().await;
        execute(
            &stream.target,
            "UPDATE t SET v = 'of the target' WHERE id = 9; ALTER TABLE t ADD COLUMN x text",
        )
        .await;
        execute(&stream.source, &changes).await;
        complete(&stream).await;
        let kept = rows(&stream.target, "SELECT id, v FROM t WHERE id > 8").await;
        assert_eq!(kept, ["(10,)", "(9,\"of the target\")"], "{changes}");
    }
}

#[tokio::test]
async fn an_older_version_s_notes_have_nothing_copied_again() {
    let (from, to) = databases(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT i, 'v', 'w' FROM generate_series(1, 9) i; CREATE TABLE beside (id int PRIMARY KEY)",
    )
    .await;
    let mut stream = Stream::new(&from, &to);
    stream.excludes = vec![r"public\.t\.v".to_owned()];
    stream.copy_and_stop().await;
    execute(
        &stream.target,
        "UPDATE sgstream.table_sync SET source_columns = source_columns - 'excluded'; INSERT INTO t VALUES (-1); INSERT INTO beside VALUES (-1)",
    )
    .await;
    stream.copy_and_stop().await;
    stream.copy_and_stop().await;
    let kept = "SELECT (SELECT count(*) FROM t WHERE id < 0), (SELECT count(*) FROM beside)";
    assert_eq!(rows(&stream.target, kept).await, ["(1,1)"]);
    execute(&stream.target, "ALTER TABLE t ADD COLUMN v text").await;
    stream.excludes.clear();
    complete(&stream).await;
    assert_same_rows(&stream, "SELECT id, v, w FROM t").await;
    assert_eq!(rows(&stream.target, "SELECT id FROM beside").await, ["(-1)"]);
}

/// Beside a partitioned table, of which it was no part.
#[tokio::test]
async fn a_table_that_is_not_included_any_more_is_left_alone() {
    let (from, to) = databases(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE x (id int PRIMARY KEY); INSERT INTO p VALUES (1); INSERT INTO x VALUES (1)",
    )
    .await;
    let mut stream = Stream::new(&from, &to);
    stream.includes = vec![r"public\.p".to_owned(), r"public\.x".to_owned()];
    stream.copy_and_stop().await;
    stream.includes.pop();
    execute(&stream.source, "INSERT INTO x VALUES (2); INSERT INTO p VALUES (2)").await;
    stream
        .run_with(async { execute(&stream.source, "INSERT INTO x VALUES (3)").await })
        .await
        .unwrap();
    assert_same_rows(&stream, "SELECT id FROM p").await;
    assert_eq!(rows(&stream.target, "SELECT id FROM x").await, ["(1)"]);
}

/// What it had until then is its own.
#[tokio::test]
async fn a_table_that_becomes_part_of_an_excluded_one_is_followed_up_to_there() {
    let (from, to) = databases(
        "CREATE TABLE archive (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i; CREATE TABLE beside (id int PRIMARY KEY)",
    )
    .await;
    let mut stream = Stream::new(&from, &to);
    stream.excludes = vec![r"public\.archive".to_owned()];
    stream.copy_and_stop().await;
    execute(
        &stream.source,
        "UPDATE t SET v = 'own' WHERE id = 2; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (10, 'own');\n--\nALTER TABLE archive ATTACH PARTITION t FOR VALUES FROM (0) TO (100)",
    )
    .await;
    let more = async { execute(&stream.source, "INSERT INTO archive VALUES (11, 'part')").await };
    stream.run_with(more).await.unwrap();
    let kept = rows(&stream.source, "SELECT id, v FROM t WHERE id < 11 ORDER BY id").await;
    assert_eq!(rows(&stream.target, "SELECT id, v FROM t ORDER BY id").await, kept);
}
