//! Names of columns that are exchanged, and exchanged back before anybody looks: the log alone tells of it. Names that a table had for a while.

use std::time::Duration;

use stream_core::pipeline::Outcome;
use stream_core::postgres::publication::AutoCreate;
use stream_core::sql::Ident;
use stream_core::throwaway::testing;
use tokio::time::timeout;

use crate::fixture::{Stream, assert_same_rows, databases, databases_of, execute, until};

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, w text);
    INSERT INTO t SELECT i, 'v' || i, 'w' || i FROM generate_series(1, 9) i; CREATE TABLE beside (id int PRIMARY KEY)";
const SWAP: &str = "ALTER TABLE t RENAME v TO passing; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME passing TO w";
/// Longer than any of them takes.
const HANGS: Duration = Duration::from_secs(90);
const CAPTURED: &str = "SELECT id, v FROM t";
const ALL: &str = "SELECT id, v, w FROM t";

/// Exchanged, `changes`, exchanged back.
fn meanwhile(changes: &str) -> String {
    format!("{SWAP};\n--\n{changes};\n--\n{SWAP}")
}

/// Copies, changes, and delivers all.
async fn follow(stream: &Stream, changes: &str) {
    stream.copy_and_stop().await;
    execute(&stream.source, changes).await;
    let outcome = timeout(HANGS, stream.complete()).await;
    assert!(matches!(outcome, Ok(Ok(Outcome::Completed))), "{outcome:?} {changes}");
}

/// What is saved then is not to wait for what the transaction has written.
#[tokio::test]
async fn within_a_transaction_of_which_a_part_is_at_the_target() {
    let (from, to) = databases(SCHEMA).await;
    let mut stream = Stream::new(&from, &to);
    stream.batch_bytes = 1;
    let changes = format!(
        "BEGIN; INSERT INTO beside SELECT generate_series(1, 500); {SWAP}; UPDATE t SET v = 'changed' WHERE id = 2; {SWAP}; COMMIT"
    );
    follow(&stream, &changes).await;
    assert_same_rows(&stream, ALL).await;
    assert_same_rows(&stream, "SELECT id FROM beside").await;
}

/// With a column that is not captured; a number that is free would do for it.
#[tokio::test]
async fn with_an_excluded_column() {
    let (from, to) = databases(
        "CREATE TABLE t (id int PRIMARY KEY, w text, v text, gone int); ALTER TABLE t DROP COLUMN gone;
         INSERT INTO t SELECT i, 'w' || i, 'v' || i FROM generate_series(1, 3) i",
    )
    .await;
    let mut stream = Stream::new(&from, &to);
    stream.excludes = vec![r"public\.t\.w".to_owned()];
    let changes = "UPDATE t SET w = 'changed' WHERE id = 2; INSERT INTO t VALUES (30, 'not for everybody', 'v')";
    follow(&stream, &meanwhile(changes)).await;
    assert_same_rows(&stream, CAPTURED).await;
}

/// With a column that the publication's list leaves out: the list is one of numbers.
#[tokio::test]
async fn with_an_unlisted_column() {
    for changed in ["v", "w"] {
        let (from, to) = databases_of(testing::server(18), SCHEMA).await;
        let mut stream = Stream::new(&from, &to);
        let publication = Ident(&stream.name);
        let publish = format!("CREATE PUBLICATION {publication} FOR TABLE t (id, v), beside");
        execute(&stream.source, &publish).await;
        stream.publication = AutoCreate::Disabled;
        let changes = format!("UPDATE t SET {changed} = 'changed' WHERE id = 2");
        follow(&stream, &meanwhile(&changes)).await;
        assert_same_rows(&stream, CAPTURED).await;
        execute(&stream.source, "UPDATE t SET w = NULL").await;
        assert_same_rows(&stream, ALL).await;
    }
}

/// All partitions have the names of their root: one that is wrong is no reason to start again for each.
#[tokio::test]
async fn in_a_partitioned_table() {
    for plain_target in [false, true] {
        let (from, to) = databases(
            "CREATE TABLE t (id int PRIMARY KEY, v text, w text) PARTITION BY LIST (id);
             DO $$ BEGIN FOR i IN 1..15 LOOP EXECUTE format('CREATE TABLE t%s PARTITION OF t FOR VALUES IN (%s)', i, i); END LOOP; END $$;
             INSERT INTO t SELECT i, 'v' || i, 'w' || i FROM generate_series(1, 15) i",
        )
        .await;
        let mut stream = Stream::new(&from, &to);
        if plain_target {
            to.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text)").await.unwrap();
            stream.import = false;
        }
        follow(&stream, &meanwhile("UPDATE t SET v = 'changed'")).await;
        assert_same_rows(&stream, ALL).await;
    }
}

/// No `TRUNCATE` empties such a table, whatever it is copied again for.
#[tokio::test]
async fn in_a_table_that_others_refer_to() {
    for changes in [
        meanwhile("UPDATE t SET v = 'changed'"),
        "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text".to_owned(),
    ] {
        let child = "CREATE TABLE child (id int PRIMARY KEY REFERENCES t ON DELETE CASCADE); INSERT INTO child VALUES (1), (2)";
        let (from, to) = databases(&format!("{SCHEMA}; {child}")).await;
        let stream = Stream::new(&from, &to);
        follow(&stream, &changes).await;
        assert_same_rows(&stream, ALL).await;
        assert_same_rows(&stream, "SELECT id FROM child").await;
    }
}

/// The log has the name that nobody sees any more.
#[tokio::test]
async fn a_table_that_had_another_name_for_a_while() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    let changes = "ALTER TABLE t RENAME TO passing; UPDATE passing SET v = 'changed' WHERE id = 2; DELETE FROM passing WHERE id = 3;
        ALTER TABLE passing RENAME TO t; INSERT INTO t VALUES (10, 'v', 'w'); INSERT INTO beside VALUES (1)";
    follow(&stream, changes).await;
    assert_same_rows(&stream, ALL).await;
    assert_same_rows(&stream, "SELECT id FROM beside").await;
}

/// What was written to the other one went with it.
#[tokio::test]
async fn a_table_whose_name_another_one_had_for_a_while() {
    let (from, to) = databases(SCHEMA).await;
    let mut stream = Stream::new(&from, &to);
    stream.publication = AutoCreate::AllTables;
    let changes = "ALTER TABLE t RENAME TO passing; CREATE TABLE t (id int PRIMARY KEY, v text, w text);
        INSERT INTO t VALUES (20, 'other', 'other'); DROP TABLE t; ALTER TABLE passing RENAME TO t; INSERT INTO t VALUES (10, 'v', 'w')";
    follow(&stream, changes).await;
    assert_same_rows(&stream, ALL).await;
}

/// Under its new name the stream has followed it; what was copied under the old one is older.
#[tokio::test]
async fn a_table_that_gets_its_old_name_back() {
    let (from, to) = databases(SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(&stream.source, "ALTER TABLE t RENAME TO other").await;
    // The key's name is wanted for the other table.
    execute(&stream.target, "ALTER INDEX t_pkey RENAME TO old_pkey").await;
    let changes = async {
        execute(
            &stream.source,
            "UPDATE other SET v = 'changed' WHERE id = 2; DELETE FROM other WHERE id = 3",
        )
        .await;
        until(&stream.target, "SELECT count(*) = 8 FROM other", HANGS).await;
        execute(
            &stream.source,
            "ALTER TABLE other RENAME TO t; UPDATE t SET v = 'later' WHERE id = 4",
        )
        .await;
    };
    let outcome = timeout(HANGS, stream.run_with(changes)).await;
    assert!(matches!(outcome, Ok(Ok(Outcome::Completed))), "{outcome:?}");
    assert_same_rows(&stream, ALL).await;
}
